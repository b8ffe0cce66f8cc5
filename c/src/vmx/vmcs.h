/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access to the current VMCS. The accessors with a width in their name take a constant and do not
 * compile with a field of another width, nor the writers with a read-only one.
 */
#ifndef VMX_VMCS_H
#define VMX_VMCS_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/insn.h"
#include "vmx/vmcs_fields.h"

/*
 * For fields that are computed, such as VMCS_GUEST_ES_SELECTOR + 2 * segment. VMREAD fails only when
 * there is no current VMCS or the processor lacks the field (SDM 31.3); the value is 0 then. Callers
 * have a current VMCS, and ask for an optional field only where its control exists.
 */
static inline uint64_t vmcs_read_field(uint32_t encoding)
{
	uint64_t value = 0;

	(void)insn_vmread(encoding, &value);
	return value;
}

/* false: no current VMCS, no such field, or a read-only one. */
static inline bool vmcs_write_field(uint32_t encoding, uint64_t value)
{
	return insn_vmwrite(encoding, value);
}

/* `field` unchanged; the size of a structure is a place where an expression can hold an assertion. */
#define VMCS_CHECK(field, condition, message) \
	((uint32_t)(field) + 0u * (uint32_t)sizeof(struct { _Static_assert(condition, message); char unused; }))
#define VMCS_CHECK_READ(field, width) \
	VMCS_CHECK(field, VMCS_WIDTH(field) == (width), #field " has another width")
#define VMCS_CHECK_WRITE(field, width) \
	VMCS_CHECK(field, VMCS_WIDTH(field) == (width) && VMCS_TYPE(field) != VMCS_TYPE_READ_ONLY, \
		   #field " has another width or is read-only")

#define vmcs_read16(field) ((uint16_t)insn_vmread_known(VMCS_CHECK_READ(field, VMCS_WIDTH_16)))
#define vmcs_read32(field) ((uint32_t)insn_vmread_known(VMCS_CHECK_READ(field, VMCS_WIDTH_32)))
#define vmcs_read64(field) insn_vmread_known(VMCS_CHECK_READ(field, VMCS_WIDTH_64))
#define vmcs_readn(field) insn_vmread_known(VMCS_CHECK_READ(field, VMCS_WIDTH_NATURAL))

/*
 * They answer as vmcs_write_field does. The casts keep a sign-extended argument from reaching bits
 * that the field lacks.
 */
#define vmcs_write16(field, value) \
	vmcs_write_field(VMCS_CHECK_WRITE(field, VMCS_WIDTH_16), (uint16_t)(value))
#define vmcs_write32(field, value) \
	vmcs_write_field(VMCS_CHECK_WRITE(field, VMCS_WIDTH_32), (uint32_t)(value))
#define vmcs_write64(field, value) \
	vmcs_write_field(VMCS_CHECK_WRITE(field, VMCS_WIDTH_64), (uint64_t)(value))
#define vmcs_writen(field, value) \
	vmcs_write_field(VMCS_CHECK_WRITE(field, VMCS_WIDTH_NATURAL), (uint64_t)(value))

#endif
