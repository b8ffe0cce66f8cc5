/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that belong to neither extension: control and debug registers, XCR0, tables, segments, flags. */
#include "machine.h"

#include <inttypes.h>
#include <string.h>

uint64_t model_rdtsc(void)
{
	return cpu->tsc += 50;
}

uint64_t model_tsc(void)
{
	return cpu->tsc;
}

void model_verw(void)
{
	trace(MODEL_TRACE_VERW, 0, 0);
}

static uint64_t *control_register(uint32_t number)
{
	switch (number) {
	case 0:
		return &cpu->cr0;
	case 2:
		return &cpu->cr2;
	case 3:
		return &cpu->cr3;
	default:
		return &cpu->cr4;
	}
}

uint64_t model_read_cr(uint32_t number)
{
	const uint64_t value = *control_register(number);

	trace(MODEL_TRACE_CR_READ, number, value);
	return value;
}

#define OTHER(name) (MODEL_REGISTER_OTHERS | MODEL_REGISTER_##name)
static const uint64_t cr_names[] = {OTHER(CR0), 0, OTHER(CR2), OTHER(CR3), OTHER(CR4)};

/* SDM 2.5, 24.8. */
static const char *cr_write_fault(uint32_t number, uint64_t value)
{
	if (number == 0 && (value & ~CR0_DEFINED || !(value & CR0_PE) || !(value & CR0_PG) ||
			    (value & CR0_NW && !(value & CR0_CD))))
		return "reserved bits, no paging or NW without CD";
	if (number == 0 && cpu->vmxon && ~value & msr_value(X86VCPU_MSR_IA32_VMX_CR0_FIXED0))
		return "a bit that VMX operation needs is 0";
	if (number == 4 && value & ~(0x7f77ff | CR4_UMIP | CR4_VMXE | (has(MODEL_LA57) ? CR4_LA57 : 0)))
		return "reserved bits";
	if (number == 4 && !(value & CR4_PAE))
		return "PAE is cleared in 64-bit mode";
	if (number == 4 && (value ^ cpu->cr4) & CR4_LA57)
		return "LA57 changes in 64-bit mode";
	if (number == 4 && cpu->vmxon && !(value & CR4_VMXE))
		return "VMXE is cleared in VMX operation";
	if (number == 4 && value & CR4_OSXSAVE && !has(MODEL_XSAVE))
		return "OSXSAVE without XSAVE";
	return NULL;
}

void model_write_cr(uint32_t number, uint64_t value)
{
	const char *fault = cr_write_fault(number, value);

	trace(MODEL_TRACE_CR_WRITE, number, value);
	if (fault) {
		complain("#GP: CR%" PRIu32 " with %" PRIx64 ": %s", number, value, fault);
		return;
	}
	note_write(cr_names[number], *control_register(number), value);
	*control_register(number) = value;
}

uint64_t model_read_dr(uint32_t number)
{
	return number < 4 ? cpu->dr[number] : number == 6 ? cpu->dr6 : cpu->dr7;
}

void dr_set(uint32_t number, uint64_t value)
{
	if (number >= 6 && value >> 32)
		complain("#GP: DR%" PRIu32 " with %" PRIx64, number, value);
	else if (number < 4)
		cpu->dr[number] = value;
	else if (number == 6)
		cpu->dr6 = (value & (DR6_WRITABLE | DR6_BLD | DR6_RTM)) | (DR6_RESET & ~(DR6_BLD | DR6_RTM));
	else
		cpu->dr7 = (value & DR7_WRITABLE) | DR7_RESET;
}

void model_write_dr(uint32_t number, uint64_t value)
{
	const uint64_t before = model_read_dr(number);
	const uint64_t name = number < 4 ? OTHER(DR0) + number : number == 6 ? OTHER(DR6) : OTHER(DR7);

	/* The host's breakpoints are on: another address makes one of the guest's a breakpoint in the host. */
	if (number < 4 && cpu->dr7 & DR7_ENABLES && value != before)
		complain("DR%" PRIu32 " with %" PRIx64 " under DR7 %" PRIx64, number, value, cpu->dr7);
	dr_set(number, value);
	note_write(name, before, model_read_dr(number));
}

/* ---- Extended state (SDM Vol. 1, 13) --------------------------------------------------------------------------- */

static bool xsave_is_on(const char *instruction)
{
	if (!(cpu->cr4 & CR4_OSXSAVE))
		complain("#UD: %s with CR4.OSXSAVE clear", instruction);
	return cpu->cr4 & CR4_OSXSAVE;
}

uint64_t model_xgetbv(uint32_t index)
{
	trace(MODEL_TRACE_XGETBV, index, cpu->xcr0);
	if (!xsave_is_on("XGETBV"))
		return 0;
	if (index)
		complain("#GP: XGETBV %" PRIx32, index);
	return cpu->xcr0;
}

static bool xcr0_is_valid(uint64_t value)
{
	const uint64_t all = (has(MODEL_AVX512) ? 0xe7 : 7) | (has(MODEL_AMX) ? XCR0_TILECFG | XCR0_TILEDATA : 0);
	const uint64_t avx512 = value & XCR0_AVX512, tile = value & (XCR0_TILECFG | XCR0_TILEDATA);

	return !(value & ~all) && value & XCR0_X87 && (!(value & XCR0_AVX) || value & XCR0_SSE) &&
	       (!avx512 || (avx512 == XCR0_AVX512 && value & XCR0_AVX)) &&
	       (!tile || tile == (XCR0_TILECFG | XCR0_TILEDATA));
}

void model_xsetbv(uint32_t index, uint64_t value)
{
	trace(MODEL_TRACE_XSETBV, index, value);
	if (!xsave_is_on("XSETBV"))
		return;
	if (index || !xcr0_is_valid(value)) {
		complain("#GP: XSETBV %" PRIx32 " with %" PRIx64, index, value);
	} else {
		note_write(OTHER(XCR0), cpu->xcr0, value);
		cpu->xcr0 = value;
	}
}

void model_xsave(void *area)
{
	if (xsave_is_on("XSAVE") && (uintptr_t)area & 63)
		complain("#GP: XSAVE to an address that is not aligned");
}

void model_xrstor(const void *area)
{
	if (xsave_is_on("XRSTOR") && (uintptr_t)area & 63)
		complain("#GP: XRSTOR from an address that is not aligned");
}

/* ---- Flags, tables, segments -------------------------------------------------------------------------------------- */

uint64_t model_read_flags(void)
{
	return cpu->flags;
}

void model_set_if(uint32_t interrupts)
{
	cpu->flags = interrupts ? cpu->flags | RFLAGS_IF : cpu->flags & ~RFLAGS_IF;
	trace(MODEL_TRACE_IF, interrupts, 0);
}

void model_store_table(uint32_t table, uint16_t *limit, uint64_t *base)
{
	*limit = cpu->limits[table];
	*base = cpu->bases[table];
}

void model_load_table(uint32_t table, uint16_t limit, uint64_t base)
{
	cpu->limits[table] = limit;
	cpu->bases[table] = base;
}

uint16_t model_read_selector(uint32_t segment)
{
	return cpu->selectors[segment];
}

void model_load_selector(uint32_t segment, uint16_t selector)
{
	cpu->selectors[segment] = selector;
	/* The descriptor's base, which is 0 here (SDM 3.4.4). */
	if (segment == 4)
		msr_set(cpu, X86VCPU_MSR_IA32_FS_BASE, 0);
	if (segment == 5)
		msr_set(cpu, X86VCPU_MSR_IA32_GS_BASE, 0);
}

/* SDM Vol. 2 LTR: from an available 64-bit TSS, which becomes busy. */
void model_load_tr(uint16_t selector)
{
	uint64_t *entry = (uint64_t *)(uintptr_t)(cpu->bases[MODEL_GDTR] + (selector & ~7u));

	if (!(selector & ~3u) || selector & 4 || selector + 15u > cpu->limits[MODEL_GDTR]) {
		complain("#GP: LTR %x", selector);
		return;
	}
	if ((entry[0] >> 40 & 0x9f) != 0x89) {
		complain("#GP: LTR of a descriptor of type %x", (unsigned)(entry[0] >> 40 & 0x1f));
		return;
	}
	entry[0] |= UINT64_C(2) << 40;
	cpu->selectors[7] = selector;
	cpu->tr_limit = (uint32_t)(entry[0] & 0xffff) | (uint32_t)(entry[0] >> 32 & 0xf0000);
}

void model_host_page_fault(uint64_t address)
{
	cpu->cr2 = address;
}

void model_raise(uint32_t vector)
{
	if (vector == VECTOR_NMI)
		cpu->nmis++;
	else
		cpu->machine_checks++;
}
