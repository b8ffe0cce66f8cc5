/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A builder of nested page tables, for VMMs that have none of their own. The rest of the library
 * does not use it: a VMM that brings its tables need not link it.
 */
#ifndef X86VCPU_NESTED_H
#define X86VCPU_NESTED_H

#include <stdint.h>

#include "x86vcpu/host.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Permissions of a mapping: READ, alone or with others. Write or execute without read is UNSUPPORTED:
 * no processor can do the one, and only some the other. With NPT, a mapping without execute uses bit 63
 * of the entry, which the host must have enabled with EFER.NXE.
 */
#define X86VCPU_NESTED_READ (1u << 0)
#define X86VCPU_NESTED_WRITE (1u << 1)
#define X86VCPU_NESTED_EXECUTE (1u << 2)

/*
 * Memory types, encoded as in the PAT and in an EPT entry (SDM 29.3.7, 12.12). NPT has no types of its
 * own but goes through the host's PAT, which must hold WB in its first entry and UC in its fourth, as after reset
 * (x86vcpu_bind checks it). UC and WT select the fourth, because hosts put WT where they like; WC and WP are UNSUPPORTED.
 */
#define X86VCPU_MEMORY_UC 0u
#define X86VCPU_MEMORY_WC 1u
#define X86VCPU_MEMORY_WT 4u
#define X86VCPU_MEMORY_WP 5u
#define X86VCPU_MEMORY_WB 6u

/*
 * Page sizes that a builder may use. 4 KiB pages always may; 1 GiB pages only together with 2 MiB ones,
 * into which they are split. For EPT see bits 16 and 17 of IA32_VMX_EPT_VPID_CAP (SDM A.10).
 */
#define X86VCPU_NESTED_2M (1u << 0)
#define X86VCPU_NESTED_1G (1u << 1)

/*
 * A set of tables. The caller provides the storage and sets `size`; all else is the builder's. One
 * thread at a time. Any CPU.
 *
 * Tables that vCPUs use may be changed while none of them runs. `generation` then tells whether something
 * that was mapped has changed or gone: if it has, each of these vCPUs needs x86vcpu_flush_nested before it
 * runs again. Mappings that were added where nothing was need no flush, and no pause either.
 *
 * A host op that calls map or unmap for the tables that it was called for gets RESOURCE_BUSY, and destroy does nothing.
 */
struct x86vcpu_nested_tables {
	uint32_t size; /* sizeof(struct x86vcpu_nested_tables) */
	uint32_t format;
	uint32_t page_sizes;
	uint32_t frames; /* in use, the root included */
	uint32_t levels; /* for x86vcpu_set_nested_page_table */
	uint32_t hpa_bits; /* physical-address width of the CPU that ran x86vcpu_nested_init */
	uint32_t large_executable; /* 0: executable pages have 4 KiB */
	uint32_t changing; /* 1 while a function changes them */
	const struct x86vcpu_host_ops *ops;
	void *ctx;
	uint64_t root_hpa; /* for x86vcpu_set_nested_page_table; 0: not initialized, or destroyed */
	uint64_t generation; /* counts changes of what was mapped */
};

/*
 * Prepares empty tables of `format` (x86vcpu_nested_format) and `levels`, 4 or 5 (x86vcpu_nested_levels), with pages of
 * the sizes in `page_sizes` (X86VCPU_NESTED_2M | X86VCPU_NESTED_1G). Takes one frame for the root. Of `ops` it uses
 * alloc_frame, free_frame and phys_to_virt, now and later. On a CPU of those that will run the guest, in ring 0:
 * asks x86vcpu_nested_large_executable.
 *
 * 0
 * INVALID_INPUT  NULL, a required slot of ops is NULL, levels, page_sizes
 * ABI_MISMATCH   tables->size, ops->size or ops->abi_version
 * UNSUPPORTED    format
 * NO_MEMORY      tables->root_hpa is 0 then
 * RESOURCE_BUSY  alloc_frame or phys_to_virt has initialized them meanwhile
 */
int32_t x86vcpu_nested_init(struct x86vcpu_nested_tables *tables, const struct x86vcpu_host_ops *ops,
			    void *ctx, uint32_t format, uint32_t levels, uint32_t page_sizes);

/*
 * Maps [gpa, gpa + size) to [hpa, hpa + size) with the largest pages that fit, executable ones with pages of 4 KiB
 * where large ones are not safe (x86vcpu_nested_large_executable). A VMM that would rather spend an exit than
 * a table maps without EXECUTE, in large pages, and on a NESTED_PAGE_FAULT with X86VCPU_ACCESS_EXECUTE maps the
 * surrounding 2 MiB again with it, which splits the page. All three are
 * multiples of 4096, size is not 0; gpa + size is at most 2^48, with five levels 2^52; hpa + size is at most
 * 2^hpa_bits, the physical-address width of this host's CPUs. What was mapped there before is replaced; larger pages are split where needed. On NO_MEMORY the beginning of the range
 * may be mapped, and the rest is as it was.
 *
 * 0; INVALID_INPUT: range, permissions, memory type; UNSUPPORTED: permissions, memory type; NO_MEMORY; RESOURCE_BUSY.
 */
int32_t x86vcpu_nested_map(struct x86vcpu_nested_tables *tables, uint64_t gpa, uint64_t hpa, uint64_t size,
			   uint32_t permissions, uint32_t memory_type);

/*
 * Unmaps [gpa, gpa + size), multiples of 4096 as for map, and gives back the tables that become empty.
 * Holes are allowed. On NO_MEMORY the beginning of the range may be unmapped.
 * 0; INVALID_INPUT; NO_MEMORY: a page had to be split; RESOURCE_BUSY.
 */
int32_t x86vcpu_nested_unmap(struct x86vcpu_nested_tables *tables, uint64_t gpa, uint64_t size);

/*
 * Where `gpa` leads: *hpa with the offset in the page, *permissions. Either may be NULL.
 * 0; INVALID_INPUT; INVALID_DATA: not mapped.
 */
int32_t x86vcpu_nested_lookup(const struct x86vcpu_nested_tables *tables, uint64_t gpa, uint64_t *hpa,
			      uint32_t *permissions);

/* Frees every frame, the root included. NULL is allowed. No vCPU may use the tables any more. */
void x86vcpu_nested_destroy(struct x86vcpu_nested_tables *tables);

#ifdef __cplusplus
}
#endif
#endif
