/* SPDX-License-Identifier: Apache-2.0 */
/* See trap.h. SDM Vol. 2 for encodings. */
#define _GNU_SOURCE
#include "trap.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "machine.h"

#define STACK_SIZE (1u << 20)
#define SITES 512u

static struct {
	uintptr_t address;
	uint8_t byte; /* that INT3 replaced */
} sites[SITES];
static struct sigaction before[SIGSEGV + 1];
static uint64_t traps;

/* Where struct ucontext has the registers, in the order of their encoding. */
static const int gregs[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

/* ---- Instructions that were replaced ---------------------------------------------------------------------- */

static unsigned slot_of(uintptr_t address)
{
	unsigned slot = (unsigned)(address * 2654435761u >> 16) % SITES;

	while (sites[slot].address && sites[slot].address != address)
		slot = (slot + 1) % SITES;
	return slot;
}

int model_trap_replace(uintptr_t address)
{
	const unsigned slot = slot_of(address);
	const uintptr_t page = address & ~UINT64_C(0xfff);

	if (sites[slot].address)
		return 0;
	if (mprotect((void *)page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC))
		return -1;
	sites[slot].byte = *(uint8_t *)address;
	sites[slot].address = address;
	*(uint8_t *)address = 0xcc;
	return 0;
}

uint64_t model_trap_count(void)
{
	return traps;
}

/* ---- Decoding ----------------------------------------------------------------------------------------------- */

struct insn {
	uint8_t bytes[15];
	unsigned at;        /* next byte */
	bool operand16, rep, repne;
	uint8_t rex, modrm;
	uint64_t address;   /* of a memory operand */
	greg_t *regs;
};

static uint64_t *reg(const struct insn *in, unsigned number)
{
	return (uint64_t *)&in->regs[gregs[number]];
}

static int32_t displacement(struct insn *in, unsigned bytes)
{
	int32_t value = 0;

	if (bytes == 1)
		value = (int8_t)in->bytes[in->at];
	else
		memcpy(&value, &in->bytes[in->at], bytes);
	in->at += bytes;
	return value;
}

static uint64_t sib(struct insn *in, unsigned mod)
{
	const uint8_t byte = in->bytes[in->at++];
	const unsigned index = (byte >> 3 & 7) | (in->rex & 2) << 2, base = (byte & 7) | (in->rex & 1) << 3;
	uint64_t address = index == 4 ? 0 : *reg(in, index) << (byte >> 6);

	if ((byte & 7) == 5 && mod == 0)
		return address + (uint64_t)(int64_t)displacement(in, 4);
	return address + *reg(in, base);
}

/* `immediate`: bytes behind the operand, which RIP-relative addresses count. None of ours has any. */
static void operand(struct insn *in)
{
	unsigned mod, rm;

	in->modrm = in->bytes[in->at++];
	mod = in->modrm >> 6;
	rm = in->modrm & 7;
	if (mod == 3)
		return;
	if (rm == 4)
		in->address = sib(in, mod);
	else if (rm == 5 && mod == 0)
		in->address = (uint64_t)(int64_t)displacement(in, 4) + (uint64_t)in->regs[REG_RIP] + in->at;
	else
		in->address = *reg(in, rm | (in->rex & 1) << 3);
	if (mod == 1)
		in->address += (uint64_t)(int64_t)displacement(in, 1);
	if (mod == 2)
		in->address += (uint64_t)(int64_t)displacement(in, 4);
}

static unsigned reg_field(const struct insn *in)
{
	return (in->modrm >> 3 & 7) | (in->rex & 4) << 1;
}

static unsigned rm_field(const struct insn *in)
{
	return (in->modrm & 7) | (in->rex & 1) << 3;
}

static uint64_t *rm(struct insn *in)
{
	return in->modrm >> 6 == 3 ? reg(in, rm_field(in)) : (uint64_t *)in->address;
}

static void prefixes(struct insn *in)
{
	for (;; in->at++) {
		const uint8_t byte = in->bytes[in->at];

		if (byte == 0x66)
			in->operand16 = true;
		else if (byte == 0xf3)
			in->rep = true;
		else if (byte == 0xf2)
			in->repne = true;
		else
			break;
	}
	if ((in->bytes[in->at] & 0xf0) == 0x40)
		in->rex = in->bytes[in->at++];
}

/* ---- VT-x and SVM ---------------------------------------------------------------------------------------------- */

/* SDM 31.2. */
static void vmx_flags(struct insn *in, uint32_t outcome)
{
	in->regs[REG_EFL] &= ~(greg_t)0x8d5;
	if (outcome)
		in->regs[REG_EFL] |= outcome == 1 ? 1 : 0x40;
}

static void load_gpr(const struct insn *in, uint64_t gpr[16])
{
	for (unsigned i = 0; i < 16; i++)
		gpr[i] = *reg(in, i);
}

static void store_gpr(const struct insn *in, const uint64_t gpr[16])
{
	for (unsigned i = 0; i < 16; i++)
		if (i != 4)
			*reg(in, i) = gpr[i];
}

/* The crate keeps RFLAGS above its stack, as PUSHFQ said, which in user mode says that interrupts are on. */
static void correct_flags(const struct insn *in)
{
	if (model->relaxed)
		((uint64_t *)*reg(in, 4))[1] = RFLAGS_FIXED;
}

static bool vm_entry(struct insn *in, bool resume)
{
	uint64_t gpr[16];
	uint32_t outcome;

	correct_flags(in);
	load_gpr(in, gpr);
	outcome = model_vmx_entry(gpr, resume);
	if (outcome) {
		vmx_flags(in, outcome);
		return true;
	}
	store_gpr(in, gpr);
	in->regs[REG_RIP] = (greg_t)field(VMCS_HOST_RIP);
	*reg(in, 4) = field(VMCS_HOST_RSP);
	if (*(uint8_t *)in->regs[REG_RIP] == 0xfa) {
		model_set_if(0);
		in->regs[REG_RIP]++;
	}
	in->at = 0;
	return true;
}

static bool vmrun(struct insn *in)
{
	const uint64_t hpa = *reg(in, 0);
	uint64_t gpr[16];

	correct_flags(in);
	load_gpr(in, gpr);
	model_vmrun(hpa, gpr);
	store_gpr(in, gpr);
	*reg(in, 0) = hpa;
	return true;
}

static uint64_t edx_eax(const struct insn *in)
{
	return (uint64_t)(uint32_t)*reg(in, 2) << 32 | (uint32_t)*reg(in, 0);
}

static void set_edx_eax(struct insn *in, uint64_t value)
{
	*reg(in, 0) = (uint32_t)value;
	*reg(in, 2) = value >> 32;
}

static void table(struct insn *in, unsigned number, bool load)
{
	uint16_t limit;
	uint64_t base;

	if (load) {
		memcpy(&limit, (void *)in->address, 2);
		memcpy(&base, (void *)(in->address + 2), 8);
		model_load_table(number, limit, base);
		return;
	}
	model_store_table(number, &limit, &base);
	memcpy((void *)in->address, &limit, 2);
	memcpy((void *)(in->address + 2), &base, 8);
}

/* 0F 01: by the whole ModRM byte, or tables in memory. */
static bool group_01(struct insn *in)
{
	const uint8_t byte = in->bytes[in->at];

	switch (byte) {
	case 0xc2:
	case 0xc3:
		in->at++;
		return vm_entry(in, byte == 0xc3);
	case 0xc4:
		vmx_flags(in, model_vmxoff());
		break;
	case 0xd0:
		set_edx_eax(in, model_xgetbv((uint32_t)*reg(in, 1)));
		break;
	case 0xd1:
		model_xsetbv((uint32_t)*reg(in, 1), edx_eax(in));
		break;
	case 0xd8:
		in->at++;
		return vmrun(in);
	case 0xda:
		model_vmload(*reg(in, 0));
		break;
	case 0xdb:
		model_vmsave(*reg(in, 0));
		break;
	case 0xdc:
	case 0xdd:
		model_set_gif(byte == 0xdc);
		break;
	default:
		operand(in);
		if (in->modrm >> 6 == 3 || (in->modrm >> 3 & 7) > 3)
			return false;
		table(in, in->modrm >> 3 & 1, in->modrm >> 3 & 2);
		return true;
	}
	in->at++;
	return true;
}

/* 0F 00: SLDT, STR, LLDT, LTR. */
static bool group_00(struct insn *in)
{
	unsigned op;

	operand(in);
	op = in->modrm >> 3 & 7;
	if (op == 2)
		model_load_selector(6, (uint16_t)*rm(in));
	else if (op == 3)
		model_load_tr((uint16_t)*rm(in));
	else if (op > 3)
		return false;
	else if (in->modrm >> 6 == 3)
		*rm(in) = model_read_selector(op == 0 ? 6 : 7);
	else
		*(uint16_t *)in->address = model_read_selector(op == 0 ? 6 : 7);
	return true;
}

/* 0F C7 /6: VMPTRLD, with 66 VMCLEAR, with F3 VMXON. */
static bool group_c7(struct insn *in)
{
	uint64_t hpa;

	operand(in);
	if ((in->modrm >> 3 & 7) != 6 || in->modrm >> 6 == 3)
		return false;
	hpa = *rm(in);
	vmx_flags(in, in->rep ? model_vmxon(hpa) : in->operand16 ? model_vmclear(hpa) : model_vmptrld(hpa));
	return true;
}

/* 0F AE: XSAVE, XRSTOR, FXSAVE, FXRSTOR. They are replaced: the process keeps its own registers. */
static bool group_ae(struct insn *in)
{
	operand(in);
	switch (in->modrm >> 3 & 7) {
	case 4:
		model_xsave((void *)in->address);
		return true;
	case 5:
		model_xrstor((void *)in->address);
		return true;
	default:
		return (in->modrm >> 3 & 7) < 2;
	}
}

static bool invalidate(struct insn *in)
{
	const uint8_t opcode = in->bytes[in->at++];
	uint64_t type;

	operand(in);
	type = *reg(in, reg_field(in));
	if (opcode > 0x81 || in->modrm >> 6 == 3)
		return false;
	vmx_flags(in, opcode == 0x80 ? model_invept(type, *rm(in)) : model_invvpid(type, *rm(in)));
	return true;
}

static bool vmread(struct insn *in)
{
	uint64_t value = 0;
	uint32_t outcome;

	operand(in);
	outcome = model_vmread(*reg(in, reg_field(in)), &value);
	if (!outcome)
		*rm(in) = value;
	vmx_flags(in, outcome);
	return true;
}

static bool vmwrite(struct insn *in)
{
	operand(in);
	vmx_flags(in, model_vmwrite(*reg(in, reg_field(in)), *rm(in)));
	return true;
}

/* ---- Others ----------------------------------------------------------------------------------------------------- */

static bool mov_cr_dr(struct insn *in, uint8_t opcode)
{
	unsigned number;

	operand(in);
	number = reg_field(in);
	switch (opcode) {
	case 0x20:
		*reg(in, rm_field(in)) = model_read_cr(number);
		break;
	case 0x21:
		*reg(in, rm_field(in)) = model_read_dr(number);
		break;
	case 0x22:
		model_write_cr(number, *reg(in, rm_field(in)));
		break;
	default:
		model_write_dr(number, *reg(in, rm_field(in)));
	}
	return true;
}

static void cpuid(struct insn *in)
{
	uint32_t out[4];

	model_cpuid((uint32_t)*reg(in, 0), (uint32_t)*reg(in, 1), out);
	*reg(in, 0) = out[0];
	*reg(in, 3) = out[1];
	*reg(in, 1) = out[2];
	*reg(in, 2) = out[3];
}

static bool two_bytes(struct insn *in)
{
	const uint8_t opcode = in->bytes[in->at++];

	switch (opcode) {
	case 0x00:
		return group_00(in);
	case 0x01:
		return group_01(in);
	case 0x06:
		model_write_cr(0, model_read_cr(0) & ~CR0_TS);
		return true;
	case 0x20 ... 0x23:
		return mov_cr_dr(in, opcode);
	case 0x30:
		model_wrmsr((uint32_t)*reg(in, 1), edx_eax(in));
		return true;
	case 0x31:
		set_edx_eax(in, model_rdtsc());
		return true;
	case 0x32:
		set_edx_eax(in, model_rdmsr((uint32_t)*reg(in, 1)));
		return true;
	case 0x38:
		return in->operand16 && invalidate(in);
	case 0x78:
		return vmread(in);
	case 0x79:
		return vmwrite(in);
	case 0xa2:
		cpuid(in);
		return true;
	case 0xae:
		return group_ae(in);
	case 0xc7:
		return group_c7(in);
	default:
		return false;
	}
}

static void push_flags(struct insn *in)
{
	*reg(in, 4) -= 8;
	*(uint64_t *)*reg(in, 4) = model_read_flags();
}

/* MOV between a segment register and a general one. */
static bool mov_selector(struct insn *in, bool load)
{
	operand(in);
	if (load)
		model_load_selector(in->modrm >> 3 & 7, (uint16_t)*rm(in));
	else if (in->modrm >> 6 == 3)
		*rm(in) = model_read_selector(in->modrm >> 3 & 7);
	else
		*(uint16_t *)in->address = model_read_selector(in->modrm >> 3 & 7);
	return true;
}

static bool one_byte(struct insn *in)
{
	const uint8_t opcode = in->bytes[in->at++];

	switch (opcode) {
	case 0x0f:
		return two_bytes(in);
	case 0x8c:
	case 0x8e:
		return mov_selector(in, opcode == 0x8e);
	case 0x9c:
		push_flags(in);
		return true;
	case 0xcd:
		model_raise(in->bytes[in->at++]);
		return true;
	case 0xfa:
	case 0xfb:
		model_set_if(opcode == 0xfb);
		return true;
	default:
		return false;
	}
}

static bool execute(greg_t *regs)
{
	struct insn in = {.regs = regs};
	const unsigned slot = slot_of((uintptr_t)regs[REG_RIP]);

	memcpy(in.bytes, (void *)regs[REG_RIP], sizeof(in.bytes));
	if (sites[slot].address == (uintptr_t)regs[REG_RIP])
		in.bytes[0] = sites[slot].byte;
	prefixes(&in);
	if (!one_byte(&in))
		return false;
	regs[REG_RIP] += in.at;
	return true;
}

int model_trap_execute(void *context)
{
	return execute(((ucontext_t *)context)->uc_mcontext.gregs);
}

/* ---- Signals ------------------------------------------------------------------------------------------------------ */

/* Not ours: as if we had never been there, the instruction faults again. */
static void pass_on(int signal)
{
	sigaction(signal, &before[signal], NULL);
}

static void handle(int signal, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	const uintptr_t at = (uintptr_t)regs[REG_RIP];

	/* A page fault has an address in si_addr and a code of its own; a #GP has neither. */
	if (!model || (signal == SIGSEGV && (info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR))) {
		pass_on(signal);
		return;
	}
	if (signal == SIGTRAP)
		regs[REG_RIP]--;
	if (!execute(regs)) {
		if (signal == SIGTRAP)
			regs[REG_RIP]++;
		pass_on(signal);
		return;
	}
	traps++;
	/* #UD costs three times as much as INT3. */
	if (signal == SIGILL)
		model_trap_replace(at);
}

int model_trap_install(void)
{
	static const int signals[] = {SIGILL, SIGSEGV, SIGTRAP};
	const stack_t stack = {.ss_sp = malloc(STACK_SIZE), .ss_size = STACK_SIZE};
	struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	if (!stack.ss_sp || sigaltstack(&stack, NULL))
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], &action, &before[signals[i]]))
			return -1;
	return 0;
}
