// SPDX-License-Identifier: Apache-2.0
// A hosted C++ program that includes every header and calls what needs no privilege.
#include <cstring>

#include <x86vcpu/x86vcpu.h>

static_assert(sizeof(x86vcpu_exit) == 128, "as in C");

int main()
{
	x86vcpu_regs regs = {};

	x86vcpu_regs_set_ah(&regs, 0x12);
	return x86vcpu_version() == (X86VCPU_VERSION_MAJOR << 16 | X86VCPU_VERSION_MINOR << 8 | X86VCPU_VERSION_PATCH) &&
			       regs.rax == 0x1200 && !std::strcmp(x86vcpu_exit_name(X86VCPU_EXIT_HALT), "HALT") &&
			       x86vcpu_run(nullptr, nullptr) == X86VCPU_ERR_INVALID_INPUT
		       ? 0
		       : 1;
}
