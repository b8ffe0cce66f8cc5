/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that enter.S shares with C; run.c asserts that they are right. */
#ifndef VMX_OFFSETS_H
#define VMX_OFFSETS_H

#define VMX_HOST_RSP 128
#define VMX_FIELD_HOST_RSP 0x6c14
#define VMX_ENTRY_FAIL_VALID_VALUE 1
#define VMX_ENTRY_FAIL_INVALID_VALUE 2

#endif
