/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of the ABI by number, with arguments from the input. */
#include "abi.h"

#include <stdlib.h>
#include <string.h>

#include "x86vcpu/msr.h"
#include "x86vcpu/svm.h"
#include "x86vcpu/vmx.h"

/* ---- State --------------------------------------------------------------------------------------------- */

/* Changes some words of a structure. */
static void disturb(struct input *in, void *block, size_t bytes)
{
	for (unsigned i = in_8(in) & 3; i; i--) {
		const size_t at = in_8(in) % (bytes / 8) * 8;
		const uint64_t value = in_value(in);

		memcpy((uint8_t *)block + at, &value, sizeof(value));
	}
}

static int32_t state(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	struct x86vcpu_state s = {.size = sizeof(s)};
	const uint64_t mask = how & 4 ? in_value(a->w->in) : X86VCPU_STATE_ALL;
	int32_t status = x86vcpu_get_state(vcpu, mask, how & 8 ? NULL : &s);

	if (!status)
		world_check_secret(a->w, &s, sizeof(s), "get_state");
	if (!(how & 1))
		return status;
	if (how & 2)
		world_state(in_8(a->w->in) % WORLD_MODES, how >> 4 & 3, &s);
	disturb(a->w->in, &s, sizeof(s));
	return x86vcpu_set_state(vcpu, mask, how & 8 ? NULL : &s);
}

static int32_t apic(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	struct x86vcpu_apic_state s = {.size = sizeof(s)};
	int32_t status;

	if (how & 4)
		s.size = (uint32_t)in_value(a->w->in);
	status = x86vcpu_get_apic(vcpu, how & 8 ? NULL : &s);
	if (!(how & 1))
		return status;
	disturb(a->w->in, &s, sizeof(s));
	return x86vcpu_set_apic(vcpu, how & 8 ? NULL : &s);
}

static int32_t events(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	struct x86vcpu_events s = {.size = sizeof(s)};
	int32_t status;

	if (how & 4)
		s.size = (uint32_t)in_value(a->w->in);
	status = x86vcpu_get_events(vcpu, how & 8 ? NULL : &s);
	if (!(how & 1))
		return status;
	disturb(a->w->in, &s, sizeof(s));
	return x86vcpu_set_events(vcpu, how & 8 ? NULL : &s);
}

static uint32_t choose_msr(struct input *in, struct x86vcpu *vcpu)
{
	static const uint32_t first[] = {0, 0x800, 0xc0000080, 0xc0010000, 0x200, 0x480, X86VCPU_TSC_OFFSET};
	const uint8_t how = in_8(in);
	uint32_t msr = 0;

	if (how < 0x80)
		x86vcpu_saved_msr(vcpu, how, &msr);
	else if (how < 0xf0)
		msr = first[how % (sizeof(first) / sizeof(first[0]))] + in_8(in);
	else
		msr = (uint32_t)in_value(in);
	return msr;
}

static int32_t msr(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	const uint32_t number = choose_msr(a->w->in, vcpu);
	uint64_t value = 0, again;
	int32_t status;

	if (how & 1) {
		value = in_value(a->w->in);
		return x86vcpu_set_msr(vcpu, number, value);
	}
	status = x86vcpu_get_msr(vcpu, number, how & 8 ? NULL : &value);
	if (status)
		return status;
	world_check_secret(a->w, &value, sizeof(value), "get_msr");
	/* What it has, it takes. */
	again = value;
	return how & 2 ? x86vcpu_set_msr(vcpu, number, again) : 0;
}

static int32_t xsave(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	uint64_t size = 0, room;
	uint8_t *image;
	int32_t status = x86vcpu_get_xsave(vcpu, NULL, how & 8 ? NULL : &size);

	if (status)
		return status;
	fuzz_check(size && size <= 12288, "an XSAVE image of %llu bytes", (unsigned long long)size);
	room = how & 4 ? in_value(a->w->in) % 16384 : size;
	image = malloc(room + !room);
	memset(image, 0, room);
	size = room;
	status = x86vcpu_get_xsave(vcpu, image, &size);
	if (how & 1) {
		if (room >= 8)
			disturb(a->w->in, image, room < 640 ? room : 640);
		status = x86vcpu_set_xsave(vcpu, image, room);
	}
	free(image);
	return status;
}

/* ---- Registers, answers -------------------------------------------------------------------------------- */

static int32_t gpr(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	const uint32_t index = in_8(a->w->in) % 20, width = in_8(a->w->in) % 6;
	uint64_t value = in_value(a->w->in);

	switch (how & 7) {
	case 0:
		return x86vcpu_set_gpr(vcpu, index, value);
	case 1:
		return x86vcpu_set_gpr_width(vcpu, index, width, value);
	case 2:
		return x86vcpu_set_gpr_high_byte(vcpu, index, (uint8_t)value);
	case 3:
		return x86vcpu_set_return_value(vcpu, value);
	default:
		return x86vcpu_get_gpr(vcpu, index, how & 8 ? NULL : &value);
	}
}

static int32_t complete(struct abi *a, uint32_t n, uint8_t how)
{
	struct x86vcpu *vcpu = a->w->vcpu[n];
	struct x86vcpu_port_io_string done = a->w->exit[n].u.port_io_string;

	switch (how & 3) {
	case 0:
		return x86vcpu_complete_read(vcpu, in_value(a->w->in));
	case 1:
		return x86vcpu_complete_write(vcpu);
	case 2:
		return x86vcpu_complete_fault(vcpu);
	default:
		if (how & 4)
			disturb(a->w->in, &done, sizeof(done));
		return x86vcpu_complete_port_io_string(vcpu, how & 8 ? NULL : &done);
	}
}

static int32_t format(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	const uint64_t length = how & 1 ? in_value(a->w->in) % 2048 : 512;
	char *text = malloc(length + !length);
	uint64_t used;

	used = x86vcpu_format_state(vcpu, how & 8 ? NULL : text, length);
	fuzz_check(!used || used < length, "%llu characters in %llu", (unsigned long long)used, (unsigned long long)length);
	fuzz_check(!used || strlen(text) == used, "format_state: %llu characters", (unsigned long long)used);
	free(text);
	return 0;
}

static int32_t regs(struct abi *a, uint8_t how)
{
	struct x86vcpu_regs before = {.rax = in_value(a->w->in)}, after = {.r15 = in_value(a->w->in), .rax = how};
	const uint64_t length = in_16(a->w->in) % 2048;
	const uint32_t index = in_8(a->w->in);
	char *text = malloc(length + !length);
	uint64_t used, value;

	used = x86vcpu_regs_format_diff(how & 1 ? NULL : &before, how & 2 ? NULL : &after, how & 4 ? NULL : text, length);
	fuzz_check(!used || used < length, "%llu characters in %llu", (unsigned long long)used, (unsigned long long)length);
	free(text);
	x86vcpu_regs_diff(how & 1 ? NULL : &before, how & 2 ? NULL : &after);
	fuzz_check(x86vcpu_regs_name(index)[0], "a register without a name");
	x86vcpu_regs_set(how & 8 ? NULL : &before, index, 1);
	return x86vcpu_regs_get(how & 8 ? NULL : &before, index, &value);
}

/* ---- Events -------------------------------------------------------------------------------------------- */

static int32_t inject(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	struct input *in = a->w->in;
	const uint32_t vector = (uint32_t)in_value(in), more = in_8(in) % 3;

	switch (how & 3) {
	case 0:
		return x86vcpu_inject_interrupt(vcpu, vector);
	case 1:
		return x86vcpu_inject_interrupt_with_trigger(vcpu, vector, more);
	case 2:
		return x86vcpu_inject_nmi(vcpu);
	default:
		return x86vcpu_inject_exception(vcpu, vector, more, (uint32_t)in_value(in));
	}
}

static int32_t deliver(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	struct input *in = a->w->in;
	struct x86vcpu_message message = {.size = sizeof(message) - (how & 4 ? 4 : 0)};
	struct x86vcpu_machine *machine = vcpu ? a->w->machine[how >> 4 & 1] : NULL;
	uint64_t accepted = 0;
	int32_t status;

	message.destination = (uint32_t)in_value(in);
	message.logical = in_8(in) % 3;
	message.delivery = in_8(in) % 9;
	message.vector = in_8(in);
	message.level = in_8(in) % 3;
	status = x86vcpu_machine_deliver_message(machine, how & 8 ? NULL : &message, how & 1 ? NULL : &accepted);
	fuzz_check(!status || !accepted, "a message that is refused is accepted");
	for (uint32_t id = 0; id < 64; id++)
		fuzz_check(!(accepted >> id & 1) || id < 64, "accepted by %u", id);
	return status;
}

static int32_t ask(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	uint64_t deadline = 0;
	uint32_t run_state, cpu;
	int32_t vector;

	x86vcpu_has_pending_event(vcpu);
	x86vcpu_structure_hpa(vcpu);
	(void)a;
	switch (how & 3) {
	case 0:
		return x86vcpu_handle_eoi(vcpu, how & 8 ? NULL : &vector);
	case 1:
		return x86vcpu_timer_deadline(vcpu, how & 8 ? NULL : &deadline);
	case 2:
		return x86vcpu_run_state(vcpu, how & 8 ? NULL : &run_state, how & 4 ? NULL : &cpu);
	default:
		return x86vcpu_request_exit(vcpu);
	}
}

/* ---- Without a vCPU ------------------------------------------------------------------------------------ */

static int32_t global(struct abi *a, uint8_t how)
{
	const uint32_t number = (uint32_t)in_value(a->w->in);
	uint32_t value;

	fuzz_check(x86vcpu_strerror((int32_t)number)[0] && x86vcpu_strerror((int8_t)number)[0] && x86vcpu_exit_name(number)[0] &&
			   x86vcpu_extension_name(number)[0] && x86vcpu_vmx_exit_name(number)[0] &&
			   x86vcpu_svm_exit_name(number)[0] && x86vcpu_vmx_instruction_error(number)[0] &&
			   x86vcpu_vmx_entry_failure(number, in_value(a->w->in))[0], "a number without a name");
	x86vcpu_msr_name(number);
	x86vcpu_extension();
	if (how & 0x40)
		return how & 4 ? x86vcpu_nested_levels(how & 8 ? NULL : &value)
			       : x86vcpu_nested_large_executable(how & 8 ? NULL : &value);
	switch (how & 3) {
	case 0:
		return x86vcpu_detect(how & 8 ? NULL : &value);
	case 1:
		return x86vcpu_select();
	case 2:
		return x86vcpu_nested_format(how & 8 ? NULL : &value);
	default:
		return x86vcpu_needs_apic_access_page(how & 8 ? NULL : &value);
	}
}

/* Of the CPU. The model has not all MSRs that its CPUID announces; of others none may be touched. */
static int32_t host_msr(struct abi *a, uint32_t number, uint8_t how)
{
	const int32_t exists = x86vcpu_msr_exists(number);
	uint64_t value;
	int32_t status;

	fuzz_check(exists == 0 || exists == 1, "msr_exists answers %d", exists);
	world_check(a->w, "msr_exists");
	status = x86vcpu_msr_read(number, how & 8 ? NULL : &value);
	fuzz_check(how & 8 || (status == 0) == exists, "MSR %x exists: %d, is read: %d", number, exists, status);
	if (exists)
		model_forgive(a->w->m);
	return status;
}

static int32_t decode(struct abi *a, uint8_t how)
{
	struct input *in = a->w->in;
	const uint64_t q = in_value(in);
	const uint32_t info = in_32(in), code = in_8(in);
	uint64_t out[8];

	switch (how % 16) {
	case 0:
		return x86vcpu_vmx_decode_debug(q, (void *)out);
	case 1:
		return x86vcpu_vmx_decode_page_fault(q, info, (void *)out);
	case 2:
		return x86vcpu_vmx_decode_sipi(q, (void *)out);
	case 3:
		return x86vcpu_vmx_decode_task_switch(q, (void *)out);
	case 4:
		return x86vcpu_vmx_decode_cr_access(q, (void *)out);
	case 5:
		return x86vcpu_vmx_decode_dr_access(q, (void *)out);
	case 6:
		return x86vcpu_vmx_decode_io(q, how & 0x80 ? NULL : (void *)out);
	case 7:
		return x86vcpu_vmx_decode_mwait(q, (void *)out);
	case 8:
		return x86vcpu_vmx_decode_apic_access(q, (void *)out);
	case 9:
		return x86vcpu_vmx_decode_apic_write(q, (void *)out);
	case 10:
		return x86vcpu_vmx_decode_virtualized_eoi(q, (void *)out);
	case 11:
		return x86vcpu_vmx_decode_ept_violation(q, (void *)out);
	case 12:
		return x86vcpu_vmx_decode_interruption(info, code, (void *)out);
	case 13:
		return x86vcpu_vmx_decode_vectoring(info, code, (void *)out);
	case 14:
		return x86vcpu_vmx_decode_instruction(code, info, how >> 7, (void *)out);
	default:
		memset(out, 0, sizeof(out));
		memcpy(out, &q, sizeof(q));
		return x86vcpu_vmx_encode_event((const void *)out, (void *)(out + 4));
	}
}

static int32_t explain(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	const uint64_t length = how & 1 ? in_8(a->w->in) : 128;
	char *text = malloc(length + !length);
	uint32_t check = 0;
	int32_t status;

	memset(text, 0xa5, length + !length);
	status = x86vcpu_explain_entry_failure(vcpu, how & 8 ? NULL : &check, how & 4 ? NULL : text, how & 4 && how & 2 ? 0 : length);
	fuzz_check(status || how & 4 || !length || strnlen(text, length) < length, "a text without an end");
	fuzz_check(status || !check || strcmp(x86vcpu_entry_check_name(check), "unknown") != 0, "check %u has no name", check);
	fuzz_check(x86vcpu_entry_check_name((uint32_t)in_value(a->w->in))[0], "a check without a name");
	free(text);
	return status;
}

static int32_t debugging(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	struct x86vcpu_debug_config config = {.size = sizeof(config) - (how & 8), .flags = in_8(a->w->in) & 0xf};

	if (!(how & 1))
		return how & 2 ? x86vcpu_debug_reflect(vcpu) : x86vcpu_skip_instruction(vcpu, how >> 2 & 0x1f);
	if (how & 2) {
		config.dr7 = in_value(a->w->in);
		for (unsigned i = 0; i < 4; i++)
			config.address[i] = in_value(a->w->in);
	}
	return x86vcpu_set_debug(vcpu, how & 4 ? NULL : &config);
}

static int32_t access_virtual(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	struct x86vcpu_virtual_access result = {.size = sizeof(result) - (how & 0x40 ? 8 : 0)};
	const uint64_t linear = in_value(a->w->in), length = how & 0x20 ? in_16(a->w->in) : in_8(a->w->in);
	const uint32_t privilege = how >> 2 & 7;
	uint8_t *data = calloc(1, length + 1);
	int32_t status;

	if (!(how & 3))
		status = x86vcpu_translate(vcpu, linear, in_8(a->w->in) % 6, privilege, how & 0x80 ? NULL : &result);
	else if (how & 1)
		status = x86vcpu_read_virtual(vcpu, linear, privilege, how & 0x80 ? NULL : data, length, &result);
	else
		status = x86vcpu_write_virtual(vcpu, linear, privilege, how & 0x80 ? NULL : data, length, &result);
	fuzz_check(result.done <= length && (status || !(how & 3) || result.done == length), "%llu of %llu bytes",
		   (unsigned long long)result.done, (unsigned long long)length);
	free(data);
	return status;
}

static int32_t virtual_memory(struct abi *a, struct x86vcpu *vcpu, uint8_t how)
{
	if ((how & 0x83) == 0x80)
		return debugging(a, vcpu, in_8(a->w->in));
	return access_virtual(a, vcpu, how);
}

static int32_t mitigations(struct abi *a, uint8_t how)
{
	struct x86vcpu_percpu *percpu = a->w->percpu[how & 3];
	struct x86vcpu_mitigation_state state = {.size = sizeof(state) + (how & 4)};
	const uint32_t mitigation = how & 8 ? X86VCPU_MITIGATION_ALL : in_8(a->w->in);
	int32_t status;

	if (how & 0x10)
		return x86vcpu_mitigations_choose(percpu, mitigation, in_8(a->w->in) % 4);
	status = x86vcpu_mitigations_get(percpu, mitigation, how & 0x20 ? NULL : &state);
	fuzz_check(status || (state.name[0] && state.text && state.status <= X86VCPU_MITIGATION_HOST &&
			      state.choice <= X86VCPU_MITIGATION_ON), "mitigation %u: status %u", mitigation, state.status);
	return status;
}

/* What it has, it takes. Values that it does not take are the caller's own #GP. */
static int32_t write_host_msr(struct abi *a, uint32_t number)
{
	uint64_t value = 0;
	const int32_t status = x86vcpu_msr_read(number, &value);

	if (status || number != X86VCPU_MSR_IA32_PAT)
		return status ? x86vcpu_msr_write(number, in_value(a->w->in)) : status;
	return x86vcpu_msr_write(number, value);
}

static int32_t small(struct abi *a, uint8_t how)
{
	const uint64_t old = in_value(a->w->in), value = in_value(a->w->in);
	struct x86vcpu_regs regs = {.rax = 1};
	uint64_t merged;

	merged = x86vcpu_regs_merge(old, how & 7, value);
	fuzz_check((how & 7) > X86VCPU_WIDTH_WORD || !((merged ^ old) >> 16), "merge");
	fuzz_check(!((x86vcpu_regs_merge_high_byte(old, (uint8_t)value) ^ old) & ~UINT64_C(0xff00)), "merge_high_byte");
	x86vcpu_regs_set_edx_eax(&regs, value);
	fuzz_check(x86vcpu_regs_edx_eax(&regs) == value, "EDX:EAX");
	fuzz_check(!(x86vcpu_vmx_vector_has_error_code((uint32_t)old) & ~1), "vector_has_error_code");
	fuzz_check(!(x86vcpu_percpu_is_enabled(a->w->percpu[how & 3]) & ~1), "is_enabled");
	fuzz_check(x86vcpu_version() >> 24 == 0, "version %x", x86vcpu_version());
	return write_host_msr(a, how & 8 ? X86VCPU_MSR_IA32_PAT : (uint32_t)old);
}

/* Mostly of 4 KiB, 2 MiB or 1 GiB. */
static uint64_t nested_address(struct input *in)
{
	static const uint8_t shifts[] = {12, 21, 30, 0};
	const uint8_t how = in_8(in);

	return in_value(in) << shifts[how & 3] | (uint64_t)(how & 0x10) << 8;
}

static int32_t nested(struct abi *a, uint8_t how)
{
	struct input *in = a->w->in;
	struct x86vcpu_nested_tables *tables = &a->tables;
	const uint64_t gpa = nested_address(in), hpa = nested_address(in);
	const uint64_t size = nested_address(in);
	const uint32_t permissions = in_8(in) % 9, type = in_8(in) % 8;
	uint64_t found;

	switch (how & 7) {
	case 0:
		if (tables->root_hpa)
			return x86vcpu_nested_init(NULL, &a->w->ops, a->w, 0, 4, 0);
		tables->size = sizeof(*tables) + (how & 8);
		return x86vcpu_nested_init(tables, &a->w->ops, a->w, how >> 4 & 1, how & 0x20 ? 5 : 4, type);
	case 1:
		x86vcpu_nested_destroy(tables->root_hpa ? tables : NULL);
		return 0;
	case 2:
		return x86vcpu_nested_lookup(tables, gpa, &found, how & 8 ? NULL : (uint32_t *)&found);
	case 3:
		return x86vcpu_nested_unmap(tables, gpa, size);
	case 7: /* for the tables that a host op is called for, too */
		return in_8(in) & 1 ? x86vcpu_nested_init(tables->root_hpa ? NULL : tables, &a->w->ops, a->w, 0, 4, 3)
				    : x86vcpu_nested_lookup(tables, gpa, NULL, NULL);
	default:
		return x86vcpu_nested_map(tables, gpa, hpa, size, permissions, type);
	}
}

/* ---- By number ----------------------------------------------------------------------------------------- */

static int32_t call_vcpu(struct abi *a, uint32_t call, uint8_t how)
{
	const uint32_t n = abi_pick(a);
	struct x86vcpu *vcpu = a->w->vcpu[n];

	switch (call) {
	case 6:
		return abi_destroy(a, n);
	case 7:
	case 8:
		return abi_setup(a, n, how);
	case 9:
	case 10:
		return abi_bind(a, n, how);
	case 11:
	case 12:
	case 13:
	case 14:
		a->ran = true;
		return abi_run(a, n, how);
	case 15:
	case 16:
		return state(a, vcpu, how);
	case 17:
		return apic(a, vcpu, how);
	case 18:
		return events(a, vcpu, how);
	case 19:
	case 20:
		return msr(a, vcpu, how);
	case 21:
		return xsave(a, vcpu, how);
	case 22:
		return gpr(a, vcpu, how);
	case 23:
	case 24:
		return complete(a, n, how);
	case 25:
		return format(a, vcpu, how);
	case 26:
		return inject(a, vcpu, how);
	case 27:
		return deliver(a, vcpu, how);
	case 28:
		return x86vcpu_set_lint(vcpu, how & 3, how >> 2 & 3);
	case 29:
		return x86vcpu_flush_nested(vcpu);
	case ABI_CALLS + 0:
		return explain(a, vcpu, how);
	case ABI_CALLS + 6:
	case ABI_CALLS + 7:
		return virtual_memory(a, vcpu, how);
	default:
		return ask(a, vcpu, how);
	}
}

int32_t abi_call(struct abi *a, uint32_t call, uint8_t how)
{
	switch (call) {
	case 0:
		world_use(a->w, how);
		return 0;
	case 1:
		return abi_percpu(a, how);
	case 2:
		return abi_create(a, how);
	case 3:
		return global(a, how);
	case 4:
		return decode(a, how);
	case 5:
		return regs(a, how);
	case 31:
		return nested(a, how);
	case 32:
		world_pass(a->w, in_value(a->w->in) >> 8);
		a->ran = true;
		return 0;
	case 34:
	case 35:
		return nested(a, how);
	case 36:
		return host_msr(a, in_8(a->w->in) & 1 ? guest_msr(a->w->in) : (uint32_t)in_value(a->w->in), how);
	case 33:
		a->w->refuse_cancel = how & 1;
		return 0;
	case ABI_CALLS + 1:
		return mitigations(a, how);
	case ABI_CALLS + 2:
		return small(a, how);
	case ABI_CALLS + 3:
		if (!a->w->depth)
			world_turn_hostile(a->w);
		return 0;
	case ABI_CALLS + 4:
		a->w->hostility.times = 0;
		return 0;
	case ABI_CALLS + 5:
		return nested(a, how | 7);
	default:
		return call_vcpu(a, call, how);
	}
}

void abi_end(struct abi *a)
{
	x86vcpu_nested_destroy(a->tables.root_hpa ? &a->tables : NULL);
}
