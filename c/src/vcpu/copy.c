/* SPDX-License-Identifier: Apache-2.0 */
#include "vcpu/copy.h"

#include <stdbool.h>

#include "cpu/libc.h"
#include "x86vcpu/status.h"

/* A size above is not a size, so the memory after the structure is not read. */
#define LARGEST 4096u

static bool is_zero(const uint8_t *bytes, uint64_t count)
{
	while (count && !*bytes) {
		bytes++;
		count--;
	}
	return !count;
}

int32_t copy_in(void *to, uint64_t known, const void *from, uint64_t oldest)
{
	uint32_t size;

	if (!from)
		return X86VCPU_ERR_INVALID_INPUT;
	memcpy(&size, from, sizeof(size));
	if (size < oldest || size > LARGEST)
		return X86VCPU_ERR_ABI_MISMATCH;
	if (size > known && !is_zero((const uint8_t *)from + known, size - known))
		return X86VCPU_ERR_ABI_MISMATCH;
	memset(to, 0, known);
	memcpy(to, from, size < known ? size : known);
	return X86VCPU_OK;
}
