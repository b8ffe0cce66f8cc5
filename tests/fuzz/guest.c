/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest and the VMM do, as the input says. */
#include "fuzz.h"

#include <string.h>

#include "cpu/x86.h"
#include "x86vcpu/svm.h"
#include "x86vcpu/vmx.h"

/* ---- The guest's state --------------------------------------------------------------------------------- */

static uint64_t event(uint32_t type, uint32_t vector, bool has_code, uint32_t code)
{
	return UINT64_C(1) << 31 | type << 8 | vector | (has_code ? UINT64_C(1) << 11 | (uint64_t)(code & 0x7fff) << 32 : 0);
}

static struct x86vcpu_state state_of(struct world *w)
{
	struct x86vcpu_state state = {.size = sizeof(state)};

	x86vcpu_get_state(w->vcpu[w->acting], X86VCPU_STATE_CRS | X86VCPU_STATE_RIP | X86VCPU_STATE_SEGMENTS, &state);
	return state;
}

/* Of the guest as it was when run returned last: its next instruction is not executed at another level. */
static bool is_privileged(struct world *w)
{
	const struct x86vcpu_state state = state_of(w);

	return !(state.cr0 & CR0_PE) || !(state.segments[X86VCPU_SEGMENT_SS].access_rights & AR_DPL);
}

/* ---- Ops of the model ---------------------------------------------------------------------------------- */

static const uint8_t op_kinds[] = {
	MODEL_OP_NONE, MODEL_OP_CPUID, MODEL_OP_HYPERCALL, MODEL_OP_HLT, MODEL_OP_IN, MODEL_OP_OUT, MODEL_OP_RDMSR,
	MODEL_OP_WRMSR, MODEL_OP_MOV_TO_CR, MODEL_OP_MOV_FROM_CR, MODEL_OP_CLTS, MODEL_OP_LMSW, MODEL_OP_XSETBV,
	MODEL_OP_XGETBV, MODEL_OP_INVD, MODEL_OP_WBINVD, MODEL_OP_RDTSC, MODEL_OP_RDPMC, MODEL_OP_PAUSE,
	MODEL_OP_MONITOR, MODEL_OP_MWAIT, MODEL_OP_MOV_DR, MODEL_OP_UD2, MODEL_OP_REFUSED, MODEL_OP_MMIO,
	MODEL_OP_EXCEPTION, MODEL_OP_TRIPLE_FAULT, MODEL_OP_INTERRUPT, MODEL_OP_NMI, MODEL_OP_TIMER,
	MODEL_OP_TASK_SWITCH, MODEL_OP_CUT_SHORT,
};

static uint64_t refused(const struct world *w, uint8_t which)
{
	static const uint8_t reasons[] = {
		X86VCPU_VMX_EXIT_GETSEC, X86VCPU_VMX_EXIT_RSM, X86VCPU_VMX_EXIT_VMCLEAR, X86VCPU_VMX_EXIT_VMLAUNCH,
		X86VCPU_VMX_EXIT_VMPTRLD, X86VCPU_VMX_EXIT_VMPTRST, X86VCPU_VMX_EXIT_VMREAD, X86VCPU_VMX_EXIT_VMRESUME,
		X86VCPU_VMX_EXIT_VMWRITE, X86VCPU_VMX_EXIT_VMXOFF, X86VCPU_VMX_EXIT_VMXON, X86VCPU_VMX_EXIT_INVEPT,
		X86VCPU_VMX_EXIT_INVVPID, X86VCPU_VMX_EXIT_VMFUNC, X86VCPU_VMX_EXIT_ENCLS, X86VCPU_VMX_EXIT_BUS_LOCK,
	};

	if (w->backend == MODEL_SVM)
		return X86VCPU_SVM_EXIT_VMRUN + which % 16;
	return reasons[which % sizeof(reasons)];
}

static void port_op(struct input *in, struct model_op *op)
{
	const uint8_t how = in_8(in);

	op->a = in_16(in);
	op->b = 1u << how % 3;
	op->c = (how >> 2 & 7) | 2u << (how >> 5) % 3 << 8 | (uint64_t)((how >> 4) % 6) << 16;
}

static void op_operands(struct world *w, struct model_op *op)
{
	static const uint8_t crs[] = {0, 3, 4, 8}, drs[] = {0, 1, 2, 3, 6, 7};
	struct input *in = w->in;

	switch (op->kind) {
	case MODEL_OP_IN:
	case MODEL_OP_OUT:
		port_op(in, op);
		break;
	case MODEL_OP_MOV_TO_CR:
	case MODEL_OP_MOV_FROM_CR:
		op->a = crs[in_8(in) % 4];
		op->b = in_8(in) & 15;
		break;
	case MODEL_OP_MOV_DR:
		op->a = drs[in_8(in) % 6];
		op->b = in_8(in);
		op->c = op->b >> 7;
		op->b &= 15;
		break;
	case MODEL_OP_REFUSED:
		op->a = refused(w, in_8(in));
		break;
	case MODEL_OP_LMSW:
		op->a = in_16(in);
		break;
	case MODEL_OP_MMIO:
		op->a = in_value(in);
		op->b = in_8(in) % 3;
		op->c = op->a;
		break;
	case MODEL_OP_EXCEPTION:
		op->a = in_8(in) % 32;
		op->b = in_16(in);
		op->c = in_value(in);
		break;
	case MODEL_OP_INTERRUPT:
		op->a = in_8(in);
		break;
	case MODEL_OP_TASK_SWITCH:
	case MODEL_OP_CUT_SHORT:
		op->a = in_value(in);
		break;
	default:
		break;
	}
}

/* At other levels these are #GP before they exit. */
static bool needs_privilege(uint32_t kind)
{
	switch (kind) {
	case MODEL_OP_MOV_TO_CR:
	case MODEL_OP_MOV_FROM_CR:
	case MODEL_OP_CLTS:
	case MODEL_OP_LMSW:
	case MODEL_OP_MOV_DR:
	case MODEL_OP_RDMSR:
	case MODEL_OP_WRMSR:
	case MODEL_OP_XSETBV:
	case MODEL_OP_HLT:
	case MODEL_OP_INVD:
	case MODEL_OP_WBINVD:
		return true;
	default:
		return false;
	}
}

static void choose_op(struct world *w, struct model_op *op)
{
	const uint8_t how = in_8(w->in), length = how & 15;

	if (how & 0x80) {
		guest_code(w, op);
	} else {
		*op = (struct model_op){.kind = op_kinds[in_8(w->in) % sizeof(op_kinds)], .length = length ? length : 2};
		op_operands(w, op);
	}
	if (needs_privilege(op->kind) && !w->privileged)
		op->kind = MODEL_OP_CPUID;
	fuzz_tell("op %u length %u: %llx %llx %llx", op->kind, op->length, (unsigned long long)op->a,
		  (unsigned long long)op->b, (unsigned long long)op->c);
}

/* ---- Exits made up ------------------------------------------------------------------------------------- */

static uint64_t raw_reason(const struct world *w, uint8_t how)
{
	const uint8_t reason = in_8(w->in);

	if (how & 1)
		return in_value(w->in);
	if (!w->privileged && (w->backend == MODEL_VMX ? reason == X86VCPU_VMX_EXIT_CR_ACCESS : reason < 0x20))
		return w->backend == MODEL_VMX ? X86VCPU_VMX_EXIT_CPUID : X86VCPU_SVM_EXIT_CPUID;
	return w->backend == MODEL_SVM && reason >= 0xf0 ? X86VCPU_SVM_EXIT_NPF : reason;
}

static bool in_protected_mode(struct world *w)
{
	return state_of(w).cr0 & CR0_PE;
}

static uint64_t any_event(struct input *in)
{
	const uint32_t info = in_32(in);

	return info | in_value(in) << 32;
}

/* The event that was being delivered: one that there is, or anything. */
static uint64_t choose_vectoring(struct world *w)
{
	static const uint8_t types[] = {0, 2, 3, 4, 5, 6};
	const uint8_t how = in_8(w->in), vector = in_8(w->in);
	const uint32_t type = types[how % (w->backend == MODEL_VMX ? 6 : 4)];

	if (how >= 0xf0) {
		w->nonsense = true;
		return any_event(w->in);
	}
	w->delivering = type <= 2;
	if (type == 2 || (type == 0 && !(state_of(w).rflags & RFLAGS_IF)))
		return event(2, VECTOR_NMI, false, 0);
	if (type != 3)
		return event(type, vector, false, 0);
	/* NMIs have another type; vectors that are not in use cannot come. */
	return event(3, vector % 32 == VECTOR_NMI ? VECTOR_GP : vector % 32,
		     (vector % 32 == VECTOR_NMI || x86vcpu_vmx_vector_has_error_code(vector % 32)) && in_protected_mode(w),
		     vector * 0x101u);
}

/* VT-x: what exits by the exception bitmap of setup.c, NMIs, external interrupts; or anything. */
static uint64_t choose_interruption(struct world *w)
{
	const uint8_t how = in_8(w->in);

	switch (how % 8) {
	case 0:
		return event(2, VECTOR_NMI, false, 0);
	case 1:
		return event(3, VECTOR_DB, false, 0) | (how & 0x10 ? 1u << 12 : 0);
	case 2:
		return event(3, VECTOR_AC, in_protected_mode(w), 0) | (how & 0x10 ? 1u << 12 : 0);
	case 3:
		return event(3, VECTOR_MC, false, 0);
	case 4:
		return event(5, VECTOR_DB, false, 0);
	case 5:
	case 6:
		return event(0, in_8(w->in), false, 0);
	default:
		w->nonsense = true;
		return any_event(w->in);
	}
}

/* A bit of the first byte for each field that is not zero. */
static void choose_raw(struct world *w, struct model_raw_exit *raw)
{
	struct input *in = w->in;
	const uint8_t how = in_8(in);

	*raw = (struct model_raw_exit){.length = 2};
	raw->reason = raw_reason(w, how);
	/* No guest has run then: it has changed nothing. */
	w->entry_fails = (uint32_t)raw->reason >> 31;
	if (how & 2)
		raw->qualification = in_value(in);
	if (how & 4)
		raw->physical = in_value(in);
	if (how & 8)
		raw->vectoring = choose_vectoring(w);
	if (how & 16)
		raw->linear = in_value(in);
	if (how & 32)
		raw->length = (uint32_t)in_value(in);
	if (how & 64) {
		raw->interruption = choose_interruption(w);
		raw->instruction = in_32(in);
	}
	if (how & 128) {
		raw->fetched = in_8(in);
		for (unsigned i = 0; i < sizeof(raw->bytes); i++)
			raw->bytes[i] = in_8(in);
	}
}

/* ---- The next one -------------------------------------------------------------------------------------- */

static bool next_op(void *arg, struct model_op *op)
{
	struct world *w = arg;

	if (!w->steps || !in_more(w->in))
		return false;
	w->steps--;
	choose_op(w, op);
	return op->kind != MODEL_OP_NONE && op->kind != MODEL_OP_CUT_SHORT;
}

/* STI and MOV SS; with TF the CPU would have a trap pending too. */
static void enter_shadow(struct world *w)
{
	const uint64_t rflags = w->shadow && !w->delivering ? state_of(w).rflags : 0;

	if (rflags & RFLAGS_IF && !(rflags & RFLAGS_TF))
		model_guest_sets(w->m, MODEL_SHADOW, w->shadow);
	/* No interrupt or NMI is delivered in a shadow. */
	if (w->delivering)
		model_guest_sets(w->m, MODEL_SHADOW, 0);
	w->shadow = 0;
	w->delivering = false;
}

static void go(struct world *w)
{
	const struct x86vcpu_state state = state_of(w);
	const bool wide = state.efer & EFER_LMA && state.segments[X86VCPU_SEGMENT_CS].access_rights & AR_L;

	if (w->rip && (wide || !(w->rip >> 32)))
		model_guest_sets(w->m, MODEL_RIP, w->rip);
	w->rip = 0;
}

void guest_does_something(struct world *w, bool raw)
{
	struct model_op op = {.kind = MODEL_OP_RAW};

	w->privileged = is_privileged(w);
	if (raw) {
		struct model_raw_exit exit;

		choose_raw(w, &exit);
		fuzz_tell("raw %llx %llx %llx vectoring %llx linear %llx length %x instruction %x event %llx",
			  (unsigned long long)exit.reason, (unsigned long long)exit.qualification,
			  (unsigned long long)exit.physical, (unsigned long long)exit.vectoring,
			  (unsigned long long)exit.linear, exit.length, exit.instruction,
			  (unsigned long long)exit.interruption);
		model_guest_exits(w->m, &exit);
	} else {
		choose_op(w, &op);
	}
	enter_shadow(w);
	go(w);
	if (raw && w->entry_fails)
		model_guest_sets_nothing(w->m);
	model_guest_does(w->m, &op);
	w->steps = in_8(w->in) & 7;
	model_guest_source(w->m, next_op, w);
}

/* ---- Answers ------------------------------------------------------------------------------------------- */

static void answer_string(struct world *w, uint32_t n, uint8_t how)
{
	struct x86vcpu_port_io_string done = w->exit[n].u.port_io_string;

	if (how & 1)
		((uint8_t *)&done)[in_8(w->in) % sizeof(done)] ^= (uint8_t)(how | 1);
	world_check_status(x86vcpu_complete_port_io_string(w->vcpu[n], &done), "complete_port_io_string");
}

static void set_register(struct world *w, uint32_t n)
{
	const uint8_t which = in_8(w->in);
	struct x86vcpu *vcpu = w->vcpu[n];
	const uint64_t value = in_value(w->in);

	switch (which >> 4 & 3) {
	case 0:
		world_check_status(x86vcpu_set_gpr(vcpu, which & 15, value), "set_gpr");
		break;
	case 1:
		world_check_status(x86vcpu_set_gpr_width(vcpu, which & 15, which >> 6, value), "set_gpr_width");
		break;
	case 2:
		world_check_status(x86vcpu_set_gpr_high_byte(vcpu, which & 3, (uint8_t)value), "set_gpr_high_byte");
		break;
	default:
		world_check_status(x86vcpu_set_return_value(vcpu, value), "set_return_value");
	}
}

void vmm_answers(struct world *w, uint32_t n)
{
	const uint8_t how = in_8(w->in);
	struct x86vcpu *vcpu = w->vcpu[n];

	fuzz_tell("answer %u", how & 7);
	switch (how & 7) {
	case 0:
	case 1:
		world_check_status(x86vcpu_complete_read(vcpu, in_value(w->in)), "complete_read");
		break;
	case 2:
		world_check_status(x86vcpu_complete_write(vcpu), "complete_write");
		break;
	case 3:
		world_check_status(x86vcpu_complete_fault(vcpu), "complete_fault");
		break;
	case 4:
	case 5:
		answer_string(w, n, how);
		break;
	default:
		set_register(w, n);
	}
	world_check(w, "an answer");
}
