/* SPDX-License-Identifier: Apache-2.0 */
/* Entry failures in words. */
#include "emul/entry_check.h"
#include "emul/log.h"
#include "vcpu/vcpu.h"
#include "x86vcpu/status.h"

/* "SDM 27.3.1.2: TR type (GUEST_TR_ACCESS_RIGHTS = 0x89)" */
static void describe(const struct entry_check *check, char *text, uint64_t len)
{
	uint64_t used = 0;

	log_text(text, len, &used, check->section);
	log_text(text, len, &used, ": ");
	log_text(text, len, &used, check->text);
	log_text(text, len, &used, " (");
	log_text(text, len, &used, check->field);
	log_text(text, len, &used, " = ");
	log_hex(text, len, &used, check->value);
	log_text(text, len, &used, ")");
}

int32_t x86vcpu_explain_entry_failure(struct x86vcpu *vcpu, uint32_t *check, char *text, uint64_t len)
{
	struct entry_check found;
	uint64_t used = 0;

	if (!vcpu || !check || (len && !text))
		return X86VCPU_ERR_INVALID_INPUT;
	*check = 0;
	if (len)
		text[0] = '\0';
	if (vcpu_enter_here(vcpu))
		return X86VCPU_ERR_BAD_STATE;
	if (vcpu->backend->explain(vcpu->guest, &found)) {
		*check = found.id;
		if (len)
			describe(&found, text, len);
	} else if (len) {
		log_text(text, len, &used, "none of the known checks");
	}
	return X86VCPU_OK;
}

const char *x86vcpu_entry_check_name(uint32_t check)
{
	const struct backend *backend = backend_in_use();
	const char *name = backend ? backend->entry_check_name(check) : NULL;

	return name ? name : "unknown";
}
