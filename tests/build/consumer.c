/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program without a C library that links the installed archive: it brings the four functions that
 * the library asks for, and no more. It refers to a vCPU's whole life, calls what needs no privilege,
 * and ends with status 0 when the answers are right.
 */
#include <x86vcpu/x86vcpu.h>

void *memcpy(void *to, const void *from, unsigned long n);
void *memmove(void *to, const void *from, unsigned long n);
void *memset(void *to, int c, unsigned long n);
int memcmp(const void *a, const void *b, unsigned long n);

void *memcpy(void *to, const void *from, unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *memmove(void *to, const void *from, unsigned long n)
{
	if ((unsigned long)to - (unsigned long)from >= n)
		return memcpy(to, from, n);
	while (n--)
		((volatile char *)to)[n] = ((const char *)from)[n];
	return to;
}

void *memset(void *to, int c, unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		((volatile char *)to)[i] = (char)c;
	return to;
}

int memcmp(const void *a, const void *b, unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		if (((const volatile unsigned char *)a)[i] != ((const unsigned char *)b)[i])
			return ((const unsigned char *)a)[i] < ((const unsigned char *)b)[i] ? -1 : 1;
	return 0;
}

/* The library has a function of this name for itself, between two of its files: each keeps to its own. */
int32_t host_ops_copy_in(const struct x86vcpu_host_ops *ops);
int32_t host_ops_copy_in(const struct x86vcpu_host_ops *ops)
{
	return ops ? 77 : 78;
}

static int names_stay_apart(void)
{
	const struct x86vcpu_create_config config = {.size = sizeof(config)};
	struct x86vcpu *vcpu;

	return x86vcpu_create(0, &config, &vcpu) == X86VCPU_ERR_INVALID_INPUT && host_ops_copy_in(0) == 78;
}

/* Never called: what it names must be in the archive, and all that those need. */
int32_t life(const struct x86vcpu_host_ops *ops, struct x86vcpu_percpu *percpu, struct x86vcpu *vcpu);
int32_t life(const struct x86vcpu_host_ops *ops, struct x86vcpu_percpu *percpu, struct x86vcpu *vcpu)
{
	const struct x86vcpu_create_config config = {.size = sizeof(config)};
	const struct x86vcpu_machine_config machine_config = {.size = sizeof(machine_config)};
	struct x86vcpu_machine *machine;
	struct x86vcpu_exit exit;

	return x86vcpu_percpu_create(ops, 0, 0, &percpu) | x86vcpu_percpu_enable(percpu) |
	       x86vcpu_machine_create(ops, 0, &machine_config, &machine) | x86vcpu_create(machine, &config, &vcpu) | x86vcpu_setup(vcpu, 0) | x86vcpu_bind(vcpu) |
	       x86vcpu_run(vcpu, &exit) | x86vcpu_complete_read(vcpu, 0) | x86vcpu_inject_nmi(vcpu) |
	       x86vcpu_unbind(vcpu) | x86vcpu_destroy(vcpu) | x86vcpu_machine_destroy(machine) | x86vcpu_percpu_disable(percpu);
}

static int answers_are_right(void)
{
	const uint32_t version = X86VCPU_VERSION_MAJOR << 16 | X86VCPU_VERSION_MINOR << 8 | X86VCPU_VERSION_PATCH;

	return x86vcpu_version() == version && x86vcpu_strerror(X86VCPU_ERR_NO_MEMORY)[0] &&
	       memcmp(x86vcpu_exit_name(X86VCPU_EXIT_HALT), "HALT", 5) == 0 &&
	       x86vcpu_destroy(0) == X86VCPU_OK && x86vcpu_bind(0) == X86VCPU_ERR_INVALID_INPUT &&
	       x86vcpu_extension() == X86VCPU_EXTENSION_NONE;
}

/* The kernel leaves the stack aligned, but there is no return address on it, which a function expects. */
_Noreturn void _start(void);
__attribute__((force_align_arg_pointer)) _Noreturn void _start(void)
{
	const long status = answers_are_right() && names_stay_apart() ? 0 : 1;

	for (;;)
		__asm__ volatile("syscall" : : "a"(60L), "D"(status) : "rcx", "r11", "memory"); /* exit */
}
