/* SPDX-License-Identifier: Apache-2.0 */
/* Every function that takes a vCPU, in a call that is right but for the moment. */
#include "order.h"

#include <check.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define PAT 0x277u

static uint64_t value;

/* ---- Life cycle ---------------------------------------------------------------------------------------------- */

static int32_t destroy(struct fixture *f) { return x86vcpu_destroy(f->vcpu); }
static int32_t set_entry(struct fixture *f) { return x86vcpu_set_entry(f->vcpu, ORDER_AT); }
static int32_t bind(struct fixture *f) { return x86vcpu_bind(f->vcpu); }
static int32_t setup(struct fixture *f) { return x86vcpu_setup(f->vcpu, f->config); }

static int32_t set_nested_page_table(struct fixture *f)
{
	return x86vcpu_set_nested_page_table(f->vcpu, &(struct x86vcpu_nested_paging){.root_hpa = f->root});
}

static int32_t rebind(struct fixture *f)
{
	const int32_t status = x86vcpu_unbind(f->vcpu);

	return status ? status : x86vcpu_bind(f->vcpu);
}

static int32_t migrate(struct fixture *f)
{
	const int32_t status = x86vcpu_unbind(f->vcpu);

	fixture_on_cpu(f, 2);
	return status ? status : x86vcpu_bind(f->vcpu);
}

static int32_t setup_anew(struct fixture *f)
{
	int32_t status = x86vcpu_unbind(f->vcpu);

	if (!status)
		status = x86vcpu_setup(f->vcpu, f->config);
	return status ? status : x86vcpu_bind(f->vcpu);
}

/* Another vCPU runs on this CPU meanwhile. */
static int32_t another_runs(struct fixture *f)
{
	const struct x86vcpu_create_config config = {.size = sizeof(config), .vcpu_id = 1};
	struct fixture other = *f;

	ck_assert_int_eq(x86vcpu_create(f->machine, &config, &other.vcpu), X86VCPU_OK);
	ck_assert_int_eq(set_entry(&other), X86VCPU_OK);
	ck_assert_int_eq(set_nested_page_table(&other), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_setup(other.vcpu, &(struct x86vcpu_setup_config){
						.size = sizeof(struct x86vcpu_setup_config), .flags = f->config->flags}), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_bind(other.vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_run(other.vcpu, &other.exit), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_unbind(other.vcpu), X86VCPU_OK);
	return x86vcpu_destroy(other.vcpu);
}

static int32_t structure_hpa(struct fixture *f)
{
	return x86vcpu_structure_hpa(f->vcpu) ? X86VCPU_OK : X86VCPU_ERR_INVALID_DATA;
}

/* ---- Answers ---------------------------------------------------------------------------------------------------- */

static int32_t complete_read(struct fixture *f) { return x86vcpu_complete_read(f->vcpu, ORDER_ANSWER); }
static int32_t complete_write(struct fixture *f) { return x86vcpu_complete_write(f->vcpu); }
static int32_t complete_fault(struct fixture *f) { return x86vcpu_complete_fault(f->vcpu); }

static int32_t complete_string(struct fixture *f)
{
	return x86vcpu_complete_port_io_string(f->vcpu, &f->exit.u.port_io_string);
}

/* ---- Registers and state ---------------------------------------------------------------------------------------- */

static int32_t get_gpr(struct fixture *f) { return x86vcpu_get_gpr(f->vcpu, 0, &value); }
static int32_t get_rsp(struct fixture *f) { return x86vcpu_get_gpr(f->vcpu, 4, &value); }
static int32_t set_rax(struct fixture *f) { return x86vcpu_set_gpr(f->vcpu, 0, ORDER_ANSWER); }
static int32_t set_r8(struct fixture *f) { return x86vcpu_set_gpr(f->vcpu, 8, 1); }
static int32_t set_rsp(struct fixture *f) { return x86vcpu_set_gpr(f->vcpu, 4, 0x7000); }
static int32_t set_al(struct fixture *f) { return x86vcpu_set_gpr_width(f->vcpu, 0, X86VCPU_WIDTH_BYTE, 1); }
static int32_t set_ah(struct fixture *f) { return x86vcpu_set_gpr_high_byte(f->vcpu, 0, 1); }
static int32_t set_return_value(struct fixture *f) { return x86vcpu_set_return_value(f->vcpu, 1); }
static int32_t flush_nested(struct fixture *f) { return x86vcpu_flush_nested(f->vcpu); }

static int32_t get_state(struct fixture *f)
{
	struct x86vcpu_state state = {.size = sizeof(state)};

	return x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &state);
}

static int32_t set_component(struct fixture *f, uint64_t mask, uint64_t rip)
{
	struct x86vcpu_state state = {.size = sizeof(state)};
	const int32_t status = x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &state);

	if (rip)
		state.rip = rip;
	return status ? status : x86vcpu_set_state(f->vcpu, mask, &state);
}

static int32_t set_gprs(struct fixture *f) { return set_component(f, X86VCPU_STATE_GPRS, 0); }
static int32_t set_segments(struct fixture *f) { return set_component(f, X86VCPU_STATE_SEGMENTS, 0); }
static int32_t set_crs(struct fixture *f) { return set_component(f, X86VCPU_STATE_CRS, 0); }
static int32_t set_drs(struct fixture *f) { return set_component(f, X86VCPU_STATE_DRS, 0); }
static int32_t set_rip(struct fixture *f) { return set_component(f, X86VCPU_STATE_RIP, ORDER_TARGET); }
static int32_t set_same_rip(struct fixture *f) { return set_component(f, X86VCPU_STATE_RIP, 0); }
static int32_t set_all(struct fixture *f) { return set_component(f, X86VCPU_STATE_ALL, ORDER_TARGET); }

/* Over a byte, and back. */
static int32_t skip(struct fixture *f)
{
	struct x86vcpu_state before = {.size = sizeof(before)}, after = before;
	int32_t status = x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &before);

	if (!status)
		status = x86vcpu_skip_instruction(f->vcpu, 1);
	if (status)
		return status;
	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &after), X86VCPU_OK);
	ck_assert_uint_eq(after.rip, before.rip + 1);
	return set_component(f, X86VCPU_STATE_RIP, before.rip);
}

static int32_t format_state(struct fixture *f)
{
	char text[512];

	return x86vcpu_format_state(f->vcpu, text, sizeof(text)) ? X86VCPU_OK : X86VCPU_ERR_INVALID_DATA;
}

static int32_t explain(struct fixture *f)
{
	uint32_t check;
	char text[160];

	return x86vcpu_explain_entry_failure(f->vcpu, &check, text, sizeof(text));
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static int32_t translate(struct fixture *f)
{
	struct x86vcpu_virtual_access result = {.size = sizeof(result)};

	return x86vcpu_translate(f->vcpu, 0x3000, X86VCPU_ACCESS_READ, X86VCPU_PRIVILEGE_DEBUGGER, &result);
}

static int32_t read_virtual(struct fixture *f)
{
	struct x86vcpu_virtual_access result = {.size = sizeof(result)};

	return x86vcpu_read_virtual(f->vcpu, 0x3000, X86VCPU_PRIVILEGE_DEBUGGER, &value, sizeof(value), &result);
}

/* The fixture's guest has no memory that the library writes to. */
static int32_t write_virtual(struct fixture *f)
{
	struct x86vcpu_virtual_access result = {.size = sizeof(result)};

	return x86vcpu_write_virtual(f->vcpu, 0x3000, X86VCPU_PRIVILEGE_DEBUGGER, &value, sizeof(value), &result);
}

static int32_t set_debug(struct fixture *f) { return x86vcpu_set_debug(f->vcpu, NULL); }
static int32_t debug_reflect(struct fixture *f) { return x86vcpu_debug_reflect(f->vcpu); }

/* ---- Copies ------------------------------------------------------------------------------------------------------ */

static int32_t get_msr(struct fixture *f) { return x86vcpu_get_msr(f->vcpu, PAT, &value); }
static int32_t set_msr(struct fixture *f) { return x86vcpu_set_msr(f->vcpu, PAT, UINT64_C(0x0007040600070406)); }

static int32_t saved_msr(struct fixture *f)
{
	uint32_t msr;

	return x86vcpu_saved_msr(f->vcpu, 0, &msr);
}

static uint8_t image[16384];

static int32_t get_xsave(struct fixture *f)
{
	uint64_t size = sizeof(image);

	return x86vcpu_get_xsave(f->vcpu, image, &size);
}

static int32_t set_xsave(struct fixture *f)
{
	uint64_t size = sizeof(image);
	const int32_t status = x86vcpu_get_xsave(f->vcpu, image, &size);

	return status ? status : x86vcpu_set_xsave(f->vcpu, image, size);
}

static int32_t get_apic(struct fixture *f)
{
	struct x86vcpu_apic_state apic = {.size = sizeof(apic)};

	return x86vcpu_get_apic(f->vcpu, &apic);
}

static int32_t set_apic(struct fixture *f)
{
	struct x86vcpu_apic_state apic = {.size = sizeof(apic)};
	const int32_t status = x86vcpu_get_apic(f->vcpu, &apic);

	return status ? status : x86vcpu_set_apic(f->vcpu, &apic);
}

static int32_t get_events(struct fixture *f)
{
	struct x86vcpu_events events = {.size = sizeof(events)};

	return x86vcpu_get_events(f->vcpu, &events);
}

/* Those of get_events, where that is not refused. */
static int32_t set_same_events(struct fixture *f)
{
	struct x86vcpu_events events = {.size = sizeof(events)};

	(void)x86vcpu_get_events(f->vcpu, &events);
	return x86vcpu_set_events(f->vcpu, &events);
}

static int32_t set_nmi(struct fixture *f)
{
	struct x86vcpu_events events = {.size = sizeof(events)};

	(void)x86vcpu_get_events(f->vcpu, &events);
	events.nmi_pending = 1;
	return x86vcpu_set_events(f->vcpu, &events);
}

/* ---- Events ------------------------------------------------------------------------------------------------------- */

/* With RFLAGS.IF = 0 the guest takes none. */
static int32_t inject_interrupt(struct fixture *f) { return x86vcpu_inject_interrupt(f->vcpu, 0x51); }
static int32_t inject_level(struct fixture *f) { return x86vcpu_inject_interrupt_with_trigger(f->vcpu, 0x51, 1); }
static int32_t inject_nmi(struct fixture *f) { return x86vcpu_inject_nmi(f->vcpu); }
static int32_t inject_ud(struct fixture *f) { return x86vcpu_inject_exception(f->vcpu, 6, 0, 0); }
static int32_t request_exit(struct fixture *f) { return x86vcpu_request_exit(f->vcpu); }
static int32_t set_lint(struct fixture *f) { return x86vcpu_set_lint(f->vcpu, 0, 1); }

static int32_t has_pending_event(struct fixture *f)
{
	return x86vcpu_has_pending_event(f->vcpu) >> 1 ? X86VCPU_ERR_INVALID_DATA : X86VCPU_OK;
}

static int32_t run_state(struct fixture *f)
{
	uint32_t state, cpu;

	return x86vcpu_run_state(f->vcpu, &state, &cpu);
}

static int32_t handle_eoi(struct fixture *f)
{
	int32_t vector;

	return x86vcpu_handle_eoi(f->vcpu, &vector);
}

static int32_t timer_deadline(struct fixture *f) { return x86vcpu_timer_deadline(f->vcpu, &value); }

static int32_t deliver(struct fixture *f, uint8_t delivery, uint8_t vector)
{
	const struct x86vcpu_message message = {.size = sizeof(message), .delivery = delivery, .vector = vector};

	return x86vcpu_machine_deliver_message(f->machine, &message, NULL);
}

static int32_t deliver_nmi(struct fixture *f) { return deliver(f, X86VCPU_DELIVERY_NMI, 0); }
static int32_t deliver_init(struct fixture *f) { return deliver(f, X86VCPU_DELIVERY_INIT, 0); }
static int32_t deliver_startup(struct fixture *f) { return deliver(f, X86VCPU_DELIVERY_STARTUP, 5); }

/* ---- All of them ---------------------------------------------------------------------------------------------------- */

#define BUSY X86VCPU_ERR_RESOURCE_BUSY

const struct order_call order_calls[] = {
	{"x86vcpu_run", NULL, NULL, ORDER_NOTHING, 0},
	{"x86vcpu_destroy", NULL, destroy, ORDER_NOTHING, BUSY},
	{"x86vcpu_structure_hpa", NULL, structure_hpa, ORDER_NOTHING, 0},
	{"x86vcpu_set_entry", NULL, set_entry, ORDER_NOTHING, 0},
	{"x86vcpu_set_nested_page_table", NULL, set_nested_page_table, ORDER_NOTHING, 0},
	{"x86vcpu_setup", "bound", setup, ORDER_NOTHING, BUSY},
	{"x86vcpu_setup", "after unbind", setup_anew, ORDER_RESETS, 0},
	{"x86vcpu_bind", "bound", bind, ORDER_NOTHING, BUSY},
	{"x86vcpu_unbind", "and bind", rebind, ORDER_NOTHING, 0},
	{"x86vcpu_unbind", "and bind on another CPU", migrate, ORDER_NOTHING, 0},
	{"x86vcpu_run", "of another vCPU", another_runs, ORDER_NOTHING, 0},
	{"x86vcpu_complete_read", NULL, complete_read, ORDER_ANSWERS_READ, 0},
	{"x86vcpu_complete_write", NULL, complete_write, ORDER_ANSWERS_WRITE, 0},
	{"x86vcpu_complete_fault", NULL, complete_fault, ORDER_FAULTS, 0},
	{"x86vcpu_complete_port_io_string", NULL, complete_string, ORDER_COMMITS, 0},
	{"x86vcpu_get_gpr", "RAX", get_gpr, ORDER_NOTHING, 0},
	{"x86vcpu_get_gpr", "RSP", get_rsp, ORDER_NOTHING, 0},
	{"x86vcpu_set_gpr", "RAX", set_rax, ORDER_SETS_RAX, 0},
	{"x86vcpu_set_gpr", "R8", set_r8, ORDER_NOTHING, 0},
	{"x86vcpu_set_gpr", "RSP", set_rsp, ORDER_NOTHING, 0},
	{"x86vcpu_set_gpr_width", NULL, set_al, ORDER_NOTHING, 0},
	{"x86vcpu_set_gpr_high_byte", NULL, set_ah, ORDER_NOTHING, 0},
	{"x86vcpu_set_return_value", NULL, set_return_value, ORDER_NOTHING, 0},
	{"x86vcpu_flush_nested", NULL, flush_nested, ORDER_NOTHING, 0},
	{"x86vcpu_get_state", NULL, get_state, ORDER_NOTHING, 0},
	{"x86vcpu_set_state", "general registers", set_gprs, ORDER_NOTHING, 0},
	{"x86vcpu_set_state", "segments", set_segments, ORDER_NOTHING, 0},
	{"x86vcpu_set_state", "control registers", set_crs, ORDER_NOTHING, 0},
	{"x86vcpu_set_state", "debug registers", set_drs, ORDER_NOTHING, 0},
	{"x86vcpu_set_state", "another RIP", set_rip, ORDER_SETS_RIP, 0},
	{"x86vcpu_set_state", "the same RIP", set_same_rip, ORDER_KEEPS_RIP, 0},
	{"x86vcpu_set_state", "all", set_all, ORDER_SETS_RIP, 0},
	{"x86vcpu_skip_instruction", "and back", skip, ORDER_SKIPS, 0},
	{"x86vcpu_format_state", NULL, format_state, ORDER_NOTHING, 0},
	{"x86vcpu_explain_entry_failure", NULL, explain, ORDER_NOTHING, 0},
	{"x86vcpu_translate", NULL, translate, ORDER_NOTHING, 0},
	{"x86vcpu_read_virtual", NULL, read_virtual, ORDER_NOTHING, 0},
	{"x86vcpu_write_virtual", NULL, write_virtual, ORDER_NOTHING, X86VCPU_ERR_GUEST_FAULT},
	{"x86vcpu_set_debug", NULL, set_debug, ORDER_NOTHING, 0},
	{"x86vcpu_debug_reflect", NULL, debug_reflect, ORDER_NOTHING, X86VCPU_ERR_BAD_STATE},
	{"x86vcpu_get_msr", NULL, get_msr, ORDER_NOTHING, 0},
	{"x86vcpu_set_msr", NULL, set_msr, ORDER_NOTHING, 0},
	{"x86vcpu_saved_msr", NULL, saved_msr, ORDER_NOTHING, 0},
	{"x86vcpu_get_xsave", NULL, get_xsave, ORDER_NOTHING, 0},
	{"x86vcpu_set_xsave", NULL, set_xsave, ORDER_NOTHING, 0},
	{"x86vcpu_get_apic", NULL, get_apic, ORDER_NOTHING, 0},
	{"x86vcpu_set_apic", NULL, set_apic, ORDER_NOTHING, 0},
	{"x86vcpu_get_events", NULL, get_events, ORDER_READS_EVENTS, 0},
	{"x86vcpu_set_events", "the same", set_same_events, ORDER_WRITES_EVENTS, 0},
	{"x86vcpu_set_events", "an NMI", set_nmi, ORDER_WRITES_NMI, 0},
	{"x86vcpu_inject_interrupt", NULL, inject_interrupt, ORDER_NOTHING, 0},
	{"x86vcpu_inject_interrupt_with_trigger", NULL, inject_level, ORDER_NOTHING, 0},
	{"x86vcpu_inject_nmi", NULL, inject_nmi, ORDER_POSTS_NMI, 0},
	{"x86vcpu_inject_exception", NULL, inject_ud, ORDER_RAISES, 0},
	{"x86vcpu_has_pending_event", NULL, has_pending_event, ORDER_NOTHING, 0},
	{"x86vcpu_request_exit", NULL, request_exit, ORDER_ASKS_TO_LEAVE, 0},
	{"x86vcpu_run_state", NULL, run_state, ORDER_NOTHING, 0},
	{"x86vcpu_machine_deliver_message", "NMI", deliver_nmi, ORDER_POSTS_NMI, 0},
	{"x86vcpu_machine_deliver_message", "INIT", deliver_init, ORDER_INIT, 0},
	{"x86vcpu_machine_deliver_message", "start-up", deliver_startup, ORDER_STARTUP, 0},
	{"x86vcpu_set_lint", NULL, set_lint, ORDER_NOTHING, 0},
	{"x86vcpu_handle_eoi", NULL, handle_eoi, ORDER_NOTHING, 0},
	{"x86vcpu_timer_deadline", NULL, timer_deadline, ORDER_NOTHING, 0},
};
const int order_call_count = COUNT(order_calls);
