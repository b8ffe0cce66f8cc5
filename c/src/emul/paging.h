/* SPDX-License-Identifier: Apache-2.0 */
/* From a segment and an offset to a linear address, and from there to guest-physical memory. */
#ifndef EMUL_PAGING_H
#define EMUL_PAGING_H

#include "emul/guest.h"
#include "emul/instruction.h"

/*
 * What kind of access: PF_WRITE, PF_FETCH and PF_USER of a page fault's error code (a data read is none
 * of the first two), and whether a supervisor access is implicit, so that SMAP ignores RFLAGS.AC (SDM
 * 4.6). An implicit access is a supervisor's at any CPL.
 */
#define PAGING_IMPLICIT (1u << 31)
/* A debugger's access: no permission is checked. */
#define PAGING_UNCHECKED (1u << 30)

enum paging_status {
	PAGING_OK = 0,
	PAGING_FAULT,  /* the guest takes an exception */
	PAGING_ABSENT, /* there is no memory at a guest-physical address */
};

struct paging_fault {
	uint8_t vector; /* VECTOR_PF, VECTOR_GP, VECTOR_SS or VECTOR_AC */
	uint32_t error_code; /* PAGING_ABSENT: X86VCPU_ACCESS_* of what failed */
	uint64_t address;    /* #PF: the linear address; PAGING_ABSENT: the guest-physical one */
};

/*
 * Where `linear` leads with `access`, in *gpa. Memory of the paging structures is only read. Shadow
 * stacks and supervisor protection keys are not checked: the guest is offered neither.
 */
enum paging_status paging_translate(struct guest *g, uint64_t linear, uint32_t access, uint64_t *gpa,
				    struct paging_fault *fault);

/*
 * The same for an access that is about to be made: the entries that led there become accessed, and the last one dirty
 * by a write (SDM 4.8). They stay as they are where the library cannot write to guest memory; see x86vcpu_memory_region.
 */
enum paging_status paging_access(struct guest *g, uint64_t linear, uint32_t access, uint64_t *gpa,
				 struct paging_fault *fault);

/* The same as paging_translate, and which entries led there, in *path unless that is NULL. */
enum paging_status paging_translate_path(struct guest *g, uint64_t linear, uint32_t access, uint64_t *gpa,
					 struct paging_fault *fault, struct paging_path *path);
/* Whether the entries of `path`, of one level or more, are what they were. */
bool paging_path_holds(const struct guest *g, const struct paging_path *path);

/* PF_USER at CPL 3, else 0: the access of an instruction's own operands. */
static inline uint32_t paging_user(struct guest *g)
{
	return guest_cpl(g) == 3 ? PF_USER : 0;
}

/* Whether `linear` is canonical. True outside 64-bit mode, where linear addresses have 32 bits. */
bool paging_canonical(struct guest *g, uint64_t linear);

/* The linear address of segment:offset, wrapped as the mode wraps it. Checks nothing. */
uint64_t paging_linear(struct guest *g, unsigned segment, uint64_t offset);

/*
 * Checks what segmentation checks of `bytes` bytes at segment:offset whose linear address is `linear`:
 * type, limit, canonical form (SDM 5.3 to 5.5, 3.3.7.1). False: *fault says what the guest takes.
 */
bool paging_check_segment(struct guest *g, unsigned segment, uint64_t offset, uint64_t linear, unsigned bytes,
			  bool write, struct paging_fault *fault);

/* After PAGING_FAULT: gives the guest the exception that *fault describes. EMUL_RESUME. */
int paging_raise(struct guest *g, const struct paging_fault *fault);
/* After PAGING_ABSENT: fills guest.exit with a NESTED_PAGE_FAULT, so that the VMM can map it. EMUL_EXIT. */
int paging_report_absent(struct guest *g, const struct paging_fault *fault);

#endif
