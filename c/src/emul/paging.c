/* SPDX-License-Identifier: Apache-2.0 */
/* Walks of the guest's own page tables (SDM chapter 4), and segmentation of data accesses. */
#include "emul/paging.h"

#include "emul/context.h"
#include "emul/finish.h"

#define ENTRY_ADDRESS UINT64_C(0x000ffffffffff000)

/* A walk under way. */
struct walk {
	uint64_t linear;
	uint32_t access;
	uint64_t cr4, efer;
	uint64_t reserved; /* bits reserved at every level: no address bits, no feature */
	uint64_t all, any; /* the AND and the OR of the entries that were used */
	unsigned key;      /* protection key of the page */
	struct paging_fault *fault;
	struct paging_path *path; /* may be NULL */
	bool memo; /* the path is kept: a kind of paging of which it does not have all is left out */
};

/* The memory region that the tables are expected in: entries are read there without a search. */
struct window {
	const uint8_t *host;
	uint64_t first, size; /* `size` does not count the last bytes, where no entry would fit */
};

static uint32_t fault_code(const struct walk *w, uint32_t cause)
{
	const bool reports_fetch = w->cr4 & CR4_SMEP || (w->cr4 & CR4_PAE && w->efer & EFER_NXE);
	uint32_t code = cause | (w->access & (PF_WRITE | PF_USER));

	if (w->access & PF_FETCH && reports_fetch)
		code |= PF_FETCH;
	return code;
}

static __attribute__((noinline)) enum paging_status page_fault(const struct walk *w, uint32_t cause)
{
	*w->fault = (struct paging_fault){
		.vector = VECTOR_PF,
		.error_code = fault_code(w, cause),
		.address = w->linear,
	};
	return PAGING_FAULT;
}

/* Empty, when guest and host addresses of the region are not aligned alike. */
static struct window open_window(const struct guest *g)
{
	const struct x86vcpu_memory_region *region;

	if (g->memory_last >= g->memory_count)
		return (struct window){.size = 0};
	region = &g->memory[g->memory_last];
	if (region->size < 8 || ((uintptr_t)region->hva - region->gpa) % 8)
		return (struct window){.size = 0};
	return (struct window){region->hva, region->gpa, region->size - 7};
}

static inline uint64_t load_entry(const struct window *window, uint64_t offset)
{
	return __atomic_load_n((const uint64_t *)(const void *)(window->host + offset), __ATOMIC_RELAXED);
}

/* An entry outside the window: another region's, or the host's. */
static __attribute__((noinline)) enum paging_status search_entry(struct guest *g, const struct walk *w,
								 uint64_t gpa, unsigned bytes, uint64_t *entry)
{
	*entry = 0;
	if (guest_read_physical(g, gpa, entry, bytes) == X86VCPU_OK)
		return PAGING_OK;
	*w->fault = (struct paging_fault){.error_code = X86VCPU_ACCESS_READ, .address = gpa};
	return PAGING_ABSENT;
}

/*
 * Other CPUs may change the tables meanwhile, so an entry is read at once: `bytes` is 4 or 8, and `gpa`
 * a multiple of it.
 */
static inline enum paging_status read_entry(struct guest *g, const struct walk *w, const struct window *window,
					    uint64_t gpa, unsigned bytes, uint64_t *entry)
{
	const uint64_t offset = gpa - window->first;

	if (offset >= window->size)
		return search_entry(g, w, gpa, bytes, entry);
	if (bytes == 8)
		*entry = load_entry(window, offset);
	else
		*entry = __atomic_load_n((const uint32_t *)(const void *)(window->host + offset),
					 __ATOMIC_RELAXED);
	return PAGING_OK;
}

/* ---- Permissions (SDM 4.6) -------------------------------------------------------------------------- */

static bool fetch_allowed(const struct walk *w, bool user_page)
{
	/* Without NXE bit 63 was reserved, and a 4-byte entry does not have it. */
	if (w->any & PTE_XD)
		return false;
	if (w->access & PF_USER)
		return user_page;
	return !(user_page && w->cr4 & CR4_SMEP);
}

static bool smap_forbids(struct guest *g, const struct walk *w)
{
	if (!(w->cr4 & CR4_SMAP))
		return false;
	return w->access & PAGING_IMPLICIT || !(guest_get(g, G_RFLAGS) & RFLAGS_AC);
}

static bool data_allowed(struct guest *g, const struct walk *w, bool user_page)
{
	const bool user = w->access & PF_USER;

	if (user ? !user_page : user_page && smap_forbids(g, w))
		return false;
	if (!(w->access & PF_WRITE) || w->all & PTE_RW)
		return true;
	return !user && !(guest_get(g, G_CR0) & CR0_WP);
}

#define PKRU_ACCESS_DISABLE 1u
#define PKRU_WRITE_DISABLE 2u

/* Protection keys restrict data accesses to user pages, a supervisor's too (SDM 4.6.2). */
static __attribute__((noinline)) bool key_forbids(struct guest *g, const struct walk *w)
{
	const bool write = w->access & PF_WRITE && (w->access & PF_USER || guest_get(g, G_CR0) & CR0_WP);
	const uint32_t rights = context_pkru(g) >> (2 * w->key);

	return rights & (PKRU_ACCESS_DISABLE | (write ? PKRU_WRITE_DISABLE : 0));
}

static enum paging_status check_permissions(struct guest *g, const struct walk *w)
{
	const bool user_page = w->all & PTE_US;
	const bool allowed = w->access & PF_FETCH ? fetch_allowed(w, user_page)
						  : data_allowed(g, w, user_page);
	uint32_t cause = 0;

	if (w->access & PAGING_UNCHECKED)
		return PAGING_OK;
	if (w->cr4 & CR4_PKE && w->efer & EFER_LMA && user_page && !(w->access & PF_FETCH) && key_forbids(g, w))
		cause = PF_PROTECTION_KEY;
	return allowed && !cause ? PAGING_OK : page_fault(w, PF_PRESENT | cause);
}

static inline void add_to_path(struct paging_path *path, uint64_t at, uint64_t entry)
{
	path->at[path->levels] = at;
	path->entry[path->levels++] = entry;
}

/* ---- 32-bit paging (SDM 4.3) ------------------------------------------------------------------------ */

/* A 4 MiB page: PSE-36 keeps bits 39:32 of its address in bits 20:13; bit 21 is reserved. */
static enum paging_status map_4m(struct guest *g, const struct walk *w, uint64_t pde, uint64_t *gpa)
{
	const uint64_t high = (pde >> 13 & 0xff) << 32;

	if (pde & UINT64_C(1) << 21 || high & ~g->limits.physical_mask)
		return page_fault(w, PF_PRESENT | PF_RESERVED);
	*gpa = high | (pde & 0xffc00000) | (w->linear & 0x3fffff);
	return check_permissions(g, w);
}

static enum paging_status walk_32bit(struct guest *g, struct walk *w, uint64_t *gpa)
{
	const uint64_t directory = guest_get(g, G_CR3) & 0xfffff000;
	const uint64_t pde_at = directory + (w->linear >> 22) * 4;
	const struct window window = open_window(g);
	uint64_t pde, pte, pte_at;
	enum paging_status status;

	if (w->memo)
		w->path = NULL;
	status = read_entry(g, w, &window, pde_at, 4, &pde);
	if (status != PAGING_OK)
		return status;
	if (!(pde & PTE_P))
		return page_fault(w, 0);
	if (w->path)
		add_to_path(w->path, pde_at, pde);
	w->all = pde;
	if (pde & PTE_PS && w->cr4 & CR4_PSE)
		return map_4m(g, w, pde, gpa);
	pte_at = (pde & 0xfffff000) + (w->linear >> 12 & 0x3ff) * 4;
	status = read_entry(g, w, &window, pte_at, 4, &pte);
	if (status != PAGING_OK)
		return status;
	if (!(pte & PTE_P))
		return page_fault(w, 0);
	if (w->path)
		add_to_path(w->path, pte_at, pte);
	w->all &= pte;
	*gpa = (pte & 0xfffff000) | (w->linear & 0xfff);
	return check_permissions(g, w);
}

/* ---- PAE, 4-level and 5-level paging: tables of 512 entries of 8 bytes (SDM 4.4, 4.5) --------------- */

/* In an entry with PS = 1 that maps 1 << shift bytes: bit 12 is PAT, the rest below its address is reserved. */
static bool large_page_reserved(const struct guest *g, uint64_t entry, unsigned shift)
{
	if (shift > 30 || (shift == 30 && !g->limits.has_1g_pages))
		return true;
	return entry & ((UINT64_C(1) << shift) - 1) & ENTRY_ADDRESS & ~PTE_PAT_LARGE;
}

bool paging_path_holds(const struct guest *g, const struct paging_path *path)
{
	const struct window window = open_window(g);

	for (unsigned i = 0; i < path->levels; i++) {
		const uint64_t offset = path->at[i] - window.first;

		if (offset >= window.size)
			return false;
		if (load_entry(&window, offset) != path->entry[i])
			return false;
	}
	return true;
}

/* From the table at `table`, whose entries map 1 << shift bytes each, down to a page. */
static enum paging_status walk_tables(struct guest *g, struct walk *w, uint64_t table, unsigned shift,
				      uint64_t *gpa)
{
	const struct window window = open_window(g);
	const uint64_t linear = w->linear, reserved = w->reserved;
	uint64_t entry, offset, all = ~UINT64_C(0), any = 0;

	for (;; shift -= 9) {
		const uint64_t at = table + (linear >> shift & 0x1ff) * 8;
		const enum paging_status status = read_entry(g, w, &window, at, 8, &entry);

		if (status != PAGING_OK)
			return status;
		if (!(entry & PTE_P))
			return page_fault(w, 0);
		if (entry & reserved)
			return page_fault(w, PF_PRESENT | PF_RESERVED);
		if (w->path)
			add_to_path(w->path, at, entry);
		all &= entry;
		any |= entry;
		table = entry & ENTRY_ADDRESS;
		if (shift == 12)
			break;
		if (entry & PTE_PS) {
			if (large_page_reserved(g, entry, shift))
				return page_fault(w, PF_PRESENT | PF_RESERVED);
			break;
		}
	}
	w->all = all;
	w->any = any;
	w->key = entry >> PTE_KEY_SHIFT & 15;
	offset = (UINT64_C(1) << shift) - 1;
	*gpa = (table & ~offset) | (linear & offset);
	return check_permissions(g, w);
}

/*
 * The CPU keeps the four PDPTEs in registers, which may differ from memory (SDM 4.4.1). Where it does
 * not (nested paging, APM 15.25.10), the backend's reader fetches them, and nothing has checked them.
 */
static enum paging_status walk_pae(struct guest *g, struct walk *w, uint64_t *gpa)
{
	const uint64_t pdpte = guest_get(g, G_PDPTE0 + (w->linear >> 30 & 3));

	if (w->memo)
		w->path = NULL;
	w->reserved |= UINT64_C(0x7ff) << 52; /* 62:52, which the other modes ignore */
	if (!(pdpte & PTE_P))
		return page_fault(w, 0);
	if (pdpte & (w->reserved | PTE_XD | PDPTE_PAE_RESERVED))
		return page_fault(w, PF_PRESENT | PF_RESERVED);
	return walk_tables(g, w, pdpte & ENTRY_ADDRESS, 21, gpa);
}

static bool is_canonical(uint64_t linear, unsigned bits)
{
	return (uint64_t)((int64_t)(linear << (64 - bits)) >> (64 - bits)) == linear;
}

static enum paging_status walk_long(struct guest *g, struct walk *w, uint64_t *gpa)
{
	const unsigned shift = w->cr4 & CR4_LA57 ? 48 : 39;

	if (!is_canonical(w->linear, shift + 9)) {
		*w->fault = (struct paging_fault){.vector = VECTOR_GP, .address = w->linear};
		return PAGING_FAULT;
	}
	return walk_tables(g, w, guest_get(g, G_CR3) & ENTRY_ADDRESS, shift, gpa);
}

static enum paging_status translate(struct guest *g, uint64_t linear, uint32_t access, uint64_t *gpa,
				    struct paging_fault *fault, struct paging_path *path, bool memo)
{
	struct walk w;

	if (!(guest_get(g, G_CR0) & CR0_PG)) {
		*gpa = (uint32_t)linear;
		return PAGING_OK;
	}
	w.linear = linear;
	w.access = access & PAGING_IMPLICIT ? access & ~PF_USER : access;
	w.fault = fault;
	w.path = path;
	w.memo = memo;
	w.any = 0;
	w.efer = 0;
	w.cr4 = guest_get(g, G_CR4);
	if (!(w.cr4 & CR4_PAE)) {
		w.linear = (uint32_t)linear;
		return walk_32bit(g, &w, gpa);
	}
	w.efer = guest_get(g, G_EFER);
	w.reserved = ENTRY_ADDRESS & ~g->limits.physical_mask;
	if (!(w.efer & EFER_NXE))
		w.reserved |= PTE_XD;
	if (w.efer & EFER_LMA)
		return walk_long(g, &w, gpa);
	w.linear = (uint32_t)linear;
	return walk_pae(g, &w, gpa);
}

enum paging_status paging_translate(struct guest *g, uint64_t linear, uint32_t access, uint64_t *gpa,
				    struct paging_fault *fault)
{
	return translate(g, linear, access, gpa, fault, NULL, false);
}

enum paging_status paging_translate_path(struct guest *g, uint64_t linear, uint32_t access, uint64_t *gpa,
					 struct paging_fault *fault, struct paging_path *path)
{
	if (path)
		path->levels = 0;
	return translate(g, linear, access, gpa, fault, path, true);
}

/* ---- Accessed and dirty flags (SDM 4.8) --------------------------------------------------------------- */

/* False: another CPU has changed an entry since the walk. */
static bool set_flags(struct guest *g, const struct paging_path *path, bool write)
{
	const unsigned bytes = guest_get(g, G_CR4) & CR4_PAE ? 8 : 4;

	for (unsigned i = 0; i < path->levels; i++) {
		const uint64_t dirty = write && i == path->levels - 1 ? PTE_D : 0;
		const uint64_t entry = path->entry[i], marked = entry | PTE_A | dirty;

		if (marked != entry && !guest_update_physical(g, path->at[i], bytes, entry, marked))
			return false;
	}
	return true;
}

/* A guest that keeps changing its entries may find them unmarked, but it cannot keep the CPU here. */
#define MARK_ATTEMPTS 8

enum paging_status paging_access(struct guest *g, uint64_t linear, uint32_t access, uint64_t *gpa,
				 struct paging_fault *fault)
{
	struct paging_path path;
	enum paging_status status;

	for (unsigned i = 0; i < MARK_ATTEMPTS; i++) {
		path.levels = 0;
		status = translate(g, linear, access, gpa, fault, &path, false);
		if (status != PAGING_OK || set_flags(g, &path, access & PF_WRITE))
			break;
	}
	return status;
}

/* ---- Segmentation --------------------------------------------------------------------------------------- */

bool paging_canonical(struct guest *g, uint64_t linear)
{
	return !guest_in_64bit_mode(g) || is_canonical(linear, guest_get(g, G_CR4) & CR4_LA57 ? 57 : 48);
}

uint64_t paging_linear(struct guest *g, unsigned segment, uint64_t offset)
{
	if (!guest_in_64bit_mode(g))
		return (uint32_t)(guest_get(g, G_BASE + segment) + offset);
	/* Only FS and GS have a base there (SDM 3.4.4). */
	if (segment == X86VCPU_SEGMENT_FS || segment == X86VCPU_SEGMENT_GS)
		return guest_get(g, G_BASE + segment) + offset;
	return offset;
}

/* SDM 5.5; real mode does not look at the type. */
static bool type_allows(struct guest *g, uint64_t rights, bool write)
{
	if (!guest_in_protected_mode(g))
		return true;
	if (write)
		return !(rights & AR_TYPE_CODE) && rights & AR_TYPE_WRITE;
	return !(rights & AR_TYPE_CODE) || rights & AR_TYPE_WRITE;
}

/* SDM 5.3: an expand-down segment ends at 4 GiB or 64 KiB and begins above its limit. */
static bool within_limit(struct guest *g, unsigned segment, uint64_t rights, uint64_t offset, unsigned bytes)
{
	const uint64_t limit = guest_get(g, G_LIMIT + segment);
	const uint64_t last = offset + bytes - 1;

	if ((rights & (AR_TYPE_CODE | AR_TYPE_EXPAND)) == AR_TYPE_EXPAND)
		return offset > limit && last <= (rights & AR_D ? 0xffffffff : 0xffff);
	return last <= limit;
}

static bool segment_allows(struct guest *g, unsigned segment, uint64_t offset, unsigned bytes, bool write)
{
	const uint64_t rights = guest_get(g, G_ACCESS + segment);

	return !(rights & AR_UNUSABLE) && type_allows(g, rights, write) &&
	       within_limit(g, segment, rights, offset, bytes);
}

bool paging_check_segment(struct guest *g, unsigned segment, uint64_t offset, uint64_t linear, unsigned bytes,
			  bool write, struct paging_fault *fault)
{
	const bool allowed = guest_in_64bit_mode(g)
				     ? paging_canonical(g, linear) && paging_canonical(g, linear + bytes - 1)
				     : segment_allows(g, segment, offset, bytes, write);

	if (!allowed)
		*fault = (struct paging_fault){
			.vector = segment == X86VCPU_SEGMENT_SS ? VECTOR_SS : VECTOR_GP,
			.address = linear,
		};
	return allowed;
}

int paging_raise(struct guest *g, const struct paging_fault *fault)
{
	if (fault->vector == VECTOR_PF)
		guest_raise_page_fault(g, fault->address, fault->error_code);
	else
		guest_raise(g, fault->vector, true, fault->error_code);
	return EMUL_RESUME;
}

/* As an EPT violation saves it (SDM 28.3.3): the instruction comes again, a breakpoint on it does not. */
int paging_report_absent(struct guest *g, const struct paging_fault *fault)
{
	guest_update(g, G_RFLAGS, guest_get(g, G_RFLAGS) | RFLAGS_RF);
	return emul_report_nested_fault(g, fault->address, fault->error_code);
}
