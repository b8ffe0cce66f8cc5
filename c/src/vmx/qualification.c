/* SPDX-License-Identifier: Apache-2.0 */
/* Decoders of the VMCS fields that describe an exit, and the encoder of an event for VM entry. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emul/guest.h"
#include "x86vcpu/exit.h"
#include "x86vcpu/status.h"
#include "x86vcpu/vcpu.h"
#include "x86vcpu/vmx.h"

static uint32_t bits(uint64_t value, unsigned high, unsigned low)
{
	return (uint32_t)(value >> low) & (UINT32_MAX >> (31 - (high - low)));
}

static uint8_t bit(uint64_t value, unsigned n)
{
	return (value >> n) & 1;
}

/* ---- Exit qualifications, SDM 28.2.1 --------------------------------------------------------- */

int32_t x86vcpu_vmx_decode_debug(uint64_t q, struct x86vcpu_vmx_debug *out)
{
	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	*out = (struct x86vcpu_vmx_debug){
		.breakpoints = (uint8_t)bits(q, 3, 0),
		.bus_lock = bit(q, 11),
		.register_access = bit(q, 13),
		.single_step = bit(q, 14),
		.in_transaction = bit(q, 16),
	};
	return X86VCPU_OK;
}

int32_t x86vcpu_vmx_decode_page_fault(uint64_t q, uint32_t error_code, struct x86vcpu_vmx_page_fault *out)
{
	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	*out = (struct x86vcpu_vmx_page_fault){
		.address = q,
		.present = bit(error_code, 0),
		.write = bit(error_code, 1),
		.user = bit(error_code, 2),
		.reserved_bit = bit(error_code, 3),
		.fetch = bit(error_code, 4),
		.protection_key = bit(error_code, 5),
		.shadow_stack = bit(error_code, 6),
	};
	return X86VCPU_OK;
}

int32_t x86vcpu_vmx_decode_sipi(uint64_t q, struct x86vcpu_vmx_sipi *out)
{
	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	*out = (struct x86vcpu_vmx_sipi){ .vector = bits(q, 7, 0), .address = bits(q, 7, 0) << 12 };
	return X86VCPU_OK;
}

int32_t x86vcpu_vmx_decode_task_switch(uint64_t q, struct x86vcpu_vmx_task_switch *out)
{
	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	*out = (struct x86vcpu_vmx_task_switch){
		.selector = (uint16_t)bits(q, 15, 0),
		.source = (uint8_t)bits(q, 31, 30),
	};
	return X86VCPU_OK;
}

int32_t x86vcpu_vmx_decode_cr_access(uint64_t q, struct x86vcpu_vmx_cr_access *out)
{
	const uint8_t number = (uint8_t)bits(q, 3, 0);
	const uint8_t type = (uint8_t)bits(q, 5, 4);
	const bool mov = type == X86VCPU_VMX_CR_MOV_TO || type == X86VCPU_VMX_CR_MOV_FROM;
	const bool lmsw = type == X86VCPU_VMX_CR_LMSW;

	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	if (mov ? number != 0 && number != 3 && number != 4 && number != 8 : number != 0)
		return X86VCPU_ERR_INVALID_DATA;
	*out = (struct x86vcpu_vmx_cr_access){
		.number = number,
		.type = type,
		.gpr = mov ? (uint8_t)bits(q, 11, 8) : X86VCPU_NO_REGISTER,
		.lmsw_memory = lmsw ? bit(q, 6) : 0,
		.lmsw_source = lmsw ? (uint16_t)bits(q, 31, 16) : 0,
	};
	return X86VCPU_OK;
}

int32_t x86vcpu_vmx_decode_dr_access(uint64_t q, struct x86vcpu_vmx_dr_access *out)
{
	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	*out = (struct x86vcpu_vmx_dr_access){
		.number = (uint8_t)bits(q, 2, 0),
		.read = bit(q, 4),
		.gpr = (uint8_t)bits(q, 11, 8),
	};
	return X86VCPU_OK;
}

int32_t x86vcpu_vmx_decode_io(uint64_t q, struct x86vcpu_vmx_io *out)
{
	static const uint8_t widths[8] = {
		[0] = 1 + X86VCPU_WIDTH_BYTE,
		[1] = 1 + X86VCPU_WIDTH_WORD,
		[3] = 1 + X86VCPU_WIDTH_DWORD,
	};
	const uint8_t width = widths[bits(q, 2, 0)];

	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	if (width == 0)
		return X86VCPU_ERR_INVALID_DATA;
	*out = (struct x86vcpu_vmx_io){
		.port = (uint16_t)bits(q, 31, 16),
		.width = (uint8_t)(width - 1),
		.in = bit(q, 3),
		.string = bit(q, 4),
		.rep = bit(q, 5),
		.immediate = bit(q, 6),
	};
	return X86VCPU_OK;
}

int32_t x86vcpu_vmx_decode_mwait(uint64_t q, struct x86vcpu_vmx_mwait *out)
{
	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	*out = (struct x86vcpu_vmx_mwait){ .armed = bit(q, 0) };
	return X86VCPU_OK;
}

int32_t x86vcpu_vmx_decode_apic_access(uint64_t q, struct x86vcpu_vmx_apic_access *out)
{
	const uint32_t defined = 1u << X86VCPU_VMX_APIC_LINEAR_READ | 1u << X86VCPU_VMX_APIC_LINEAR_WRITE |
				 1u << X86VCPU_VMX_APIC_LINEAR_FETCH |
				 1u << X86VCPU_VMX_APIC_LINEAR_EVENT_DELIVERY |
				 1u << X86VCPU_VMX_APIC_LINEAR_MONITORING |
				 1u << X86VCPU_VMX_APIC_PHYSICAL_EVENT_DELIVERY |
				 1u << X86VCPU_VMX_APIC_PHYSICAL_MONITORING |
				 1u << X86VCPU_VMX_APIC_PHYSICAL_FETCH_OR_DATA;

	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	if (!bit(defined, bits(q, 15, 12)))
		return X86VCPU_ERR_INVALID_DATA;
	*out = (struct x86vcpu_vmx_apic_access){
		.offset = (uint16_t)bits(q, 11, 0),
		.type = (uint8_t)bits(q, 15, 12),
		.asynchronous = bit(q, 16),
	};
	return X86VCPU_OK;
}

int32_t x86vcpu_vmx_decode_apic_write(uint64_t q, struct x86vcpu_vmx_apic_write *out)
{
	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	*out = (struct x86vcpu_vmx_apic_write){ .offset = bits(q, 11, 0) };
	return X86VCPU_OK;
}

int32_t x86vcpu_vmx_decode_virtualized_eoi(uint64_t q, struct x86vcpu_vmx_virtualized_eoi *out)
{
	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	*out = (struct x86vcpu_vmx_virtualized_eoi){ .vector = bits(q, 7, 0) };
	return X86VCPU_OK;
}

/* Bits 2:0 and 5:3 have the order of X86VCPU_ACCESS_*. */
int32_t x86vcpu_vmx_decode_ept_violation(uint64_t q, struct x86vcpu_vmx_ept_violation *out)
{
	const uint8_t linear_valid = bit(q, 7);
	const uint8_t translated = linear_valid & bit(q, 8);

	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	*out = (struct x86vcpu_vmx_ept_violation){
		.access = (uint8_t)bits(q, 2, 0),
		.allowed = (uint8_t)bits(q, 5, 3),
		.user_execute = bit(q, 6),
		.linear_valid = linear_valid,
		.translated = translated,
		.linear_user = translated & bit(q, 9),
		.linear_writable = translated & bit(q, 10),
		.linear_no_execute = translated & bit(q, 11),
		.nmi_unblocked = bit(q, 12),
		.shadow_stack = bit(q, 13),
		.supervisor_shadow_stack = bit(q, 14),
		.paging_verification = bit(q, 15),
		.asynchronous = bit(q, 16),
	};
	return X86VCPU_OK;
}

/* ---- Events ---------------------------------------------------------------------------------- */

#define INFO_ERROR_CODE (1u << 11)
#define INFO_NMI_UNBLOCKED (1u << 12)
#define INFO_VALID (1u << 31)

/* `types`: a bit per interruption type that this field may hold. */
static int32_t decode_event(uint32_t info, uint32_t error_code, uint32_t types, struct x86vcpu_vmx_event *out)
{
	const uint8_t type = (uint8_t)bits(info, 10, 8);
	const bool has_error_code = info & INFO_ERROR_CODE;

	if (!out)
		return X86VCPU_ERR_INVALID_INPUT;
	if (!(info & INFO_VALID)) {
		*out = (struct x86vcpu_vmx_event){ .valid = 0 };
		return X86VCPU_OK;
	}
	if (!bit(types, type))
		return X86VCPU_ERR_INVALID_DATA;
	*out = (struct x86vcpu_vmx_event){
		.valid = 1,
		.vector = (uint8_t)bits(info, 7, 0),
		.type = type,
		.has_error_code = has_error_code,
		.error_code = has_error_code ? error_code : 0,
	};
	return X86VCPU_OK;
}

/* SDM table 25-18: INT n exits only by what its delivery meets, never as an event of its own. */
int32_t x86vcpu_vmx_decode_interruption(uint32_t info, uint32_t error_code, struct x86vcpu_vmx_event *out)
{
	const uint32_t types = 1u << X86VCPU_VMX_EVENT_EXTERNAL_INTERRUPT | 1u << X86VCPU_VMX_EVENT_NMI |
			       1u << X86VCPU_VMX_EVENT_HARDWARE_EXCEPTION |
			       1u << X86VCPU_VMX_EVENT_PRIVILEGED_SOFTWARE_EXCEPTION |
			       1u << X86VCPU_VMX_EVENT_SOFTWARE_EXCEPTION;
	const int32_t status = decode_event(info, error_code, types, out);

	if (status == X86VCPU_OK && out->valid)
		out->nmi_unblocked = (info & INFO_NMI_UNBLOCKED) != 0;
	return status;
}

/* SDM table 25-19. Bit 12 is undefined in this field. */
int32_t x86vcpu_vmx_decode_vectoring(uint32_t info, uint32_t error_code, struct x86vcpu_vmx_event *out)
{
	const uint32_t types = 0xff & ~(1u << 1);

	return decode_event(info, error_code, types, out);
}

int32_t x86vcpu_vmx_vector_has_error_code(uint32_t vector)
{
	return guest_has_error_code(vector);
}

/* Vector and type, SDM 27.2.1.3. */
static bool event_vector_is_valid(const struct x86vcpu_vmx_event *event)
{
	switch (event->type) {
	case X86VCPU_VMX_EVENT_EXTERNAL_INTERRUPT:
		return true;
	case X86VCPU_VMX_EVENT_NMI:
		return event->vector == 2;
	case X86VCPU_VMX_EVENT_HARDWARE_EXCEPTION:
		return event->vector < 32;
	case X86VCPU_VMX_EVENT_SOFTWARE_INTERRUPT:
	case X86VCPU_VMX_EVENT_PRIVILEGED_SOFTWARE_EXCEPTION:
	case X86VCPU_VMX_EVENT_SOFTWARE_EXCEPTION:
		return event->instruction_length <= 15;
	case X86VCPU_VMX_EVENT_OTHER:
		return event->vector == 0;
	default:
		return false;
	}
}

int32_t x86vcpu_vmx_encode_event(const struct x86vcpu_vmx_event *event, uint32_t *info)
{
	if (!event || !info)
		return X86VCPU_ERR_INVALID_INPUT;
	if (!event->valid) {
		*info = 0;
		return X86VCPU_OK;
	}
	if (!event_vector_is_valid(event))
		return X86VCPU_ERR_INVALID_INPUT;
	if (event->has_error_code && (event->type != X86VCPU_VMX_EVENT_HARDWARE_EXCEPTION ||
				      !x86vcpu_vmx_vector_has_error_code(event->vector) ||
				      event->error_code > 0xffff))
		return X86VCPU_ERR_INVALID_INPUT;
	*info = INFO_VALID | (event->has_error_code ? INFO_ERROR_CODE : 0) | (uint32_t)event->type << 8 |
		event->vector;
	return X86VCPU_OK;
}

/* ---- VM-exit instruction information, SDM 28.2.5 --------------------------------------------- */

/* Which parts the field has, by basic exit reason. */
enum {
	PART_MEMORY = 1 << 0,           /* a memory operand, unless PART_REGISTER_FORM says otherwise */
	PART_REGISTER_FORM = 1 << 1,    /* bit 10: a register operand (6:3) instead */
	PART_REG1 = 1 << 2,             /* 6:3 */
	PART_REG2 = 1 << 3,             /* 31:28 */
	PART_IDENTITY = 1 << 4,         /* 29:28 */
	PART_TABLE_OPERAND = 1 << 5,    /* bit 11: 16- or 32-bit operand */
	PART_OPERAND = 1 << 6,          /* 12:11: 16-, 32- or 64-bit operand */
	PART_STRING = 1 << 7,           /* INS, OUTS: address size and segment only */
};

static const uint8_t parts[] = {
	[X86VCPU_VMX_EXIT_IO] = PART_STRING,
	[X86VCPU_VMX_EXIT_GDTR_OR_IDTR] = PART_MEMORY | PART_TABLE_OPERAND | PART_IDENTITY,
	[X86VCPU_VMX_EXIT_LDTR_OR_TR] = PART_MEMORY | PART_REGISTER_FORM | PART_IDENTITY,
	[X86VCPU_VMX_EXIT_INVEPT] = PART_MEMORY | PART_REG2,
	[X86VCPU_VMX_EXIT_INVVPID] = PART_MEMORY | PART_REG2,
	[X86VCPU_VMX_EXIT_INVPCID] = PART_MEMORY | PART_REG2,
	[X86VCPU_VMX_EXIT_VMCLEAR] = PART_MEMORY,
	[X86VCPU_VMX_EXIT_VMPTRLD] = PART_MEMORY,
	[X86VCPU_VMX_EXIT_VMPTRST] = PART_MEMORY,
	[X86VCPU_VMX_EXIT_VMXON] = PART_MEMORY,
	[X86VCPU_VMX_EXIT_XSAVES] = PART_MEMORY,
	[X86VCPU_VMX_EXIT_XRSTORS] = PART_MEMORY,
	[X86VCPU_VMX_EXIT_VMREAD] = PART_MEMORY | PART_REGISTER_FORM | PART_REG2,
	[X86VCPU_VMX_EXIT_VMWRITE] = PART_MEMORY | PART_REGISTER_FORM | PART_REG2,
	[X86VCPU_VMX_EXIT_RDRAND] = PART_REG1 | PART_OPERAND,
	[X86VCPU_VMX_EXIT_RDSEED] = PART_REG1 | PART_OPERAND,
	[X86VCPU_VMX_EXIT_UMWAIT] = PART_REG1 | PART_OPERAND,
	[X86VCPU_VMX_EXIT_TPAUSE] = PART_REG1 | PART_OPERAND,
	[X86VCPU_VMX_EXIT_LOADIWKEY] = PART_REG1 | PART_REG2,
};

/* A two-bit size of the field: 16, 32 or 64 bits. False: reserved. */
static bool decode_size(uint32_t size, uint8_t *bytes)
{
	*bytes = (uint8_t)(2u << size);
	return size <= 2;
}

/* Address size and segment, which string instructions have too. `in`: INS, whose segment is ES. */
static bool decode_address(uint32_t info, bool in, struct x86vcpu_vmx_instruction *i)
{
	const uint32_t segment = in ? X86VCPU_SEGMENT_ES : bits(info, 17, 15);

	i->segment = (uint8_t)segment;
	return segment <= X86VCPU_SEGMENT_GS && bits(info, 9, 7) <= 2 &&
	       decode_size(bits(info, 9, 7), &i->address_bytes);
}

static bool decode_memory(uint32_t info, struct x86vcpu_vmx_instruction *i)
{
	i->memory = 1;
	i->scale = (uint8_t)(1u << bits(info, 1, 0));
	if (!bit(info, 22))
		i->index = (uint8_t)bits(info, 21, 18);
	if (!bit(info, 27))
		i->base = (uint8_t)bits(info, 26, 23);
	return decode_address(info, false, i);
}

static bool decode_operands(uint32_t info, uint8_t part, bool in, struct x86vcpu_vmx_instruction *i)
{
	const bool register_form = (part & PART_REGISTER_FORM) && bit(info, 10);

	if (register_form || (part & PART_REG1))
		i->reg1 = (uint8_t)bits(info, 6, 3);
	if (part & PART_REG2)
		i->reg2 = (uint8_t)bits(info, 31, 28);
	if (part & PART_IDENTITY)
		i->identity = (uint8_t)bits(info, 29, 28);
	if (part & PART_TABLE_OPERAND)
		i->operand_bytes = bit(info, 11) ? 4 : 2;
	if ((part & PART_OPERAND) && !decode_size(bits(info, 12, 11), &i->operand_bytes))
		return false;
	if (part & PART_STRING)
		return decode_address(info, in, i);
	return register_form || !(part & PART_MEMORY) || decode_memory(info, i);
}

int32_t x86vcpu_vmx_decode_instruction(uint32_t reason, uint32_t info, uint32_t in,
				       struct x86vcpu_vmx_instruction *out)
{
	const uint32_t basic = reason & X86VCPU_VMX_REASON_BASIC;
	struct x86vcpu_vmx_instruction i = {
		.base = X86VCPU_NO_REGISTER,
		.index = X86VCPU_NO_REGISTER,
		.reg1 = X86VCPU_NO_REGISTER,
		.reg2 = X86VCPU_NO_REGISTER,
	};

	if (!out || basic >= sizeof(parts) / sizeof(parts[0]) || parts[basic] == 0)
		return X86VCPU_ERR_INVALID_INPUT;
	if (!decode_operands(info, parts[basic], in != 0, &i))
		return X86VCPU_ERR_INVALID_DATA;
	*out = i;
	return X86VCPU_OK;
}
