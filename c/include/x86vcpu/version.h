/* SPDX-License-Identifier: Apache-2.0 */
/* Version of the library and of its binary interface. */
#ifndef X86VCPU_VERSION_H
#define X86VCPU_VERSION_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The build reads the version from here; it stands nowhere else. */
#define X86VCPU_VERSION_MAJOR 0
#define X86VCPU_VERSION_MINOR 1
#define X86VCPU_VERSION_PATCH 0

/*
 * Version of the host operations and of the structures that begin with their size.
 *
 * Sizes: a structure that begins with its size may grow at its end. The library takes one that is shorter than its own,
 * down to that of the first version, and reads missing members as 0. It takes a longer one when all that it does not know is 0.
 * Any other size, and one over 4096, is ABI_MISMATCH.
 */
#define X86VCPU_ABI_VERSION 1u

/* The linked library's version: major << 16 | minor << 8 | patch. Any CPU, any context. */
uint32_t x86vcpu_version(void);

#ifdef __cplusplus
}
#endif
#endif
