/* SPDX-License-Identifier: Apache-2.0 */
/* x86vcpu_set_debug: steps that the guest does not notice, breakpoints of the VMM, and what of a #DB or #BP is the guest's. */
#include <check.h>
#include <string.h>

#include "cpu/x86.h"
#include "fixture.h"

Suite *debug_suite(void);

#define AT 0x1000u
#define TO 0x2000u /* LSTAR, and what SYSRET returns to */
#define STACK 0x5000u
#define STAR 0xc0000081u
#define LSTAR 0xc0000082u
#define FMASK 0xc0000084u

/* Monitor trap flag; RFLAGS.TF with VT-x, with SVM, and without next RIP. */
enum { BY_TRAP_FLAG, VMX_BY_FLAG, SVM_BY_FLAG, SVM_BARE, WAYS };

static struct fixture *begin(int way)
{
	static const uint32_t features[] = {
		[BY_TRAP_FLAG] = MODEL_ALL,
		[VMX_BY_FLAG] = MODEL_ALL | MODEL_NO_MONITOR_TRAP,
		[SVM_BY_FLAG] = MODEL_ALL,
		[SVM_BARE] = MODEL_ALL & ~(MODEL_NRIPS | MODEL_DECODE),
	};
	struct fixture *f = fixture_begin(way >= SVM_BY_FLAG ? MODEL_SVM : MODEL_VMX, features[way]);
	struct x86vcpu_state s = {.size = sizeof(s)};
	uint8_t *ram = model_guest_memory(f->m);
	const uint64_t tables[] = {0x11000 | 7, 0x12000 | 7, 0x13000 | 7};

	for (unsigned i = 0; i < 3; i++)
		memcpy(ram + 0x10000 + 0x1000 * i, &tables[i], 8);
	for (uint64_t page = 0; page < 64; page++)
		memcpy(ram + 0x13000 + 8 * page, &(uint64_t){page << 12 | 7}, 8);
	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	s.cr0 = CR0_PG | CR0_PE | CR0_ET;
	s.cr3 = 0x10000;
	s.cr4 = CR4_PAE;
	s.efer = EFER_LME | EFER_LMA | EFER_SCE;
	s.segments[X86VCPU_SEGMENT_CS].access_rights = 0xa09b;
	s.rip = AT;
	s.rsp = STACK;
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	return f;
}

static struct x86vcpu_state state(struct fixture *f)
{
	struct x86vcpu_state s = {.size = sizeof(s)};

	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	return s;
}

static void set_rflags(struct fixture *f, uint64_t rflags)
{
	struct x86vcpu_state s = state(f);

	s.rflags = rflags;
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_RIP, &s), X86VCPU_OK);
}

static void debugs(struct fixture *f, uint32_t flags)
{
	const struct x86vcpu_debug_config config = {.size = sizeof(config), .flags = flags};

	ck_assert_int_eq(x86vcpu_set_debug(f->vcpu, &config), X86VCPU_OK);
}

/* `code` is at RIP, and the guest does `op`. */
static void does(struct fixture *f, const char *code, const struct model_op *op)
{
	memcpy(model_guest_memory(f->m) + state(f).rip, code, op->length);
	model_guest_does(f->m, op);
	ck_assert_int_eq(x86vcpu_run(f->vcpu, &f->exit), X86VCPU_OK);
	ck_assert_str_eq(model_complaints(f->m), "");
}

static void tells(struct fixture *f, uint32_t what, uint64_t dr6, uint64_t rip)
{
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_DEBUG);
	ck_assert_uint_eq(f->exit.u.debug.what, what);
	ck_assert_uint_eq(f->exit.u.debug.dr6, dr6);
	ck_assert_uint_eq(f->exit.u.debug.rip, rip);
	ck_assert_uint_eq(state(f).rip, rip);
}

static void steps(struct fixture *f, uint64_t rip)
{
	tells(f, X86VCPU_DEBUG_HIT_STEP, DR6_BS, rip);
	ck_assert_uint_eq(state(f).dr6, DR6_RESET);
}

static void runs_on(struct fixture *f)
{
	model_guest_does(f->m, &(struct model_op){.kind = MODEL_OP_NONE});
	ck_assert_int_eq(x86vcpu_run(f->vcpu, &f->exit), X86VCPU_OK);
	ck_assert_str_eq(model_complaints(f->m), "");
}

static void took(struct fixture *f, uint32_t vector)
{
	const struct model_outcome *o = model_outcome(f->m);

	ck_assert_uint_eq(o->event_count, 1);
	ck_assert_uint_eq(o->events[0].vector, vector);
}

/* ---- Steps ------------------------------------------------------------------------------------------------- */

static const struct model_op plain = {.kind = MODEL_OP_RDTSC, .length = 2};
static const struct model_op emulated = {.kind = MODEL_OP_CPUID, .length = 2};

START_TEST(instructions_end_with_an_exit)
{
	struct fixture *f = begin(_i);

	model_host_remember(f->m);
	debugs(f, X86VCPU_DEBUG_STEP);
	does(f, "\x0f\x31", &plain);
	steps(f, AT + 2);
	does(f, "\x0f\xa2", &emulated);
	steps(f, AT + 4);
	ck_assert_uint_eq(state(f).rflags & RFLAGS_TF, 0);
	does(f, "\x0f\x31", &plain);
	steps(f, AT + 6);
	ck_assert_str_eq(model_host_changes(f->m), "");
	/* As ever. */
	ck_assert_int_eq(x86vcpu_set_debug(f->vcpu, NULL), X86VCPU_OK);
	does(f, "\x0f\x31", &plain);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NOTHING);
	ck_assert_uint_eq(model_outcome(f->m)->event_count, 0);
	fixture_end(f);
}
END_TEST

/* The exit for the VMM comes first, and the step when it is answered. */
START_TEST(exits_of_the_vmm_are_steps_too)
{
	static const struct model_op out = {.kind = MODEL_OP_OUT, .length = 1, .a = 0x80, .b = 1};
	static const struct model_op in = {.kind = MODEL_OP_IN, .length = 1, .a = 0x80, .b = 1};
	static const struct model_op hlt = {.kind = MODEL_OP_HLT, .length = 1};
	struct fixture *f = begin(_i);

	debugs(f, X86VCPU_DEBUG_STEP);
	does(f, "\xee", &out);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_PORT_IO_WRITE);
	runs_on(f);
	steps(f, AT + 1);
	does(f, "\xec", &in);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_PORT_IO_READ);
	ck_assert_int_eq(x86vcpu_complete_read(f->vcpu, 5), X86VCPU_OK);
	runs_on(f);
	steps(f, AT + 2);
	does(f, "\xf4", &hlt);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_HALT);
	runs_on(f);
	steps(f, AT + 3);
	runs_on(f);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_HALT);
	fixture_end(f);
}
END_TEST

static uint64_t pushed(struct fixture *f)
{
	uint64_t value;

	memcpy(&value, model_guest_memory(f->m) + STACK - 8, 8);
	return value;
}

static struct x86vcpu_memory_region memory;
static const struct x86vcpu_setup_config with_memory = {
	.size = sizeof(with_memory), .memory = &memory, .memory_count = 1, .time_slice_ns = UINT64_C(1) << 60};

/* With memory that the library can write, where PUSHF has stored the flag. */
static struct fixture *begin_with_memory(int way)
{
	struct fixture *f = begin(way);
	struct x86vcpu_state s = state(f);

	memory = (struct x86vcpu_memory_region){.gpa = 0, .hva = model_guest_memory(f->m), .size = MODEL_GUEST_SIZE};
	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_setup(f->vcpu, &with_memory), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_set_state(f->vcpu, X86VCPU_STATE_ALL, &s), X86VCPU_OK);
	return f;
}

START_TEST(pushf_does_not_show_the_flag)
{
	static const struct model_op pushf = {.kind = MODEL_OP_PUSHF, .length = 1};
	struct fixture *f = begin_with_memory(_i);

	debugs(f, X86VCPU_DEBUG_STEP);
	does(f, "\x9c", &pushf);
	steps(f, AT + 1);
	ck_assert_uint_eq(pushed(f), RFLAGS_FIXED);
	ck_assert_uint_eq(state(f).rsp, STACK - 8);
	fixture_end(f);
	/* The guest's own shows, and its own #DB comes after the step's exit. */
	f = begin_with_memory(_i);
	set_rflags(f, RFLAGS_FIXED | RFLAGS_TF);
	debugs(f, X86VCPU_DEBUG_STEP);
	does(f, "\x9c", &pushf);
	ck_assert_uint_eq(f->exit.u.debug.what, X86VCPU_DEBUG_HIT_STEP);
	ck_assert_uint_eq(pushed(f), RFLAGS_FIXED | RFLAGS_TF);
	ck_assert_int_eq(x86vcpu_set_debug(f->vcpu, NULL), X86VCPU_OK);
	runs_on(f);
	took(f, VECTOR_DB);
	ck_assert_uint_eq(state(f).dr6, DR6_RESET | DR6_BS);
	fixture_end(f);
}
END_TEST

START_TEST(popf_sets_the_guests_flag)
{
	static const struct model_op sets = {.kind = MODEL_OP_POPF, .length = 1, .a = RFLAGS_TF};
	static const struct model_op clears = {.kind = MODEL_OP_POPF, .length = 1};
	struct fixture *f = begin(_i);

	debugs(f, X86VCPU_DEBUG_STEP);
	does(f, "\x9d", &sets);
	steps(f, AT + 1);
	ck_assert_uint_eq(state(f).rflags & RFLAGS_TF, RFLAGS_TF);
	does(f, "\x9d", &clears);
	ck_assert_uint_eq(f->exit.u.debug.what, X86VCPU_DEBUG_HIT_STEP);
	ck_assert_uint_eq(state(f).rflags & RFLAGS_TF, 0);
	debugs(f, 0);
	runs_on(f);
	took(f, VECTOR_DB);
	fixture_end(f);
}
END_TEST

START_TEST(iret_returns_with_the_guests_flag)
{
	static const struct model_op iret = {.kind = MODEL_OP_IRET, .length = 2, .a = TO, .b = RFLAGS_FIXED};
	struct fixture *f = begin(_i);

	debugs(f, X86VCPU_DEBUG_STEP);
	does(f, "\x48\xcf", &iret);
	steps(f, TO);
	ck_assert_uint_eq(state(f).rflags & RFLAGS_TF, 0);
	fixture_end(f);
}
END_TEST

/* FMASK has TF, as Linux sets it, so the step would be lost at the entry of the kernel. */
START_TEST(syscall_is_stepped)
{
	static const struct model_op syscall = {.kind = MODEL_OP_SYSCALL, .length = 2};
	static const struct model_op sysret = {.kind = MODEL_OP_SYSRET, .length = 3};
	struct fixture *f = begin(_i);

	ck_assert_int_eq(x86vcpu_set_msr(f->vcpu, LSTAR, TO), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_set_msr(f->vcpu, FMASK, RFLAGS_TF | RFLAGS_IF), X86VCPU_OK);
	model_host_remember(f->m);
	debugs(f, X86VCPU_DEBUG_STEP);
	does(f, "\x0f\x05", &syscall);
	steps(f, TO);
	ck_assert_uint_eq(state(f).regs.r11, RFLAGS_FIXED);
	ck_assert_uint_eq(state(f).rflags, RFLAGS_FIXED);
	does(f, "\x48\x0f\x07", &sysret);
	steps(f, AT + 2);
	ck_assert_uint_eq(state(f).regs.r11, RFLAGS_FIXED);
	ck_assert_uint_eq(state(f).rflags, RFLAGS_FIXED);
	ck_assert_str_eq(model_host_changes(f->m), "");
	ck_assert_int_eq(x86vcpu_get_msr(f->vcpu, FMASK, &f->root), X86VCPU_OK);
	ck_assert_uint_eq(f->root, RFLAGS_TF | RFLAGS_IF);
	fixture_end(f);
}
END_TEST

/* On VT-x a step ends in the handler, of which the model's guest has none; on SVM with the IRET of the handler. */
static void step_ends_after(struct fixture *f, int way, uint32_t vector, uint64_t rip)
{
	static const struct model_op iret = {.kind = MODEL_OP_IRET, .length = 2, .a = TO, .b = RFLAGS_FIXED};

	took(f, vector);
	ck_assert_uint_eq(model_saved_rflags(f->m) & RFLAGS_TF, 0);
	if (way < SVM_BY_FLAG) {
		steps(f, rip);
		return;
	}
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NOTHING);
	does(f, "\x48\xcf", &iret);
	steps(f, TO);
}

START_TEST(exceptions_do_not_show_the_flag)
{
	static const struct model_op ud2 = {.kind = MODEL_OP_UD2, .length = 2};
	static const struct model_op pf = {.kind = MODEL_OP_EXCEPTION, .length = 2, .a = VECTOR_PF, .b = 2, .c = 0x7000};
	struct fixture *f = begin(_i);

	debugs(f, X86VCPU_DEBUG_STEP);
	does(f, "\x0f\x0b", &ud2);
	step_ends_after(f, _i, VECTOR_UD, AT);
	fixture_end(f);
	f = begin(_i);
	debugs(f, X86VCPU_DEBUG_STEP);
	does(f, "\x8b\x00", &pf);
	step_ends_after(f, _i, VECTOR_PF, AT);
	ck_assert_uint_eq(model_outcome(f->m)->events[0].error_code, _i < SVM_BY_FLAG ? 2 : 0);
	ck_assert_uint_eq(state(f).cr2, 0x7000);
	fixture_end(f);
}
END_TEST

START_TEST(int_n_does_not_show_the_flag)
{
	static const struct model_op int80 = {.kind = MODEL_OP_INT, .length = 2, .a = 0x80};
	static const struct model_op int3 = {.kind = MODEL_OP_INT, .length = 1, .a = 3};
	struct fixture *f = begin(_i);

	debugs(f, X86VCPU_DEBUG_STEP);
	if (_i == BY_TRAP_FLAG) {
		does(f, "\xcd\x80", &int80);
		step_ends_after(f, _i, 0x80, AT + 2);
		fixture_end(f);
		return;
	}
	/* The library delivers it: the guest need not execute it. */
	memcpy(model_guest_memory(f->m) + AT, "\xcd\x80", 2);
	runs_on(f);
	step_ends_after(f, _i, 0x80, AT + 2);
	fixture_end(f);
	f = begin(_i);
	debugs(f, X86VCPU_DEBUG_STEP);
	does(f, "\xcc", &int3);
	step_ends_after(f, _i, VECTOR_BP, AT + 1);
	fixture_end(f);
}
END_TEST

/* They stay pending, and come when the VMM steps no more. */
START_TEST(interrupts_wait)
{
	struct fixture *f = begin(_i);

	set_rflags(f, RFLAGS_FIXED | RFLAGS_IF);
	debugs(f, X86VCPU_DEBUG_STEP);
	ck_assert_int_eq(x86vcpu_inject_interrupt(f->vcpu, 0x51), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_inject_nmi(f->vcpu), X86VCPU_OK);
	does(f, "\x0f\x31", &plain);
	steps(f, AT + 2);
	ck_assert_uint_eq(model_outcome(f->m)->event_count, 0);
	debugs(f, 0);
	runs_on(f);
	ck_assert_uint_eq(model_outcome(f->m)->events[0].vector, VECTOR_NMI);
	fixture_end(f);
}
END_TEST

/* SDM 6.8.3: the step of MOV SS comes after the next instruction, here PUSHF. */
START_TEST(mov_ss_and_pushf)
{
	static const struct model_op pushf = {.kind = MODEL_OP_PUSHF, .length = 1};
	struct fixture *f = begin_with_memory(_i);

	debugs(f, X86VCPU_DEBUG_STEP);
	/* As the model has no MOV SS, its guest has executed one at AT already. */
	memcpy(model_guest_memory(f->m) + AT, "\x8e\xd0\x9c", 3);
	model_guest_sets(f->m, MODEL_RIP, AT + 2);
	model_guest_does(f->m, &pushf);
	ck_assert_int_eq(x86vcpu_run(f->vcpu, &f->exit), X86VCPU_OK);
	steps(f, AT + 3);
	ck_assert_uint_eq(pushed(f), RFLAGS_FIXED);
	fixture_end(f);
}
END_TEST

/* In a shadow that is there: VM entry wants BS pending with TF. */
START_TEST(step_in_a_shadow)
{
	struct fixture *f = begin(_i);
	struct x86vcpu_events events = {.size = sizeof(events)};

	ck_assert_int_eq(x86vcpu_get_events(f->vcpu, &events), X86VCPU_OK);
	events.blocking = X86VCPU_BLOCKING_MOV_SS;
	ck_assert_int_eq(x86vcpu_set_events(f->vcpu, &events), X86VCPU_OK);
	debugs(f, X86VCPU_DEBUG_STEP);
	does(f, "\x0f\x31", &plain);
	steps(f, AT + 2);
	debugs(f, 0);
	runs_on(f);
	ck_assert_uint_eq(model_outcome(f->m)->event_count, 0);
	fixture_end(f);
}
END_TEST

/* ---- INT3, #DB ------------------------------------------------------------------------------------------------ */

START_TEST(int3_exits)
{
	static const struct model_op int3 = {.kind = MODEL_OP_INT, .length = 1, .a = 3};
	struct fixture *f = begin(_i);

	debugs(f, X86VCPU_DEBUG_INT3);
	does(f, "\xcc", &int3);
	tells(f, X86VCPU_DEBUG_HIT_INT3, 0, AT);
	ck_assert_uint_eq(f->exit.u.debug.length, 1);
	/* Again, unless the VMM gives it to the guest. */
	does(f, "\xcc", &int3);
	tells(f, X86VCPU_DEBUG_HIT_INT3, 0, AT);
	ck_assert_int_eq(x86vcpu_debug_reflect(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_debug_reflect(f->vcpu), X86VCPU_ERR_BAD_STATE);
	runs_on(f);
	took(f, VECTOR_BP);
	ck_assert_uint_eq(state(f).rip, AT + 1);
	debugs(f, 0);
	does(f, "\xcc", &int3);
	took(f, VECTOR_BP);
	fixture_end(f);
}
END_TEST

START_TEST(debug_exceptions_exit)
{
	struct fixture *f = begin(_i);

	set_rflags(f, RFLAGS_FIXED | RFLAGS_TF);
	debugs(f, X86VCPU_DEBUG_DB);
	does(f, "\x0f\x31", &plain);
	tells(f, X86VCPU_DEBUG_HIT_DB, DR6_BS, AT + 2);
	ck_assert_uint_eq(state(f).dr6, DR6_RESET | DR6_BS);
	ck_assert_int_eq(x86vcpu_debug_reflect(f->vcpu), X86VCPU_OK);
	runs_on(f);
	took(f, VECTOR_DB);
	/* And without that flag the guest takes it. */
	debugs(f, 0);
	does(f, "\x0f\x31", &plain);
	took(f, VECTOR_DB);
	fixture_end(f);
}
END_TEST

/* ---- Breakpoints ------------------------------------------------------------------------------------------------- */

static const struct x86vcpu_debug_config breakpoints = {
	.size = sizeof(breakpoints),
	.dr7 = 0x00d00405, /* DR0 an instruction's, DR1 off, 4 bytes written */
	.address = {AT, 0x4000, 0, 0},
};

START_TEST(breakpoints_exit)
{
	static const struct model_op instruction = {.kind = MODEL_OP_HIT, .length = 2, .a = 0};
	static const struct model_op datum = {.kind = MODEL_OP_HIT, .length = 2, .a = 1};
	struct x86vcpu_debug_config config = breakpoints;
	struct fixture *f = begin(_i);

	model_host_remember(f->m);
	ck_assert_int_eq(x86vcpu_set_debug(f->vcpu, &config), X86VCPU_OK);
	does(f, "\x0f\x31", &instruction);
	tells(f, X86VCPU_DEBUG_HIT_BREAKPOINT, DR6_B0, AT);
	/* It does not hit again, and then it does. */
	does(f, "\x0f\x31", &instruction);
	ck_assert_uint_eq(f->exit.kind, X86VCPU_EXIT_NOTHING);
	does(f, "\x0f\x31", &instruction);
	tells(f, X86VCPU_DEBUG_HIT_BREAKPOINT, DR6_B0, AT + 2);
	config.dr7 |= 4;
	ck_assert_int_eq(x86vcpu_set_debug(f->vcpu, &config), X86VCPU_OK);
	does(f, "\x0f\x31", &datum);
	tells(f, X86VCPU_DEBUG_HIT_BREAKPOINT, DR6_B1, AT + 4);
	ck_assert_uint_eq(state(f).dr6, DR6_RESET);
	ck_assert_uint_eq(state(f).dr7, DR7_RESET);
	ck_assert_uint_eq(state(f).dr0, 0);
	ck_assert_str_eq(model_host_changes(f->m), "");
	fixture_end(f);
}
END_TEST

/* The guest has registers of its own, which read as it wrote them, but do not hit. */
START_TEST(guest_keeps_its_debug_registers)
{
	static const struct model_op to_dr0 = {.kind = MODEL_OP_MOV_DR, .length = 3, .a = 0, .b = MODEL_RBX};
	static const struct model_op to_dr7 = {.kind = MODEL_OP_MOV_DR, .length = 3, .a = 7, .b = MODEL_RBX};
	static const struct model_op from_dr0 = {.kind = MODEL_OP_MOV_DR, .length = 3, .a = 0, .b = MODEL_RDX, .c = 1};
	static const struct model_op from_dr7 = {.kind = MODEL_OP_MOV_DR, .length = 3, .a = 7, .b = MODEL_RDX, .c = 1};
	struct fixture *f = begin(_i);

	ck_assert_int_eq(x86vcpu_set_debug(f->vcpu, &breakpoints), X86VCPU_OK);
	model_guest_sets(f->m, MODEL_RBX, 0x7777);
	does(f, "\x0f\x23\xc3", &to_dr0);
	does(f, "\x0f\x21\xc2", &from_dr0);
	ck_assert_uint_eq(state(f).regs.rdx, 0x7777);
	model_guest_sets(f->m, MODEL_RBX, 0x402);
	does(f, "\x0f\x23\xfb", &to_dr7);
	does(f, "\x0f\x21\xfa", &from_dr7);
	ck_assert_uint_eq(state(f).regs.rdx, 0x402);
	ck_assert_uint_eq(state(f).dr0, 0x7777);
	ck_assert_uint_eq(state(f).dr7, 0x402);
	ck_assert_uint_eq(model_picture(f->m, 0)->register_count > 0, 1);
	/* When the VMM has none on, the guest's are the CPU's. */
	ck_assert_int_eq(x86vcpu_set_debug(f->vcpu, NULL), X86VCPU_OK);
	runs_on(f);
	ck_assert_uint_eq(model_outcome(f->m)->fields[MODEL_DR0], 0x7777);
	ck_assert_uint_eq(model_outcome(f->m)->fields[MODEL_DR7], 0x402);
	fixture_end(f);
}
END_TEST

/* ---- Arguments ----------------------------------------------------------------------------------------------------- */

static const uint64_t bad_dr7[] = {
	0x2000,             /* GD */
	0x20001, 0x200004,  /* an I/O port */
	0x40001, 0x80000002, /* an instruction of more than one byte; bits above 31 follow */
	UINT64_C(0x100000000), 0x1000, 0x800,
};

START_TEST(arguments)
{
	struct x86vcpu_debug_config config = {.size = sizeof(config)};
	struct fixture *f = begin(_i);

	ck_assert_int_eq(x86vcpu_set_debug(NULL, &config), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_debug_reflect(NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_debug_reflect(f->vcpu), X86VCPU_ERR_BAD_STATE);
	for (unsigned i = 0; i < sizeof(bad_dr7) / sizeof(bad_dr7[0]); i++) {
		config.dr7 = bad_dr7[i];
		if (bad_dr7[i] != 0x80000002)
			ck_assert_int_eq(x86vcpu_set_debug(f->vcpu, &config), X86VCPU_ERR_INVALID_INPUT);
	}
	config.dr7 = 0;
	config.flags = 8;
	ck_assert_int_eq(x86vcpu_set_debug(f->vcpu, &config), X86VCPU_ERR_INVALID_INPUT);
	config.flags = 0;
	config.size--;
	ck_assert_int_eq(x86vcpu_set_debug(f->vcpu, &config), X86VCPU_ERR_ABI_MISMATCH);
	config.size++;
	ck_assert_int_eq(x86vcpu_unbind(f->vcpu), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_set_debug(f->vcpu, &config), X86VCPU_ERR_BAD_STATE);
	ck_assert_int_eq(x86vcpu_debug_reflect(f->vcpu), X86VCPU_ERR_BAD_STATE);
	ck_assert_int_eq(x86vcpu_bind(f->vcpu), X86VCPU_OK);
	fixture_end(f);
}
END_TEST

Suite *debug_suite(void)
{
	Suite *suite = suite_create("debug");
	TCase *tc = tcase_create("debug");

	tcase_add_loop_test(tc, instructions_end_with_an_exit, 0, WAYS);
	tcase_add_loop_test(tc, exits_of_the_vmm_are_steps_too, 0, WAYS);
	tcase_add_loop_test(tc, pushf_does_not_show_the_flag, 0, WAYS);
	tcase_add_loop_test(tc, popf_sets_the_guests_flag, 0, WAYS);
	tcase_add_loop_test(tc, iret_returns_with_the_guests_flag, 0, WAYS);
	tcase_add_loop_test(tc, syscall_is_stepped, 0, WAYS);
	tcase_add_loop_test(tc, exceptions_do_not_show_the_flag, 0, WAYS);
	tcase_add_loop_test(tc, int_n_does_not_show_the_flag, 0, WAYS);
	tcase_add_loop_test(tc, interrupts_wait, 0, WAYS);
	tcase_add_loop_test(tc, mov_ss_and_pushf, 0, WAYS);
	tcase_add_loop_test(tc, step_in_a_shadow, 0, WAYS);
	tcase_add_loop_test(tc, int3_exits, 0, WAYS);
	tcase_add_loop_test(tc, debug_exceptions_exit, 0, WAYS);
	/* A CPU without decode assists is taken for Bochs, which has no breakpoints (c/src/cpu/quirks.c). */
	tcase_add_loop_test(tc, breakpoints_exit, 0, SVM_BARE);
	tcase_add_loop_test(tc, guest_keeps_its_debug_registers, 0, SVM_BARE);
	tcase_add_loop_test(tc, arguments, 0, WAYS);
	suite_add_tcase(suite, tc);
	return suite;
}
