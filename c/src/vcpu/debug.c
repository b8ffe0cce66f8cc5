/* SPDX-License-Identifier: Apache-2.0 */
/* For debuggers of a guest: memory by linear address, and what exits. */
#include "x86vcpu/debug.h"

#include "cpu/libc.h"
#include "emul/debug.h"
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

/* ---- Exits ---------------------------------------------------------------------------------------------- */

#define DEBUG_FLAGS (X86VCPU_DEBUG_STEP | X86VCPU_DEBUG_INT3 | X86VCPU_DEBUG_DB)

/* R/W 2 is an I/O port, and an instruction has LEN 0 (SDM 18.2.4). */
static bool breakpoint_ok(uint64_t dr7, unsigned n)
{
	const unsigned kind = dr7 >> (16 + 4 * n) & 3, length = dr7 >> (18 + 4 * n) & 3;

	if (!(dr7 >> 2 * n & 3))
		return true;
	return kind != 2 && (kind || !length);
}

static bool config_ok(const struct x86vcpu_debug_config *config)
{
	if (config->flags & ~DEBUG_FLAGS ||
	    config->dr7 & ~((DR7_WRITABLE & ~DR7_GD) | DR7_RESET))
		return false;
	for (unsigned n = 0; n < 4; n++)
		if (!breakpoint_ok(config->dr7, n))
			return false;
	return true;
}

static void take_config(struct guest_debug *debug, const struct x86vcpu_debug_config *config)
{
	const bool breakpoints = config->dr7 & DR7_ENABLES;

	debug->flags = config->flags;
	debug->dr7 = breakpoints ? config->dr7 : 0;
	for (unsigned n = 0; n < 4; n++)
		debug->address[n] = breakpoints ? config->address[n] : 0;
}

int32_t x86vcpu_set_debug(struct x86vcpu *vcpu, const struct x86vcpu_debug_config *config)
{
	static const struct x86vcpu_debug_config none = {.size = sizeof(none)};
	struct guest_debug old;
	int32_t status;

	if (!config)
		config = &none;
	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	if (config->size != sizeof(*config))
		return X86VCPU_ERR_ABI_MISMATCH;
	if (!config_ok(config))
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_enter_here(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	old = vcpu->guest->debug;
	take_config(&vcpu->guest->debug, config);
	status = vcpu->backend->set_debug(vcpu->guest);
	if (status) {
		vcpu->guest->debug = old;
		return status;
	}
	if (!guest_steps(vcpu->guest)) {
		vcpu->guest->debug.due &= ~X86VCPU_DEBUG_HIT_STEP;
		vcpu->guest->debug.delivering = false;
	}
	/* Interrupts may have waited for the end of stepping. */
	guest_look_again(vcpu->guest);
	return X86VCPU_OK;
}

int32_t x86vcpu_debug_reflect(struct x86vcpu *vcpu)
{
	struct guest_event *event;

	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	if (vcpu_enter_here(vcpu) || !vcpu->guest->debug.event.valid)
		return X86VCPU_ERR_BAD_STATE;
	event = &vcpu->guest->debug.event;
	if (event->type == GUEST_EVENT_EXCEPTION)
		guest_raise(vcpu->guest, event->vector, event->has_error_code, event->error_code);
	else
		guest_reinject(vcpu->guest, *event);
	event->valid = false;
	return X86VCPU_OK;
}
