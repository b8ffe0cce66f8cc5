/* SPDX-License-Identifier: Apache-2.0 */
/* The guest between an entry and an exit: what it is told to do, and what it sees. */
#include "machine.h"

#include <stdio.h>
#include <string.h>

#define PATIENCE 64

const char *model_field_name(uint32_t number)
{
	static const char *const registers[] = {
		"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14",
		"R15", "RIP", "RFLAGS", "CR0", "CR2", "CR3", "CR4", "EFER", "XCR0", "XSS", "DR0", "DR1", "DR2", "DR3",
		"DR6", "DR7",
	};
	static const char *const others[] = {
		"GDTR.base", "GDTR.limit", "IDTR.base", "IDTR.limit", "STAR", "LSTAR", "CSTAR", "FMASK",
		"KERNEL_GS_BASE", "SYSENTER_CS", "SYSENTER_ESP", "SYSENTER_EIP", "PAT", "TSC_AUX", "DEBUGCTL",
		"shadow", "pending debug", "PDPTE0", "PDPTE1", "PDPTE2", "PDPTE3",
	};
	static const char *const parts[] = {"selector", "base", "limit", "rights"};
	static const char *const segments[] = {"ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR"};
	static char name[32];

	if (number < MODEL_SELECTOR)
		return registers[number];
	if (number >= MODEL_FIELDS)
		return "?";
	if (number >= MODEL_GDTR_BASE)
		return others[number - MODEL_GDTR_BASE];
	number -= MODEL_SELECTOR;
	snprintf(name, sizeof(name), "%s.%s", segments[number % 8], parts[number / 8]);
	return name;
}

void model_guest_sets(struct model *m, uint32_t number, uint64_t value)
{
	if (m->set_count < MODEL_FIELDS)
		m->sets[m->set_count++] = (struct pending_set){number, value};
}

void model_guest_sets_nothing(struct model *m)
{
	m->set_count = 0;
}

void model_guest_does(struct model *m, const struct model_op *op)
{
	m->op = *op;
	m->armed = op->kind != MODEL_OP_NONE;
	m->begun = false;
	m->bad_entry = op->kind == MODEL_OP_BAD_ENTRY;
	m->cut_short = op->kind == MODEL_OP_CUT_SHORT;
	m->cut_short_at = op->a;
	m->storm = 0;
	if (m->bad_entry || m->cut_short)
		m->armed = false;
	memset(&m->outcome, 0, sizeof(m->outcome));
	m->entries = 0;
}

void model_guest_exits(struct model *m, const struct model_raw_exit *raw)
{
	m->raw = *raw;
}

void model_guest_source(struct model *m, bool (*next)(void *arg, struct model_op *op), void *arg)
{
	m->next = next;
	m->next_arg = arg;
}

const struct model_outcome *model_outcome(const struct model *m)
{
	return &m->outcome;
}

void guest_took_with(uint32_t type, uint32_t vector, bool has_error_code, uint32_t error_code, uint64_t rflags)
{
	model->saved_rflags = rflags;
	guest_took(type, vector, has_error_code, error_code);
}

uint64_t model_saved_rflags(const struct model *m)
{
	return m->saved_rflags;
}

void guest_took(uint32_t type, uint32_t vector, bool has_error_code, uint32_t error_code)
{
	struct model_outcome *o = &model->outcome;

	model->faults += type == 3;
	if (o->event_count < MODEL_EVENTS)
		o->events[o->event_count++] =
			(struct model_event){type, vector, has_error_code, has_error_code ? error_code : 0};
}

/* SDM 18.3.1.1, 27.6.1.1: VM entry pushes RF as it is, and a fault's must be 1. */
void guest_injected(uint32_t type, uint32_t vector, uint64_t rflags)
{
	const uint32_t faults = 0xfffbfee1; /* all but #DB, NMI, #BP, #OF, #DF and #MC */

	if (type == 3 && vector < 32 && faults >> vector & 1 && !(rflags & RFLAGS_RF))
		complain("fault %u is injected with RFLAGS.RF clear", vector);
}

/* What the IRET meets, once. */
uint64_t guest_iret_meets(void)
{
	const uint64_t what = model->op.c;

	model->op.c = 0;
	return what;
}

void guest_iret_ends(const struct guest_view *view, uint64_t gpr[16])
{
	view->set(gpr, MODEL_RIP, model->op.a);
	view->set(gpr, MODEL_RFLAGS, model->op.b | RFLAGS_FIXED);
	view->set(gpr, MODEL_SHADOW, 0);
	model->outcome.native = 1;
	model->begun = false;
}

static void store64(uint64_t gpa, uint64_t value)
{
	if (gpa + 8 <= MODEL_GUEST_SIZE)
		memcpy(model->guest + gpa, &value, sizeof(value));
}

bool guest_moves_flags(const struct guest_view *view, uint64_t gpr[16], const struct model_op *op, uint64_t fmask,
		       uint64_t lstar)
{
	const uint64_t rflags = view->get(gpr, MODEL_RFLAGS), rip = view->get(gpr, MODEL_RIP);

	switch (op->kind) {
	case MODEL_OP_PUSHF:
		view->set(gpr, MODEL_RSP, view->get(gpr, MODEL_RSP) - 8);
		store64(view->get(gpr, MODEL_RSP), rflags & ~RFLAGS_RF);
		break;
	case MODEL_OP_POPF:
		view->set(gpr, MODEL_RFLAGS, op->a | RFLAGS_FIXED);
		break;
	case MODEL_OP_SYSCALL:
		gpr[MODEL_RCX] = rip + op->length;
		gpr[MODEL_R11] = rflags & ~RFLAGS_RF;
		view->set(gpr, MODEL_RFLAGS, (rflags & ~fmask & ~RFLAGS_RF) | RFLAGS_FIXED);
		view->set(gpr, MODEL_RIP, lstar - op->length);
		return view->get(gpr, MODEL_RFLAGS) & RFLAGS_TF;
	default:
		view->set(gpr, MODEL_RFLAGS, (gpr[MODEL_R11] & ~RFLAGS_RF) | RFLAGS_FIXED);
		view->set(gpr, MODEL_RIP, gpr[MODEL_RCX] - op->length);
		return view->get(gpr, MODEL_RFLAGS) & RFLAGS_TF;
	}
	return rflags & RFLAGS_TF;
}

uint32_t guest_read32(uint64_t gpa)
{
	uint32_t value = 0;

	if (gpa + 4 <= MODEL_GUEST_SIZE)
		memcpy(&value, model->guest + gpa, 4);
	return value;
}

/* SDM Vol. 2, RDPMC. Counters do not count here. */
bool guest_has_counter(uint64_t number)
{
	return (uint32_t)number < 4;
}

/* Legal, and bad for whoever shares the caches. */
void guest_writes_back(const char *instruction)
{
	complain("the guest's %s reaches the host's caches", instruction);
}

/* Ports in virtual-8086 mode and above IOPL need a bit in the TSS, which this guest's has not. */
static bool port_is_refused(uint32_t cpl, uint64_t rflags)
{
	return rflags & RFLAGS_VM || cpl > (rflags >> 12 & 3);
}

uint32_t guest_is_refused(const struct model_op *op, uint32_t cpl, uint64_t rflags, uint64_t cr4)
{
	if (!cpl)
		return 0;
	switch (op->kind) {
	case MODEL_OP_XSETBV:
		return cr4 & CR4_OSXSAVE ? VECTOR_GP : VECTOR_UD;
	case MODEL_OP_HLT:
	case MODEL_OP_RDMSR:
	case MODEL_OP_WRMSR:
	case MODEL_OP_MOV_TO_CR:
	case MODEL_OP_MOV_FROM_CR:
	case MODEL_OP_CLTS:
	case MODEL_OP_LMSW:
	case MODEL_OP_INVD:
	case MODEL_OP_WBINVD:
	case MODEL_OP_MOV_DR:
		return VECTOR_GP;
	case MODEL_OP_RDPMC:
		return cr4 & CR4_PCE ? 0 : VECTOR_GP;
	case MODEL_OP_MONITOR:
	case MODEL_OP_MWAIT:
		return VECTOR_UD;
	case MODEL_OP_IN:
	case MODEL_OP_OUT:
		return port_is_refused(cpl, rflags) ? VECTOR_GP : 0;
	default:
		return 0;
	}
}

static void apply_sets(const struct guest_view *view, uint64_t gpr[16])
{
	for (uint32_t i = 0; i < model->set_count; i++)
		view->set(gpr, model->sets[i].field, model->sets[i].value);
	model->set_count = 0;
}

static void look(const struct guest_view *view, const uint64_t gpr[16])
{
	for (uint32_t i = 0; i < MODEL_FIELDS; i++)
		model->outcome.fields[i] = view->get(gpr, i);
}

/* Instructions that a hypervisor may let the guest execute again, RIP being where it was. */
static bool comes_again(const struct guest_view *view, const uint64_t gpr[16])
{
	const struct model_op *op = &model->op;
	const bool string = (op->kind == MODEL_OP_IN || op->kind == MODEL_OP_OUT) && (op->c & 3) == 3;

	if (!model->begun || model->faults != model->op_faults || view->get(gpr, MODEL_RIP) != model->op_rip)
		return false;
	return op->kind == MODEL_OP_MOV_DR || op->kind == MODEL_OP_IRET || (string && view->get(gpr, MODEL_RCX));
}

static bool has_op(const struct guest_view *view, const uint64_t gpr[16])
{
	if (model->armed || comes_again(view, gpr))
		return true;
	model->armed = model->next && model->next(model->next_arg, &model->op);
	return model->armed;
}

void guest_runs(const struct guest_view *view, uint64_t gpr[16])
{
	apply_sets(view, gpr);
	/* A hypervisor that goes on and on in one run would never come back. */
	if (++model->outcome.entries > PATIENCE) {
		model->outcome.stuck = 1;
		view->stop(STOP_VECTOR);
		return;
	}
	if (view->window(gpr))
		return;
	if (has_op(view, gpr)) {
		if (model->armed)
			model->outcome.before = model->outcome.event_count;
		model->armed = false;
		model->begun = true;
		model->op_rip = view->get(gpr, MODEL_RIP);
		model->op_faults = model->faults;
		if (view->exits(&model->op, gpr))
			return;
		model->outcome.native = 1;
		if (view->window(gpr))
			return;
	}
	look(view, gpr);
	model->outcome.stopped = 1;
	view->stop(STOP_VECTOR);
}
