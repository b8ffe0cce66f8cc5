/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory by linear address, for debuggers. */
#include "x86vcpu/debug.h"

#include "cpu/libc.h"
#include "emul/paging.h"
#include "vcpu/vcpu.h"

#define PAGE_BYTES UINT64_C(4096)

/* PAGING_* and PF_* of an access with `privilege`. */
static uint32_t rights_of(struct guest *g, uint32_t privilege)
{
	switch (privilege) {
	case X86VCPU_PRIVILEGE_CPL:
		return paging_user(g);
	case X86VCPU_PRIVILEGE_USER:
		return PF_USER;
	case X86VCPU_PRIVILEGE_DEBUGGER:
		return PAGING_UNCHECKED;
	default:
		return 0;
	}
}

/* 0: the vCPU is held. */
static int32_t begin(struct x86vcpu *vcpu, uint32_t privilege, struct x86vcpu_virtual_access *result)
{
	if (!vcpu || !result || privilege > X86VCPU_PRIVILEGE_DEBUGGER)
		return X86VCPU_ERR_INVALID_INPUT;
	if (result->size != sizeof(*result))
		return X86VCPU_ERR_ABI_MISMATCH;
	if (vcpu_hold_here(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	*result = (struct x86vcpu_virtual_access){.size = sizeof(*result)};
	return X86VCPU_OK;
}

static int32_t absent(struct x86vcpu_virtual_access *result, uint64_t gpa)
{
	result->absent = 1;
	result->address = gpa;
	return X86VCPU_ERR_GUEST_FAULT;
}

static int32_t translate(struct guest *g, uint64_t linear, uint32_t access, uint64_t *gpa,
			 struct x86vcpu_virtual_access *result)
{
	struct paging_fault fault;
	const enum paging_status status = paging_translate(g, linear, access, gpa, &fault);

	if (status == PAGING_OK)
		return X86VCPU_OK;
	*gpa = 0;
	if (status == PAGING_FAULT) {
		result->vector = fault.vector;
		result->error_code = fault.error_code;
		result->address = fault.address;
		return X86VCPU_ERR_GUEST_FAULT;
	}
	return absent(result, fault.address);
}

int32_t x86vcpu_translate(struct x86vcpu *vcpu, uint64_t linear, uint64_t access, uint32_t privilege,
			  struct x86vcpu_virtual_access *result)
{
	uint32_t kind;
	int32_t status;

	switch (access) {
	case X86VCPU_ACCESS_READ:
		kind = 0;
		break;
	case X86VCPU_ACCESS_WRITE:
		kind = PF_WRITE;
		break;
	case X86VCPU_ACCESS_EXECUTE:
		kind = PF_FETCH;
		break;
	default:
		return X86VCPU_ERR_INVALID_INPUT;
	}
	status = begin(vcpu, privilege, result);
	if (status)
		return status;
	status = translate(vcpu->guest, linear, kind | rights_of(vcpu->guest, privilege), &result->gpa, result);
	vcpu_release(vcpu);
	return status;
}

/* How much of `len` bytes is in the page of `linear`. */
static uint64_t in_page(uint64_t linear, uint64_t len)
{
	const uint64_t left = PAGE_BYTES - linear % PAGE_BYTES;

	return len < left ? len : left;
}

static int32_t read_virtual(struct guest *g, uint64_t linear, uint32_t rights, void *data, uint64_t len,
			    struct x86vcpu_virtual_access *result)
{
	while (result->done < len) {
		const uint64_t at = linear + result->done;
		uint64_t gpa, count;
		const int32_t status = translate(g, at, rights, &gpa, result);

		if (status)
			return status;
		if (guest_read_some(g, gpa, (uint8_t *)data + result->done,
				    in_page(at, len - result->done), &count))
			return absent(result, gpa);
		result->done += count;
	}
	return X86VCPU_OK;
}

int32_t x86vcpu_read_virtual(struct x86vcpu *vcpu, uint64_t linear, uint32_t privilege, void *data, uint64_t len,
			     struct x86vcpu_virtual_access *result)
{
	int32_t status = len && !data ? X86VCPU_ERR_INVALID_INPUT : begin(vcpu, privilege, result);

	if (!status) {
		status = read_virtual(vcpu->guest, linear, rights_of(vcpu->guest, privilege), data, len, result);
		vcpu_release(vcpu);
	}
	return status;
}

static int32_t write_virtual(struct guest *g, uint64_t linear, uint32_t rights, const void *data, uint64_t len,
			     struct x86vcpu_virtual_access *result)
{
	while (result->done < len) {
		const uint64_t at = linear + result->done;
		uint64_t gpa, left, count = in_page(at, len - result->done);
		const int32_t status = translate(g, at, PF_WRITE | rights, &gpa, result);
		uint8_t *to;

		if (status)
			return status;
		to = guest_writable_memory_at(g, gpa, &left);
		if (!to)
			return absent(result, gpa);
		if (count > left)
			count = left;
		memcpy(to, (const uint8_t *)data + result->done, count);
		result->done += count;
	}
	return X86VCPU_OK;
}

int32_t x86vcpu_write_virtual(struct x86vcpu *vcpu, uint64_t linear, uint32_t privilege, const void *data, uint64_t len,
			      struct x86vcpu_virtual_access *result)
{
	int32_t status = len && !data ? X86VCPU_ERR_INVALID_INPUT : begin(vcpu, privilege, result);

	if (!status) {
		status = write_virtual(vcpu->guest, linear, rights_of(vcpu->guest, privilege), data, len, result);
		vcpu_release(vcpu);
	}
	return status;
}
