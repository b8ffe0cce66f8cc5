/* SPDX-License-Identifier: Apache-2.0 */
#include "x86vcpu/version.h"

uint32_t x86vcpu_version(void)
{
	return (uint32_t)X86VCPU_VERSION_MAJOR << 16 | X86VCPU_VERSION_MINOR << 8 | X86VCPU_VERSION_PATCH;
}
