/* SPDX-License-Identifier: Apache-2.0 */
/* See step.h. */
#define _GNU_SOURCE
#include "step.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "trap.h"

#define STACK_SIZE (1u << 20)
#define TF 0x100

/* The linker's: the code of the library is a section of its own in this program. */
extern const char __start_x86vcpu_text[], __stop_x86vcpu_text[];
extern const char vmx_enter[], vmx_enter_mitigated[], svm_enter[], svm_enter_mitigated[];

struct step steps[STEP_RECORDS];
unsigned step_count;

static ZydisDecoder decoder;
static uint8_t *original; /* the code before instructions were replaced */
static bool recording;
static uint64_t return_rsp; /* RSP once the world switch has returned */

static const int gregs[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static bool is_library(uintptr_t rip)
{
	return rip >= (uintptr_t)__start_x86vcpu_text && rip < (uintptr_t)__stop_x86vcpu_text;
}

static void decode(uintptr_t rip, ZydisDecodedInstruction *insn, ZydisDecodedOperand *operands)
{
	const uintptr_t offset = rip - (uintptr_t)__start_x86vcpu_text;

	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, original + offset, 15, insn, operands)))
		abort();
}

/* ---- Recording -------------------------------------------------------------------------------------------- */

static void record(const greg_t *regs)
{
	struct step *step = &steps[step_count];

	if (step_count == STEP_RECORDS)
		abort();
	step->rip = (uintptr_t)regs[REG_RIP];
	for (unsigned i = 0; i < 16; i++)
		step->gpr[i] = (uint64_t)regs[gregs[i]];
	decode(step->rip, &step->insn, step->operands);
	if (step->insn.mnemonic == ZYDIS_MNEMONIC_VERW)
		step->selector = *(const uint16_t *)(step->gpr[4] + (uint64_t)step->operands[0].mem.disp.value);
	step_count++;
}

static void record_world_switch(const greg_t *regs)
{
	const uintptr_t rip = (uintptr_t)regs[REG_RIP];

	if (rip == (uintptr_t)vmx_enter || rip == (uintptr_t)vmx_enter_mitigated || rip == (uintptr_t)svm_enter ||
	    rip == (uintptr_t)svm_enter_mitigated) {
		recording = true;
		return_rsp = (uint64_t)regs[REG_RSP] + 8;
	}
	if (recording && (uint64_t)regs[REG_RSP] == return_rsp)
		recording = false;
	if (recording)
		record(regs);
}

/* ---- Instructions that do not fault in user mode ------------------------------------------------------------ */

static bool names_segment(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
	for (unsigned i = 0; i < insn->operand_count_visible; i++)
		if (operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(operands[i].reg.value) == ZYDIS_REGCLASS_SEGMENT)
			return true;
	return false;
}

/* It would answer for this process, or change its registers. */
static bool is_of_the_model(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_RDTSC:
	case ZYDIS_MNEMONIC_XGETBV:
	case ZYDIS_MNEMONIC_SGDT:
	case ZYDIS_MNEMONIC_SIDT:
	case ZYDIS_MNEMONIC_SLDT:
	case ZYDIS_MNEMONIC_STR:
	case ZYDIS_MNEMONIC_PUSHFQ:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XRSTOR64:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FXRSTOR64:
		return true;
	case ZYDIS_MNEMONIC_MOV:
		return names_segment(insn, operands);
	default:
		return false;
	}
}

static void replace_all(void)
{
	const size_t size = (size_t)(__stop_x86vcpu_text - __start_x86vcpu_text);
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;

	original = calloc(1, size + 15);
	memcpy(original, __start_x86vcpu_text, size);
	for (uintptr_t at = (uintptr_t)__start_x86vcpu_text; at < (uintptr_t)__stop_x86vcpu_text; at += insn.length) {
		decode(at, &insn, operands);
		if (is_of_the_model(&insn, operands) && model_trap_replace(at))
			abort();
	}
}

static bool is_replaced(uintptr_t rip)
{
	return is_library(rip) && *(const uint8_t *)rip == 0xcc;
}

/* What comes next: recorded, and executed here while it is the model's to execute. */
static void look(ucontext_t *context)
{
	greg_t *regs = context->uc_mcontext.gregs;

	for (;;) {
		record_world_switch(regs);
		if (!is_replaced((uintptr_t)regs[REG_RIP]))
			return;
		if (!model_trap_execute(context))
			abort();
	}
}

/* ---- Signals -------------------------------------------------------------------------------------------------- */

/* #UD, #GP, and #BP, which leaves RIP after INT3. A single step has executed nothing of the model's. */
static bool execute(int signal, const siginfo_t *info, ucontext_t *context)
{
	greg_t *regs = context->uc_mcontext.gregs;

	if (signal == SIGTRAP && info->si_code == TRAP_TRACE)
		return true;
	if (signal == SIGTRAP)
		regs[REG_RIP]--;
	return is_library((uintptr_t)regs[REG_RIP]) && model_trap_execute(context);
}

static void handle(int signal, siginfo_t *info, void *context)
{
	const struct sigaction action = {.sa_handler = SIG_DFL};
	ucontext_t *ucontext = context;

	if (!execute(signal, info, ucontext))
		sigaction(signal, &action, NULL);
	else if (ucontext->uc_mcontext.gregs[REG_EFL] & TF)
		look(ucontext);
}

void step_install(void)
{
	static const int signals[] = {SIGILL, SIGSEGV, SIGTRAP};
	const stack_t stack = {.ss_sp = malloc(STACK_SIZE), .ss_size = STACK_SIZE};
	struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (!stack.ss_sp || sigaltstack(&stack, NULL))
		abort();
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], &action, NULL))
			abort();
	replace_all();
}

void step_begin(void)
{
	step_count = 0;
	recording = false;
	__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq" : : : "memory", "cc");
}

void step_end(void)
{
	__asm__ volatile("pushfq; andl $~0x100, (%%rsp); popfq" : : : "memory", "cc");
}
