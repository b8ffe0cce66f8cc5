/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a CPU may have kept of translations (SDM 29.4, APM 15.16). An entry with a tag may use whatever an
 * earlier one with that tag left there; it must not find anything that has since become wrong:
 *
 *   mappings of the nested tables, when these changed (INVEPT, a new ASID),
 *   mappings of another guest under the same tag,
 *   mappings of the same guest, when it ran elsewhere meanwhile: what it invalidated there is still here.
 */
#include "machine.h"

#include <inttypes.h>

static void remember(const struct tag *new)
{
	struct tag *free = NULL;

	for (struct tag *t = cpu->tags; t < cpu->tags + MODEL_TAGS; t++) {
		if (t->valid && t->space == new->space && t->id == new->id && t->owner == new->owner) {
			*t = *new;
			return;
		}
		if (!t->valid && !free)
			free = t;
	}
	if (!free)
		free = &cpu->tags[cpu->next_tag++ % MODEL_TAGS];
	*free = *new;
}

static void check(const struct tag *kept, const struct tag *new)
{
	const bool same_space = kept->space == new->space;
	const bool svm = model->backend == MODEL_SVM;

	if (same_space && kept->generation != new->generation && (!svm || kept->id == new->id))
		complain("TLB: translations of nested table %" PRIx64 " are from before it changed", new->space);
	/* VPID 0: an entry without VPIDs drops what depends on guest addresses (SDM 29.4.3.1). */
	if (kept->id != new->id || !new->id || (!svm && !same_space))
		return;
	if (kept->owner != new->owner)
		complain("TLB: tag %" PRIu32 " has translations of another guest", new->id);
	else if (kept->epoch != new->epoch)
		complain("TLB: tag %" PRIu32 " has translations from before the guest ran on another CPU", new->id);
}

void tlb_use(uint64_t space, uint32_t id, uint64_t owner, uint64_t epoch)
{
	const struct tag new = {true, space, id, owner, epoch, model->generation};

	for (const struct tag *t = cpu->tags; t < cpu->tags + MODEL_TAGS; t++)
		if (t->valid)
			check(t, &new);
	remember(&new);
}

void tlb_flush_space(uint64_t space)
{
	for (struct tag *t = cpu->tags; t < cpu->tags + MODEL_TAGS; t++)
		if (space == UINT64_MAX || t->space == space)
			t->valid = false;
}

void tlb_flush_id(uint32_t id)
{
	for (struct tag *t = cpu->tags; t < cpu->tags + MODEL_TAGS; t++) {
		if (id != UINT32_MAX && t->id != id)
			continue;
		/* VT-x: what depends on the nested tables alone stays. */
		if (model->backend == MODEL_VMX)
			t->id = 0;
		else
			t->valid = false;
	}
}
