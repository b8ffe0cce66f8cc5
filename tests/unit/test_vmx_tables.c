/* SPDX-License-Identifier: Apache-2.0 */
/* VMCS field encodings, names, and the decoders of what a VMCS says about an exit. */
#include <check.h>
#include <stdbool.h>
#include <string.h>

#include "vmx/vmcs_fields.h"
#include "x86vcpu/exit.h"
#include "x86vcpu/status.h"
#include "x86vcpu/vcpu.h"
#include "x86vcpu/vmx.h"

Suite *vmx_tables_suite(void);

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define NONE X86VCPU_NO_REGISTER

/* ---- VMCS fields, SDM appendix B ------------------------------------------------------------- */

#define FIELD_16(name, encoding) { encoding, #name, 0 },
#define FIELD_64(name, encoding) { encoding, #name, 1 },
#define FIELD_32(name, encoding) { encoding, #name, 2 },
#define FIELD_NATURAL(name, encoding) { encoding, #name, 3 },

static const struct {
	uint32_t encoding;
	const char *name;
	uint32_t width;
} fields[] = {
	VMCS_FIELDS_16(FIELD_16)
	VMCS_FIELDS_64(FIELD_64)
	VMCS_FIELDS_32(FIELD_32)
	VMCS_FIELDS_NATURAL(FIELD_NATURAL)
};

START_TEST(widths_match_their_lists)
{
	for (int i = 0; i < COUNT(fields); i++)
		ck_assert_msg(VMCS_WIDTH(fields[i].encoding) == fields[i].width, "%s", fields[i].name);
}
END_TEST

/* Bits 31:15 and 12 are reserved; bit 0 is the high half of a 64-bit field, which the lists omit. */
START_TEST(encodings_have_no_reserved_bits)
{
	for (int i = 0; i < COUNT(fields); i++)
		ck_assert_msg((fields[i].encoding & ~0x6ffeu) == 0, "%s", fields[i].name);
}
END_TEST

/* A name begins with its area, but for some controls and link pointers. */
START_TEST(types_match_names)
{
	for (int i = 0; i < COUNT(fields); i++) {
		const uint32_t type = VMCS_TYPE(fields[i].encoding);
		const char *name = fields[i].name;

		if (strncmp(name, "HOST_", 5) == 0)
			ck_assert_msg(type == VMCS_TYPE_HOST, "%s", name);
		else if (strcmp(name, "GUEST_PHYSICAL_ADDRESS") == 0 || strcmp(name, "GUEST_LINEAR_ADDRESS") == 0)
			ck_assert_msg(type == VMCS_TYPE_READ_ONLY, "%s", name);
		else if (strncmp(name, "GUEST_", 6) == 0)
			ck_assert_msg(type == VMCS_TYPE_GUEST, "%s", name);
		else
			ck_assert_msg(type != VMCS_TYPE_HOST, "%s", name);
	}
}
END_TEST

START_TEST(no_field_is_twice)
{
	for (int i = 0; i < COUNT(fields); i++) {
		for (int j = 0; j < i; j++) {
			ck_assert_msg(fields[i].encoding != fields[j].encoding, "%s", fields[i].name);
			ck_assert_str_ne(fields[i].name, fields[j].name);
		}
	}
}
END_TEST

/* From the manual's tables: first and last of each group, and what the library lives on. */
static const struct {
	uint32_t constant, encoding;
	const char *name;
} known_fields[] = {
	{ VMCS_VPID, 0x0000, "VPID" },
	{ VMCS_GUEST_ES_SELECTOR, 0x0800, "GUEST_ES_SELECTOR" },
	{ VMCS_GUEST_TR_SELECTOR, 0x080e, "GUEST_TR_SELECTOR" },
	{ VMCS_GUEST_UINV, 0x0814, "GUEST_UINV" },
	{ VMCS_HOST_ES_SELECTOR, 0x0c00, "HOST_ES_SELECTOR" },
	{ VMCS_HOST_TR_SELECTOR, 0x0c0c, "HOST_TR_SELECTOR" },
	{ VMCS_IO_BITMAP_A, 0x2000, "IO_BITMAP_A" },
	{ VMCS_MSR_BITMAP, 0x2004, "MSR_BITMAP" },
	{ VMCS_TSC_OFFSET, 0x2010, "TSC_OFFSET" },
	{ VMCS_EPTP, 0x201a, "EPTP" },
	{ VMCS_XSS_EXITING_BITMAP, 0x202c, "XSS_EXITING_BITMAP" },
	{ VMCS_TSC_MULTIPLIER, 0x2032, "TSC_MULTIPLIER" },
	{ VMCS_EXIT2_CONTROLS, 0x2044, "EXIT2_CONTROLS" },
	{ VMCS_GUEST_PHYSICAL_ADDRESS, 0x2400, "GUEST_PHYSICAL_ADDRESS" },
	{ VMCS_LINK_POINTER, 0x2800, "LINK_POINTER" },
	{ VMCS_GUEST_EFER, 0x2806, "GUEST_EFER" },
	{ VMCS_GUEST_PDPTE3, 0x2810, "GUEST_PDPTE3" },
	{ VMCS_GUEST_PKRS, 0x2818, "GUEST_PKRS" },
	{ VMCS_HOST_PAT, 0x2c00, "HOST_PAT" },
	{ VMCS_HOST_PKRS, 0x2c06, "HOST_PKRS" },
	{ VMCS_PIN_CONTROLS, 0x4000, "PIN_CONTROLS" },
	{ VMCS_CPU_CONTROLS, 0x4002, "CPU_CONTROLS" },
	{ VMCS_EXIT_CONTROLS, 0x400c, "EXIT_CONTROLS" },
	{ VMCS_ENTRY_CONTROLS, 0x4012, "ENTRY_CONTROLS" },
	{ VMCS_ENTRY_INTERRUPTION_INFO, 0x4016, "ENTRY_INTERRUPTION_INFO" },
	{ VMCS_CPU2_CONTROLS, 0x401e, "CPU2_CONTROLS" },
	{ VMCS_INSTRUCTION_ERROR, 0x4400, "INSTRUCTION_ERROR" },
	{ VMCS_EXIT_REASON, 0x4402, "EXIT_REASON" },
	{ VMCS_EXIT_INSTRUCTION_INFO, 0x440e, "EXIT_INSTRUCTION_INFO" },
	{ VMCS_GUEST_ES_LIMIT, 0x4800, "GUEST_ES_LIMIT" },
	{ VMCS_GUEST_ES_ACCESS_RIGHTS, 0x4814, "GUEST_ES_ACCESS_RIGHTS" },
	{ VMCS_GUEST_INTERRUPTIBILITY, 0x4824, "GUEST_INTERRUPTIBILITY" },
	{ VMCS_PREEMPTION_TIMER, 0x482e, "PREEMPTION_TIMER" },
	{ VMCS_HOST_SYSENTER_CS, 0x4c00, "HOST_SYSENTER_CS" },
	{ VMCS_CR0_GUEST_HOST_MASK, 0x6000, "CR0_GUEST_HOST_MASK" },
	{ VMCS_EXIT_QUALIFICATION, 0x6400, "EXIT_QUALIFICATION" },
	{ VMCS_GUEST_LINEAR_ADDRESS, 0x640a, "GUEST_LINEAR_ADDRESS" },
	{ VMCS_GUEST_CR0, 0x6800, "GUEST_CR0" },
	{ VMCS_GUEST_RIP, 0x681e, "GUEST_RIP" },
	{ VMCS_GUEST_RFLAGS, 0x6820, "GUEST_RFLAGS" },
	{ VMCS_GUEST_SYSENTER_EIP, 0x6826, "GUEST_SYSENTER_EIP" },
	{ VMCS_HOST_CR0, 0x6c00, "HOST_CR0" },
	{ VMCS_HOST_RSP, 0x6c14, "HOST_RSP" },
	{ VMCS_HOST_RIP, 0x6c16, "HOST_RIP" },
	{ VMCS_HOST_INTERRUPT_SSP_TABLE, 0x6c1c, "HOST_INTERRUPT_SSP_TABLE" },
};

START_TEST(known_field)
{
	ck_assert_uint_eq(known_fields[_i].constant, known_fields[_i].encoding);
	ck_assert_str_eq(vmcs_field_name(known_fields[_i].encoding), known_fields[_i].name);
}
END_TEST

START_TEST(unknown_fields_have_no_name)
{
	ck_assert_ptr_null(vmcs_field_name(0x4001));
	ck_assert_ptr_null(vmcs_field_name(0x2001));
	ck_assert_ptr_null(vmcs_field_name(0xffffffff));
}
END_TEST

/* ---- Names of exits and errors --------------------------------------------------------------- */

static const struct {
	uint32_t reason;
	const char *name;
} exit_names[] = {
	{ 0, "exception or NMI" },
	{ 1, "external interrupt" },
	{ 7, "interrupt window" },
	{ 10, "CPUID" },
	{ 12, "HLT" },
	{ 18, "VMCALL" },
	{ 27, "VMXON" },
	{ 28, "control-register access" },
	{ 30, "I/O instruction" },
	{ 31, "RDMSR" },
	{ 32, "WRMSR" },
	{ 36, "MWAIT" },
	{ 43, "TPR below threshold" },
	{ 48, "EPT violation" },
	{ 52, "VMX-preemption timer" },
	{ 55, "XSETBV" },
	{ 63, "XSAVES" },
	{ 69, "LOADIWKEY" },
	{ 79, "WRMSRLIST" },
	{ 0x80000021, "VM-entry failure: invalid guest state" },
	{ 0x0800000a, "CPUID" }, /* in enclave mode */
	{ 35, "unknown exit reason" },
	{ 38, "unknown exit reason" },
	{ 42, "unknown exit reason" },
	{ 71, "unknown exit reason" },
	{ 80, "unknown exit reason" },
	{ 0xffff, "unknown exit reason" },
};

START_TEST(names_exit)
{
	ck_assert_str_eq(x86vcpu_vmx_exit_name(exit_names[_i].reason), exit_names[_i].name);
}
END_TEST

START_TEST(all_reasons_but_four_have_names)
{
	for (uint32_t i = 0; i < 80; i++) {
		const bool unused = i == 35 || i == 38 || i == 42 || i == 71;

		ck_assert_int_eq(strcmp(x86vcpu_vmx_exit_name(i), "unknown exit reason") == 0, unused);
	}
}
END_TEST

/* SDM 31.4: numbers 1 to 28 without 14, 21 and 27. */
START_TEST(instruction_errors_have_texts)
{
	for (uint32_t i = 1; i <= 28; i++) {
		const bool unused = i == 14 || i == 21 || i == 27;

		ck_assert_int_eq(strcmp(x86vcpu_vmx_instruction_error(i), "unknown error") == 0, unused);
	}
	ck_assert_str_eq(x86vcpu_vmx_instruction_error(0), "no error");
	ck_assert_str_eq(x86vcpu_vmx_instruction_error(5), "VMRESUME with non-launched VMCS");
	ck_assert_str_eq(x86vcpu_vmx_instruction_error(7), "VM entry with invalid control fields");
	ck_assert_str_eq(x86vcpu_vmx_instruction_error(28), "invalid operand to INVEPT or INVVPID");
	ck_assert_str_eq(x86vcpu_vmx_instruction_error(29), "unknown error");
	ck_assert_str_eq(x86vcpu_vmx_instruction_error(0xffffffff), "unknown error");
}
END_TEST

START_TEST(entry_failures_have_texts)
{
	ck_assert_str_eq(x86vcpu_vmx_entry_failure(0x80000021, 0), "invalid guest state");
	ck_assert_str_eq(x86vcpu_vmx_entry_failure(0x80000021, 1), "unknown cause");
	ck_assert_str_eq(x86vcpu_vmx_entry_failure(0x80000021, 2), "PDPTEs could not be loaded");
	ck_assert_str_eq(x86vcpu_vmx_entry_failure(0x80000021, 3), "NMI injected while STI blocks events");
	ck_assert_str_eq(x86vcpu_vmx_entry_failure(0x80000021, 4), "invalid VMCS link pointer");
	ck_assert_str_eq(x86vcpu_vmx_entry_failure(0x80000021, UINT64_C(0x100000002)), "unknown cause");
	ck_assert_str_eq(x86vcpu_vmx_entry_failure(0x80000022, 3),
			 "an MSR of the VM-entry MSR-load list could not be loaded");
	ck_assert_str_eq(x86vcpu_vmx_entry_failure(0x80000029, 0), "machine check");
	ck_assert_str_eq(x86vcpu_vmx_entry_failure(10, 0), "unknown cause");
}
END_TEST

/* ---- Exit qualifications, SDM 28.2.1 --------------------------------------------------------- */

/* Compares a decoded structure as a whole, so that a member which should be 0 counts. */
#define ASSERT_DECODES(type, call, ...)                                      \
	do {                                                                 \
		const struct type expected = __VA_ARGS__;                    \
		struct type out;                                             \
		memset(&out, 0xa5, sizeof(out));                             \
		ck_assert_int_eq(call, X86VCPU_OK);                          \
		ck_assert_mem_eq(&out, &expected, sizeof(out));              \
	} while (0)

/* An answer other than 0 leaves the structure alone. */
#define ASSERT_REFUSES(type, call, answer)                                   \
	do {                                                                 \
		struct type out, before;                                     \
		memset(&out, 0xa5, sizeof(out));                             \
		memset(&before, 0xa5, sizeof(before));                       \
		ck_assert_int_eq(call, answer);                              \
		ck_assert_mem_eq(&out, &before, sizeof(out));                \
	} while (0)

START_TEST(decodes_debug)
{
	ASSERT_DECODES(x86vcpu_vmx_debug, x86vcpu_vmx_decode_debug(0x5, &out), { .breakpoints = 5 });
	ASSERT_DECODES(x86vcpu_vmx_debug, x86vcpu_vmx_decode_debug(1 << 11, &out), { .bus_lock = 1 });
	ASSERT_DECODES(x86vcpu_vmx_debug, x86vcpu_vmx_decode_debug(1 << 13, &out), { .register_access = 1 });
	ASSERT_DECODES(x86vcpu_vmx_debug, x86vcpu_vmx_decode_debug(1 << 14, &out), { .single_step = 1 });
	ASSERT_DECODES(x86vcpu_vmx_debug, x86vcpu_vmx_decode_debug(1 << 16, &out), { .in_transaction = 1 });
	ASSERT_DECODES(x86vcpu_vmx_debug, x86vcpu_vmx_decode_debug(~UINT64_C(0x1680f), &out), { 0 });
}
END_TEST

START_TEST(decodes_page_fault)
{
	ASSERT_DECODES(x86vcpu_vmx_page_fault,
		       x86vcpu_vmx_decode_page_fault(UINT64_C(0xffff800000001234), 0x07, &out),
		       { .address = UINT64_C(0xffff800000001234), .present = 1, .write = 1, .user = 1 });
	ASSERT_DECODES(x86vcpu_vmx_page_fault, x86vcpu_vmx_decode_page_fault(0, 0x78, &out),
		       { .reserved_bit = 1, .fetch = 1, .protection_key = 1, .shadow_stack = 1 });
}
END_TEST

START_TEST(decodes_sipi)
{
	ASSERT_DECODES(x86vcpu_vmx_sipi, x86vcpu_vmx_decode_sipi(0x9a, &out),
		       { .vector = 0x9a, .address = 0x9a000 });
	ASSERT_DECODES(x86vcpu_vmx_sipi, x86vcpu_vmx_decode_sipi(~UINT64_C(0xff), &out), { 0 });
}
END_TEST

START_TEST(decodes_task_switch)
{
	ASSERT_DECODES(x86vcpu_vmx_task_switch, x86vcpu_vmx_decode_task_switch(0x00001234, &out),
		       { .selector = 0x1234, .source = X86VCPU_VMX_TASK_CALL });
	ASSERT_DECODES(x86vcpu_vmx_task_switch, x86vcpu_vmx_decode_task_switch(0x40000028, &out),
		       { .selector = 0x28, .source = X86VCPU_VMX_TASK_IRET });
	ASSERT_DECODES(x86vcpu_vmx_task_switch, x86vcpu_vmx_decode_task_switch(0x80000028, &out),
		       { .selector = 0x28, .source = X86VCPU_VMX_TASK_JMP });
	ASSERT_DECODES(x86vcpu_vmx_task_switch, x86vcpu_vmx_decode_task_switch(0xc0000028, &out),
		       { .selector = 0x28, .source = X86VCPU_VMX_TASK_GATE });
}
END_TEST

/* SDM table 28-3. */
static const struct {
	uint64_t qualification;
	struct x86vcpu_vmx_cr_access access;
} cr_accesses[] = {
	{ 0x000, { .number = 0, .type = X86VCPU_VMX_CR_MOV_TO, .gpr = 0 } },
	{ 0x403, { .number = 3, .type = X86VCPU_VMX_CR_MOV_TO, .gpr = 4 } },
	{ 0xf04, { .number = 4, .type = X86VCPU_VMX_CR_MOV_TO, .gpr = 15 } },
	{ 0x208, { .number = 8, .type = X86VCPU_VMX_CR_MOV_TO, .gpr = 2 } },
	{ 0x713, { .number = 3, .type = X86VCPU_VMX_CR_MOV_FROM, .gpr = 7 } },
	{ 0x918, { .number = 8, .type = X86VCPU_VMX_CR_MOV_FROM, .gpr = 9 } },
	{ 0x020, { .number = 0, .type = X86VCPU_VMX_CR_CLTS, .gpr = NONE } },
	{ 0xfff10030, { .type = X86VCPU_VMX_CR_LMSW, .gpr = NONE, .lmsw_source = 0xfff1 } },
	{ 0x80010070, { .type = X86VCPU_VMX_CR_LMSW, .gpr = NONE, .lmsw_memory = 1, .lmsw_source = 0x8001 } },
	{ 0xffff00000fe0f080, { 0 } }, /* bits that mean nothing for MOV to CR0 */
};

START_TEST(decodes_cr_access)
{
	ASSERT_DECODES(x86vcpu_vmx_cr_access,
		       x86vcpu_vmx_decode_cr_access(cr_accesses[_i].qualification, &out),
		       cr_accesses[_i].access);
}
END_TEST

START_TEST(refuses_cr_numbers_that_do_not_exit)
{
	for (uint32_t number = 0; number < 16; number++) {
		if (number == 0 || number == 3 || number == 4 || number == 8)
			continue;
		ASSERT_REFUSES(x86vcpu_vmx_cr_access, x86vcpu_vmx_decode_cr_access(number, &out),
			       X86VCPU_ERR_INVALID_DATA);
	}
	ASSERT_REFUSES(x86vcpu_vmx_cr_access, x86vcpu_vmx_decode_cr_access(0x33, &out), X86VCPU_ERR_INVALID_DATA);
}
END_TEST

START_TEST(decodes_dr_access)
{
	ASSERT_DECODES(x86vcpu_vmx_dr_access, x86vcpu_vmx_decode_dr_access(0x507, &out), { .number = 7, .gpr = 5 });
	ASSERT_DECODES(x86vcpu_vmx_dr_access, x86vcpu_vmx_decode_dr_access(0xf16, &out),
		       { .number = 6, .read = 1, .gpr = 15 });
	ASSERT_DECODES(x86vcpu_vmx_dr_access, x86vcpu_vmx_decode_dr_access(~UINT64_C(0xf17), &out), { 0 });
}
END_TEST

/* SDM table 28-5. */
static const struct {
	uint64_t qualification;
	struct x86vcpu_vmx_io io;
} ios[] = {
	{ 0x03f80000, { .port = 0x3f8, .width = X86VCPU_WIDTH_BYTE } },
	{ 0x03f80008, { .port = 0x3f8, .width = X86VCPU_WIDTH_BYTE, .in = 1 } },
	{ 0x00800040, { .port = 0x80, .width = X86VCPU_WIDTH_BYTE, .immediate = 1 } },
	{ 0xffff0001, { .port = 0xffff, .width = X86VCPU_WIDTH_WORD } },
	{ 0x0cf8000b, { .port = 0xcf8, .width = X86VCPU_WIDTH_DWORD, .in = 1 } },
	{ 0x01f00019, { .port = 0x1f0, .width = X86VCPU_WIDTH_WORD, .in = 1, .string = 1 } },
	{ 0x01f00033, { .port = 0x1f0, .width = X86VCPU_WIDTH_DWORD, .string = 1, .rep = 1 } },
	{ 0xffffffff0000ff80, { .port = 0 } }, /* reserved bits */
};

START_TEST(decodes_io)
{
	ASSERT_DECODES(x86vcpu_vmx_io, x86vcpu_vmx_decode_io(ios[_i].qualification, &out), ios[_i].io);
}
END_TEST

START_TEST(refuses_reserved_io_sizes)
{
	static const uint64_t sizes[] = { 2, 4, 5, 6, 7 };

	for (int i = 0; i < COUNT(sizes); i++)
		ASSERT_REFUSES(x86vcpu_vmx_io, x86vcpu_vmx_decode_io(sizes[i], &out), X86VCPU_ERR_INVALID_DATA);
}
END_TEST

START_TEST(decodes_mwait)
{
	ASSERT_DECODES(x86vcpu_vmx_mwait, x86vcpu_vmx_decode_mwait(1, &out), { .armed = 1 });
	ASSERT_DECODES(x86vcpu_vmx_mwait, x86vcpu_vmx_decode_mwait(2, &out), { .armed = 0 });
}
END_TEST

START_TEST(decodes_apic_access)
{
	static const uint8_t types[] = { 0, 1, 2, 3, 4, 10, 11, 15 };

	for (uint32_t type = 0, defined = 0; type < 16; type++) {
		if (type != types[defined]) {
			ASSERT_REFUSES(x86vcpu_vmx_apic_access,
				       x86vcpu_vmx_decode_apic_access(type << 12, &out),
				       X86VCPU_ERR_INVALID_DATA);
			continue;
		}
		ASSERT_DECODES(x86vcpu_vmx_apic_access,
			       x86vcpu_vmx_decode_apic_access(0xfffffffffffe0000 | type << 12 | 0xfb0, &out),
			       { .offset = 0xfb0, .type = (uint8_t)type });
		defined++;
	}
	ASSERT_DECODES(x86vcpu_vmx_apic_access, x86vcpu_vmx_decode_apic_access(0x1b000, &out),
		       { .type = X86VCPU_VMX_APIC_PHYSICAL_MONITORING, .asynchronous = 1 });
}
END_TEST

START_TEST(decodes_apic_write_and_virtualized_eoi)
{
	ASSERT_DECODES(x86vcpu_vmx_apic_write, x86vcpu_vmx_decode_apic_write(0xf300, &out), { .offset = 0x300 });
	ASSERT_DECODES(x86vcpu_vmx_virtualized_eoi, x86vcpu_vmx_decode_virtualized_eoi(0xf31, &out),
		       { .vector = 0x31 });
}
END_TEST

/* SDM table 28-7. */
static const struct {
	uint64_t qualification;
	struct x86vcpu_vmx_ept_violation violation;
} violations[] = {
	{ 0x181, { .access = 1, .linear_valid = 1, .translated = 1 } },
	{ 0x182, { .access = 2, .linear_valid = 1, .translated = 1 } },
	{ 0x184, { .access = 4, .linear_valid = 1, .translated = 1 } },
	{ 0x1aa, { .access = 2, .allowed = 5, .linear_valid = 1, .translated = 1 } },
	{ 0x083, { .access = 3, .linear_valid = 1 } }, /* a page walk with accessed and dirty flags */
	{ 0x001, { .access = 1 } },                    /* PDPTEs, by MOV CR */
	{ 0x101, { .access = 1 } },                    /* bit 8 means nothing without bit 7 */
	{ 0x40 | 0x184, { .access = 4, .user_execute = 1, .linear_valid = 1, .translated = 1 } },
	{ 0xe00 | 0x181, { .access = 1, .linear_valid = 1, .translated = 1, .linear_user = 1,
			   .linear_writable = 1, .linear_no_execute = 1 } },
	{ 0xe81, { .access = 1, .linear_valid = 1 } }, /* bits 11:9 mean nothing without bit 8 */
	{ 0x1181, { .access = 1, .linear_valid = 1, .translated = 1, .nmi_unblocked = 1 } },
	{ 0x6181, { .access = 1, .linear_valid = 1, .translated = 1, .shadow_stack = 1,
		    .supervisor_shadow_stack = 1 } },
	{ 0x18181, { .access = 1, .linear_valid = 1, .translated = 1, .paging_verification = 1,
		     .asynchronous = 1 } },
};

START_TEST(decodes_ept_violation)
{
	ASSERT_DECODES(x86vcpu_vmx_ept_violation,
		       x86vcpu_vmx_decode_ept_violation(violations[_i].qualification, &out),
		       violations[_i].violation);
}
END_TEST

START_TEST(decoders_refuse_null)
{
	struct x86vcpu_vmx_event event = { .valid = 0 };
	uint32_t info;

	ck_assert_int_eq(x86vcpu_vmx_decode_debug(0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_page_fault(0, 0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_sipi(0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_task_switch(0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_cr_access(0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_dr_access(0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_io(0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_mwait(0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_apic_access(0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_apic_write(0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_virtualized_eoi(0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_ept_violation(0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_interruption(0, 0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_interruption(0x80000000, 0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_vectoring(0x80000000, 0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_decode_instruction(19, 0, 0, NULL), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_encode_event(NULL, &info), X86VCPU_ERR_INVALID_INPUT);
	ck_assert_int_eq(x86vcpu_vmx_encode_event(&event, NULL), X86VCPU_ERR_INVALID_INPUT);
}
END_TEST

/* ---- Events, SDM 25.8.3, 25.9.2, 25.9.3 ------------------------------------------------------ */

static const struct {
	uint32_t info;
	struct x86vcpu_vmx_event event;
} interruptions[] = {
	{ 0x80000031, { .valid = 1, .vector = 0x31, .type = 0 } },
	{ 0x80000202, { .valid = 1, .vector = 2, .type = 2 } },
	{ 0x80000b0e, { .valid = 1, .vector = 14, .type = 3, .has_error_code = 1, .error_code = 0xabcd } },
	{ 0x80000306, { .valid = 1, .vector = 6, .type = 3 } },
	{ 0x80001b0e, { .valid = 1, .vector = 14, .type = 3, .has_error_code = 1, .error_code = 0xabcd,
			.nmi_unblocked = 1 } },
	{ 0x80000501, { .valid = 1, .vector = 1, .type = 5 } },
	{ 0x80000603, { .valid = 1, .vector = 3, .type = 6 } },
	{ 0x7fffffff, { .valid = 0 } }, /* all else is undefined then */
};

START_TEST(decodes_interruption)
{
	ASSERT_DECODES(x86vcpu_vmx_event,
		       x86vcpu_vmx_decode_interruption(interruptions[_i].info, 0xabcd, &out),
		       interruptions[_i].event);
}
END_TEST

static const struct {
	uint32_t info;
	struct x86vcpu_vmx_event event;
} vectorings[] = {
	{ 0x80000031, { .valid = 1, .vector = 0x31, .type = 0 } },
	{ 0x80000b08, { .valid = 1, .vector = 8, .type = 3, .has_error_code = 1, .error_code = 0xabcd } },
	{ 0x80000480, { .valid = 1, .vector = 0x80, .type = 4 } },
	{ 0x80001202, { .valid = 1, .vector = 2, .type = 2 } }, /* bit 12 is undefined here */
	{ 0x00000fff, { .valid = 0 } },
};

START_TEST(decodes_vectoring)
{
	ASSERT_DECODES(x86vcpu_vmx_event,
		       x86vcpu_vmx_decode_vectoring(vectorings[_i].info, 0xabcd, &out), vectorings[_i].event);
}
END_TEST

START_TEST(refuses_reserved_event_types)
{
	ASSERT_REFUSES(x86vcpu_vmx_event, x86vcpu_vmx_decode_interruption(0x80000100, 0, &out),
		       X86VCPU_ERR_INVALID_DATA);
	ASSERT_REFUSES(x86vcpu_vmx_event, x86vcpu_vmx_decode_interruption(0x80000480, 0, &out),
		       X86VCPU_ERR_INVALID_DATA);
	ASSERT_REFUSES(x86vcpu_vmx_event, x86vcpu_vmx_decode_vectoring(0x80000100, 0, &out),
		       X86VCPU_ERR_INVALID_DATA);
}
END_TEST

static const struct {
	struct x86vcpu_vmx_event event;
	int32_t status;
	uint32_t info;
} entries[] = {
	{ { .valid = 0, .vector = 200, .type = 1 }, X86VCPU_OK, 0 },
	{ { .valid = 1, .vector = 0 }, X86VCPU_OK, 0x80000000 },
	{ { .valid = 1, .vector = 0xff }, X86VCPU_OK, 0x800000ff },
	{ { .valid = 1, .vector = 0x15 }, X86VCPU_OK, 0x80000015 }, /* C-03: an interrupt, not an exception */
	{ { .valid = 1, .vector = 2, .type = 2 }, X86VCPU_OK, 0x80000202 },
	{ { .valid = 1, .vector = 13, .type = 3, .has_error_code = 1 }, X86VCPU_OK, 0x80000b0d },
	{ { .valid = 1, .vector = 13, .type = 3 }, X86VCPU_OK, 0x8000030d }, /* real mode */
	{ { .valid = 1, .vector = 6, .type = 3 }, X86VCPU_OK, 0x80000306 },
	{ { .valid = 1, .vector = 0x80, .type = 4, .instruction_length = 2 }, X86VCPU_OK, 0x80000480 },
	{ { .valid = 1, .vector = 1, .type = 5, .instruction_length = 1 }, X86VCPU_OK, 0x80000501 },
	{ { .valid = 1, .vector = 3, .type = 6, .instruction_length = 15 }, X86VCPU_OK, 0x80000603 },
	{ { .valid = 1, .vector = 0, .type = 7 }, X86VCPU_OK, 0x80000700 },
	{ { .valid = 1, .vector = 13, .type = 3, .has_error_code = 1, .error_code = 0xffff }, X86VCPU_OK,
	  0x80000b0d },
	/* What VM entry would refuse, 27.2.1.3. */
	{ { .valid = 1, .vector = 8, .type = 1 }, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ { .valid = 1, .vector = 3, .type = 2 }, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ { .valid = 1, .vector = 32, .type = 3 }, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ { .valid = 1, .vector = 1, .type = 7 }, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ { .valid = 1, .vector = 0, .type = 8 }, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ { .valid = 1, .vector = 3, .type = 6, .instruction_length = 16 }, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ { .valid = 1, .vector = 6, .type = 3, .has_error_code = 1 }, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ { .valid = 1, .vector = 13, .has_error_code = 1 }, X86VCPU_ERR_INVALID_INPUT, 0 },
	{ { .valid = 1, .vector = 13, .type = 3, .has_error_code = 1, .error_code = 0x10000 },
	  X86VCPU_ERR_INVALID_INPUT, 0 },
};

START_TEST(encodes_event)
{
	uint32_t info = 0;

	ck_assert_int_eq(x86vcpu_vmx_encode_event(&entries[_i].event, &info), entries[_i].status);
	ck_assert_uint_eq(info, entries[_i].info);
}
END_TEST

/* SDM 6.3.1: #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP. */
START_TEST(knows_vectors_with_error_code)
{
	for (uint32_t v = 0; v < 300; v++) {
		const bool expected = v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21;

		ck_assert_int_eq(x86vcpu_vmx_vector_has_error_code(v), expected);
	}
}
END_TEST

/* ---- VM-exit instruction information, SDM 28.2.5 --------------------------------------------- */

#define ADDRESS_16 (0u << 7)
#define ADDRESS_32 (1u << 7)
#define ADDRESS_64 (2u << 7)
#define SEGMENT(n) ((n) << 15)
#define INDEX(n) ((n) << 18)
#define NO_INDEX (1u << 22)
#define BASE(n) ((n) << 23)
#define NO_BASE (1u << 27)
#define REG1(n) ((n) << 3)
#define REG2(n) ((uint32_t)(n) << 28)
#define IN_REGISTER (1u << 10)

static const struct {
	const char *what;
	uint32_t reason, info, in;
	struct x86vcpu_vmx_instruction instruction;
} instructions[] = {
	{
		"OUTS with FS and 32-bit addresses", 30, ADDRESS_32 | SEGMENT(4u), 0,
		{ .address_bytes = 4, .segment = X86VCPU_SEGMENT_FS, .base = NONE, .index = NONE, .reg1 = NONE,
		  .reg2 = NONE },
	},
	{
		"INS: the segment is undefined, and ES", 30, ADDRESS_64 | SEGMENT(7u), 1,
		{ .address_bytes = 8, .segment = X86VCPU_SEGMENT_ES, .base = NONE, .index = NONE, .reg1 = NONE,
		  .reg2 = NONE },
	},
	{
		"INVEPT r11, [rax + rcx * 4]", 50,
		ADDRESS_64 | SEGMENT(3u) | INDEX(1u) | BASE(0u) | 2 | REG2(11u), 0,
		{ .memory = 1, .address_bytes = 8, .segment = X86VCPU_SEGMENT_DS, .scale = 4, .base = 0, .index = 1,
		  .reg1 = NONE, .reg2 = 11 },
	},
	{
		"INVVPID eax, [disp32]", 53, ADDRESS_32 | SEGMENT(3u) | NO_INDEX | NO_BASE, 0,
		{ .memory = 1, .address_bytes = 4, .segment = X86VCPU_SEGMENT_DS, .scale = 1, .base = NONE,
		  .index = NONE, .reg1 = NONE, .reg2 = 0 },
	},
	{
		"LIDT [r15] with a 32-bit operand", 46,
		ADDRESS_64 | SEGMENT(3u) | NO_INDEX | BASE(15u) | 1u << 11 | 3u << 28, 0,
		{ .memory = 1, .address_bytes = 8, .segment = X86VCPU_SEGMENT_DS, .scale = 1, .base = 15,
		  .index = NONE, .operand_bytes = 4, .reg1 = NONE, .reg2 = NONE, .identity = 3 },
	},
	{
		"SGDT ss:[bp] with a 16-bit operand", 46, ADDRESS_16 | SEGMENT(2u) | NO_INDEX | BASE(5u), 0,
		{ .memory = 1, .address_bytes = 2, .segment = X86VCPU_SEGMENT_SS, .scale = 1, .base = 5,
		  .index = NONE, .operand_bytes = 2, .reg1 = NONE, .reg2 = NONE, .identity = 0 },
	},
	{
		"LTR si: memory fields are undefined", 47,
		IN_REGISTER | REG1(6u) | 7u << 7 | SEGMENT(7u) | 3u << 28, 0,
		{ .base = NONE, .index = NONE, .reg1 = 6, .reg2 = NONE, .identity = 3 },
	},
	{
		"SLDT gs:[ebx * 8]", 47, ADDRESS_32 | SEGMENT(5u) | INDEX(3u) | NO_BASE | 3 | REG1(9u), 0,
		{ .memory = 1, .address_bytes = 4, .segment = X86VCPU_SEGMENT_GS, .scale = 8, .base = NONE,
		  .index = 3, .reg1 = NONE, .reg2 = NONE, .identity = 0 },
	},
	{
		"RDRAND r10", 57, REG1(10u) | 2u << 11, 0,
		{ .base = NONE, .index = NONE, .operand_bytes = 8, .reg1 = 10, .reg2 = NONE },
	},
	{
		"RDSEED cx", 61, REG1(1u), 0,
		{ .base = NONE, .index = NONE, .operand_bytes = 2, .reg1 = 1, .reg2 = NONE },
	},
	{
		"VMPTRLD cs:[rsp]", 21, ADDRESS_64 | SEGMENT(1u) | NO_INDEX | BASE(4u) | REG2(5u), 0,
		{ .memory = 1, .address_bytes = 8, .segment = X86VCPU_SEGMENT_CS, .scale = 1, .base = 4,
		  .index = NONE, .reg1 = NONE, .reg2 = NONE },
	},
	{
		"VMREAD rdi, rsi", 23, IN_REGISTER | REG1(7u) | REG2(6u), 0,
		{ .base = NONE, .index = NONE, .reg1 = 7, .reg2 = 6 },
	},
	{
		"VMWRITE rdx, [rbx]", 25, ADDRESS_64 | SEGMENT(3u) | NO_INDEX | BASE(3u) | REG2(2u), 0,
		{ .memory = 1, .address_bytes = 8, .segment = X86VCPU_SEGMENT_DS, .scale = 1, .base = 3,
		  .index = NONE, .reg1 = NONE, .reg2 = 2 },
	},
	{
		"LOADIWKEY xmm1, xmm2", 69, REG1(1u) | REG2(2u), 0,
		{ .base = NONE, .index = NONE, .reg1 = 1, .reg2 = 2 },
	},
	{
		"the reason may be a whole exit-reason field", 0x08000017, IN_REGISTER | REG1(7u) | REG2(6u), 0,
		{ .base = NONE, .index = NONE, .reg1 = 7, .reg2 = 6 },
	},
};

START_TEST(decodes_instruction)
{
	ASSERT_DECODES(x86vcpu_vmx_instruction,
		       x86vcpu_vmx_decode_instruction(instructions[_i].reason, instructions[_i].info,
						      instructions[_i].in, &out),
		       instructions[_i].instruction);
}
END_TEST

static const struct {
	uint32_t reason, info;
	int32_t status;
} bad_instructions[] = {
	{ 19, 3u << 7, X86VCPU_ERR_INVALID_DATA },              /* address sizes 3 to 7 */
	{ 19, 7u << 7, X86VCPU_ERR_INVALID_DATA },
	{ 30, 4u << 7, X86VCPU_ERR_INVALID_DATA },
	{ 19, ADDRESS_64 | SEGMENT(6u), X86VCPU_ERR_INVALID_DATA },
	{ 30, ADDRESS_64 | SEGMENT(7u), X86VCPU_ERR_INVALID_DATA },
	{ 57, 3u << 11, X86VCPU_ERR_INVALID_DATA },             /* operand size 3 */
	{ 10, 0, X86VCPU_ERR_INVALID_INPUT },                   /* CPUID has no such field */
	{ 48, 0, X86VCPU_ERR_INVALID_INPUT },
	{ 70, 0, X86VCPU_ERR_INVALID_INPUT },
	{ 0xffff, 0, X86VCPU_ERR_INVALID_INPUT },
};

START_TEST(refuses_instruction)
{
	ASSERT_REFUSES(x86vcpu_vmx_instruction,
		       x86vcpu_vmx_decode_instruction(bad_instructions[_i].reason, bad_instructions[_i].info, 0,
						      &out), bad_instructions[_i].status);
}
END_TEST

/* ---- The suite ------------------------------------------------------------------------------- */

static TCase *field_cases(void)
{
	TCase *tcase = tcase_create("fields");

	tcase_add_test(tcase, widths_match_their_lists);
	tcase_add_test(tcase, encodings_have_no_reserved_bits);
	tcase_add_test(tcase, types_match_names);
	tcase_add_test(tcase, no_field_is_twice);
	tcase_add_loop_test(tcase, known_field, 0, COUNT(known_fields));
	tcase_add_test(tcase, unknown_fields_have_no_name);
	return tcase;
}

static TCase *name_cases(void)
{
	TCase *tcase = tcase_create("names");

	tcase_add_loop_test(tcase, names_exit, 0, COUNT(exit_names));
	tcase_add_test(tcase, all_reasons_but_four_have_names);
	tcase_add_test(tcase, instruction_errors_have_texts);
	tcase_add_test(tcase, entry_failures_have_texts);
	return tcase;
}

static TCase *qualification_cases(void)
{
	TCase *tcase = tcase_create("qualifications");

	tcase_add_test(tcase, decodes_debug);
	tcase_add_test(tcase, decodes_page_fault);
	tcase_add_test(tcase, decodes_sipi);
	tcase_add_test(tcase, decodes_task_switch);
	tcase_add_loop_test(tcase, decodes_cr_access, 0, COUNT(cr_accesses));
	tcase_add_test(tcase, refuses_cr_numbers_that_do_not_exit);
	tcase_add_test(tcase, decodes_dr_access);
	tcase_add_loop_test(tcase, decodes_io, 0, COUNT(ios));
	tcase_add_test(tcase, refuses_reserved_io_sizes);
	tcase_add_test(tcase, decodes_mwait);
	tcase_add_test(tcase, decodes_apic_access);
	tcase_add_test(tcase, decodes_apic_write_and_virtualized_eoi);
	tcase_add_loop_test(tcase, decodes_ept_violation, 0, COUNT(violations));
	tcase_add_test(tcase, decoders_refuse_null);
	return tcase;
}

static TCase *event_cases(void)
{
	TCase *tcase = tcase_create("events");

	tcase_add_loop_test(tcase, decodes_interruption, 0, COUNT(interruptions));
	tcase_add_loop_test(tcase, decodes_vectoring, 0, COUNT(vectorings));
	tcase_add_test(tcase, refuses_reserved_event_types);
	tcase_add_loop_test(tcase, encodes_event, 0, COUNT(entries));
	tcase_add_test(tcase, knows_vectors_with_error_code);
	return tcase;
}

static TCase *instruction_cases(void)
{
	TCase *tcase = tcase_create("instructions");

	tcase_add_loop_test(tcase, decodes_instruction, 0, COUNT(instructions));
	tcase_add_loop_test(tcase, refuses_instruction, 0, COUNT(bad_instructions));
	return tcase;
}

Suite *vmx_tables_suite(void)
{
	Suite *suite = suite_create("vmx_tables");

	suite_add_tcase(suite, field_cases());
	suite_add_tcase(suite, name_cases());
	suite_add_tcase(suite, qualification_cases());
	suite_add_tcase(suite, event_cases());
	suite_add_tcase(suite, instruction_cases());
	return suite;
}
