/* SPDX-License-Identifier: Apache-2.0 */
/* The builder of nested page tables. EPT and NPT differ in the bits of an entry only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/address.h"
#include "cpu/libc.h"
#include "x86vcpu/nested.h"
#include "x86vcpu/percpu.h"
#include "x86vcpu/status.h"
#include "x86vcpu/version.h"

#define PAGE_SIZE UINT64_C(4096)
#define ENTRIES 512u
#define ADDRESS UINT64_C(0x000ffffffffff000) /* bits 51:12 of an entry */
#define LARGE (UINT64_C(1) << 7)             /* at levels 2 and 3: a page, not a table; both formats */

#define PERMISSIONS (X86VCPU_NESTED_READ | X86VCPU_NESTED_WRITE | X86VCPU_NESTED_EXECUTE)

struct nested_format {
	uint64_t present;  /* an entry without any of these maps nothing */
	uint64_t table;    /* of an entry that points to a table: it takes no right away */
	uint64_t set[3];   /* of a page, for read, write and execute: to be set ... */
	uint64_t clear[3]; /* ... and to be clear, if the page may be accessed so */
	uint64_t ignored;  /* accessed and dirty: the processor's */
	uint32_t types;    /* memory types that it has, as a set of X86VCPU_MEMORY_* */
	uint64_t type[8];
};

static const struct nested_format formats[] = {
	/* SDM 29.3.2, tables 29-1 to 29-6. */
	[X86VCPU_NESTED_EPT] = {
		.present = 7,
		.table = 7,
		.set = { 1 << 0, 1 << 1, 1 << 2 },
		.ignored = 1 << 8 | 1 << 9,
		.types = 1u << X86VCPU_MEMORY_UC | 1u << X86VCPU_MEMORY_WC | 1u << X86VCPU_MEMORY_WT |
			 1u << X86VCPU_MEMORY_WP | 1u << X86VCPU_MEMORY_WB,
		.type = {
			[X86VCPU_MEMORY_UC] = X86VCPU_MEMORY_UC << 3,
			[X86VCPU_MEMORY_WC] = X86VCPU_MEMORY_WC << 3,
			[X86VCPU_MEMORY_WT] = X86VCPU_MEMORY_WT << 3,
			[X86VCPU_MEMORY_WP] = X86VCPU_MEMORY_WP << 3,
			[X86VCPU_MEMORY_WB] = X86VCPU_MEMORY_WB << 3,
		},
	},
	/*
	 * APM 5.3.3 and 15.25.5: long-mode entries, every one of them a user's, because nested walks
	 * are user accesses.
	 */
	[X86VCPU_NESTED_NPT] = {
		.present = 1 << 0,
		.table = 1 << 0 | 1 << 1 | 1 << 2,
		.set = { 1 << 0 | 1 << 2, 1 << 1, 0 },
		.clear = { 0, 0, UINT64_C(1) << 63 },
		.ignored = 1 << 5 | 1 << 6,
		.types = 1u << X86VCPU_MEMORY_UC | 1u << X86VCPU_MEMORY_WT | 1u << X86VCPU_MEMORY_WB,
		.type = {
			[X86VCPU_MEMORY_UC] = 1 << 4 | 1 << 3, /* PCD, PWT */
			/* Which entry of the host's PAT is WT, if any, is the host's choice. UC is stricter. */
			[X86VCPU_MEMORY_WT] = 1 << 4 | 1 << 3,
			[X86VCPU_MEMORY_WB] = 0,
		},
	},
};

/* ---- Entries --------------------------------------------------------------------------------- */

/* log2 of the bytes that an entry at `level` (1 to 5) covers. */
static unsigned level_shift(unsigned level)
{
	return 12 + 9 * (level - 1);
}

static uint64_t level_size(unsigned level)
{
	return UINT64_C(1) << level_shift(level);
}

static uint64_t *entry_of(uint64_t *table, uint64_t gpa, unsigned level)
{
	return &table[gpa >> level_shift(level) & (ENTRIES - 1)];
}

static bool is_page(uint64_t entry, unsigned level)
{
	return level == 1 || (entry & LARGE);
}

/* A page at any level, without its address. */
static uint64_t page_bits(const struct nested_format *format, uint32_t permissions, uint32_t memory_type)
{
	uint64_t bits = format->type[memory_type];

	for (unsigned i = 0; i < 3; i++)
		bits |= permissions >> i & 1 ? format->set[i] : format->clear[i];
	return bits;
}

static uint32_t page_permissions(const struct nested_format *format, uint64_t entry)
{
	uint32_t permissions = 0;

	for (unsigned i = 0; i < 3; i++)
		if ((entry & format->set[i]) == format->set[i] && !(entry & format->clear[i]))
			permissions |= 1u << i;
	return permissions;
}

/* The processor may be walking these tables: one store, and what it leads to is written before. */
static void store(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

/* ---- Frames ---------------------------------------------------------------------------------- */

static const struct nested_format *format_of(const struct x86vcpu_nested_tables *t)
{
	return &formats[t->format];
}

static uint64_t *table_at(const struct x86vcpu_nested_tables *t, uint64_t entry)
{
	return t->ops->phys_to_virt(t->ctx, entry & ADDRESS);
}

/* An empty table, or 0. */
static uint64_t table_alloc(struct x86vcpu_nested_tables *t)
{
	const uint64_t hpa = t->ops->alloc_frame(t->ctx);

	if (hpa == 0)
		return 0;
	memset(table_at(t, hpa), 0, PAGE_SIZE);
	t->frames++;
	return hpa;
}

/* Frees what `entry` at `level` leads to, if that is a table, and all below. */
static void table_free(struct x86vcpu_nested_tables *t, uint64_t entry, unsigned level)
{
	uint64_t *table;

	if (!(entry & format_of(t)->present) || is_page(entry, level))
		return;
	table = table_at(t, entry);
	for (unsigned i = 0; i < ENTRIES && level > 2; i++)
		table_free(t, table[i], level - 1);
	t->ops->free_frame(t->ctx, entry & ADDRESS);
	t->frames--;
}

static bool table_is_empty(const struct x86vcpu_nested_tables *t, const uint64_t *table)
{
	for (unsigned i = 0; i < ENTRIES; i++)
		if (table[i] & format_of(t)->present)
			return false;
	return true;
}

/* ---- Changes --------------------------------------------------------------------------------- */

/* A change of [gpa, end): pages with `bits` at gpa + offset, or nothing when bits is 0. */
struct change {
	uint64_t bits;
	uint64_t offset; /* modulo 2^64 */
};

static void replace(struct x86vcpu_nested_tables *t, uint64_t *entry, unsigned level, uint64_t value)
{
	const uint64_t before = *entry;

	if (((before ^ value) & ~format_of(t)->ignored) == 0)
		return;
	store(entry, value);
	if (before & format_of(t)->present)
		t->generation++;
	table_free(t, before, level);
}

/*
 * The table that `entry` at `level` leads to, NULL without memory. A page becomes a table of pages of
 * the next size, which changes no translation.
 */
static uint64_t *descend(struct x86vcpu_nested_tables *t, uint64_t *entry, unsigned level)
{
	const uint64_t before = *entry;
	const bool present = before & format_of(t)->present;
	uint64_t *table, page, hpa;

	if (present && !is_page(before, level))
		return table_at(t, before);
	hpa = table_alloc(t);
	if (hpa == 0)
		return NULL;
	table = table_at(t, hpa);
	page = level > 2 ? before : before & ~LARGE;
	for (unsigned i = 0; i < ENTRIES && present; i++)
		table[i] = page + i * level_size(level - 1);
	store(entry, hpa | format_of(t)->table);
	return table;
}

/* Whether one entry at `level` can hold the change at gpa, which is aligned. */
static bool fits(const struct x86vcpu_nested_tables *t, const struct change *c, uint64_t gpa, unsigned level)
{
	if (c->bits == 0 || level == 1)
		return true;
	if (!t->large_executable && page_permissions(format_of(t), c->bits) & X86VCPU_NESTED_EXECUTE)
		return false;
	if (((gpa + c->offset) & (level_size(level) - 1)) != 0)
		return false;
	return (level == 2 && (t->page_sizes & X86VCPU_NESTED_2M)) ||
	       (level == 3 && (t->page_sizes & X86VCPU_NESTED_1G));
}

/* Changes [gpa, end), which one table at `level` covers. */
static int32_t change_range(struct x86vcpu_nested_tables *t, uint64_t *table, unsigned level, uint64_t gpa,
			    uint64_t end, const struct change *c)
{
	for (uint64_t next; gpa < end; gpa = next) {
		uint64_t *entry = entry_of(table, gpa, level), *child;
		const uint64_t boundary = (gpa | (level_size(level) - 1)) + 1;
		const bool whole = boundary <= end && (gpa & (level_size(level) - 1)) == 0;
		int32_t status;

		next = boundary < end ? boundary : end;
		if (whole && fits(t, c, gpa, level)) {
			replace(t, entry, level,
				c->bits ? (gpa + c->offset) | c->bits | (level > 1 ? LARGE : 0) : 0);
			continue;
		}
		if (c->bits == 0 && !(*entry & format_of(t)->present))
			continue;
		child = descend(t, entry, level);
		if (!child)
			return X86VCPU_ERR_NO_MEMORY;
		status = change_range(t, child, level - 1, gpa, next, c);
		if (c->bits == 0 && table_is_empty(t, child))
			replace(t, entry, level, 0);
		if (status != X86VCPU_OK)
			return status;
	}
	return X86VCPU_OK;
}

/* ---- Interface ------------------------------------------------------------------------------- */

/* Four levels translate 48 bits; no physical address has more than 52 (SDM 29.3.2, APM 5.3). */
static uint64_t gpa_end(const struct x86vcpu_nested_tables *t)
{
	return UINT64_C(1) << (t->levels == 4 ? 48 : 52);
}

static uint64_t hpa_end(const struct x86vcpu_nested_tables *t)
{
	return UINT64_C(1) << t->hpa_bits;
}

static bool is_ready(const struct x86vcpu_nested_tables *t)
{
	return t && t->root_hpa != 0;
}

/* Of tables that are ready. A host op may call the builder. */
static int32_t change(struct x86vcpu_nested_tables *t, uint64_t gpa, uint64_t end, const struct change *c)
{
	int32_t status;

	if (t->changing)
		return X86VCPU_ERR_RESOURCE_BUSY;
	t->changing = 1;
	status = change_range(t, table_at(t, t->root_hpa), t->levels, gpa, end, c);
	t->changing = 0;
	return status;
}

static bool range_is_valid(uint64_t start, uint64_t size, uint64_t end)
{
	return ((start | size) & (PAGE_SIZE - 1)) == 0 && size != 0 && size <= end && start <= end - size;
}

int32_t x86vcpu_nested_init(struct x86vcpu_nested_tables *tables, const struct x86vcpu_host_ops *ops,
			    void *ctx, uint32_t format, uint32_t levels, uint32_t page_sizes)
{
	uint64_t root;
	int32_t status;

	if (!tables || !ops)
		return X86VCPU_ERR_INVALID_INPUT;
	if (tables->size < sizeof(*tables) || ops->size < sizeof(*ops) ||
	    ops->abi_version != X86VCPU_ABI_VERSION)
		return X86VCPU_ERR_ABI_MISMATCH;
	if (!ops->alloc_frame || !ops->free_frame || !ops->phys_to_virt)
		return X86VCPU_ERR_INVALID_INPUT;
	if (levels != 4 && levels != 5)
		return X86VCPU_ERR_INVALID_INPUT;
	if ((page_sizes & ~(X86VCPU_NESTED_2M | X86VCPU_NESTED_1G)) || page_sizes == X86VCPU_NESTED_1G)
		return X86VCPU_ERR_INVALID_INPUT;
	if (format >= sizeof(formats) / sizeof(formats[0]))
		return X86VCPU_ERR_UNSUPPORTED;
	*tables = (struct x86vcpu_nested_tables){
		.size = tables->size,
		.format = format,
		.page_sizes = page_sizes,
		.levels = levels,
		.hpa_bits = cpu_physical_bits(),
		.ops = ops,
		.ctx = ctx,
	};
	status = x86vcpu_nested_large_executable(&tables->large_executable);
	if (status != X86VCPU_OK)
		return status;
	root = table_alloc(tables);
	if (!root)
		return X86VCPU_ERR_NO_MEMORY;
	/* A host op has called this function for them, too. */
	if (tables->root_hpa) {
		ops->free_frame(ctx, root);
		tables->frames--;
		return X86VCPU_ERR_RESOURCE_BUSY;
	}
	tables->root_hpa = root;
	return X86VCPU_OK;
}

int32_t x86vcpu_nested_map(struct x86vcpu_nested_tables *tables, uint64_t gpa, uint64_t hpa, uint64_t size,
			   uint32_t permissions, uint32_t memory_type)
{
	const uint32_t types = formats[X86VCPU_NESTED_EPT].types; /* EPT has every type that exists */
	struct change c = { .offset = hpa - gpa };

	if (!is_ready(tables) || !range_is_valid(gpa, size, gpa_end(tables)) ||
	    !range_is_valid(hpa, size, hpa_end(tables)))
		return X86VCPU_ERR_INVALID_INPUT;
	if (permissions == 0 || (permissions & ~PERMISSIONS) || memory_type > 7 || !(types >> memory_type & 1))
		return X86VCPU_ERR_INVALID_INPUT;
	if (!(permissions & X86VCPU_NESTED_READ) || !(format_of(tables)->types >> memory_type & 1))
		return X86VCPU_ERR_UNSUPPORTED;
	c.bits = page_bits(format_of(tables), permissions, memory_type);
	return change(tables, gpa, gpa + size, &c);
}

int32_t x86vcpu_nested_unmap(struct x86vcpu_nested_tables *tables, uint64_t gpa, uint64_t size)
{
	const struct change c = { .bits = 0 };

	if (!is_ready(tables) || !range_is_valid(gpa, size, gpa_end(tables)))
		return X86VCPU_ERR_INVALID_INPUT;
	return change(tables, gpa, gpa + size, &c);
}

int32_t x86vcpu_nested_lookup(const struct x86vcpu_nested_tables *tables, uint64_t gpa, uint64_t *hpa,
			      uint32_t *permissions)
{
	uint64_t entry;
	unsigned level;

	if (!is_ready(tables) || gpa >= gpa_end(tables))
		return X86VCPU_ERR_INVALID_INPUT;
	level = tables->levels;
	entry = *entry_of(table_at(tables, tables->root_hpa), gpa, level);
	while ((entry & format_of(tables)->present) && !is_page(entry, level)) {
		level--;
		entry = *entry_of(table_at(tables, entry), gpa, level);
	}
	if (!(entry & format_of(tables)->present))
		return X86VCPU_ERR_INVALID_DATA;
	if (hpa)
		*hpa = (entry & ADDRESS & ~(level_size(level) - 1)) | (gpa & (level_size(level) - 1));
	if (permissions)
		*permissions = page_permissions(format_of(tables), entry);
	return X86VCPU_OK;
}

void x86vcpu_nested_destroy(struct x86vcpu_nested_tables *tables)
{
	uint64_t root;

	if (!is_ready(tables) || tables->changing)
		return;
	root = tables->root_hpa;
	tables->root_hpa = 0;
	table_free(tables, root | format_of(tables)->table, tables->levels + 1);
}
