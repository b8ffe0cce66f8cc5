/* SPDX-License-Identifier: Apache-2.0 */
/* SDM 27.3.1.2: checks on guest segment registers. */
#include "vmx/entry_checks_internal.h"

#define ACCESS_RESERVED 0xfffe0f00u
#define SELECTOR_TI 4u

static uint64_t base(entry e, unsigned segment)
{
	return get(e, VMCS_GUEST_ES_BASE + 2 * segment);
}

static uint32_t limit(entry e, unsigned segment)
{
	return (uint32_t)get(e, VMCS_GUEST_ES_LIMIT + 2 * segment);
}

static bool v8086(entry e)
{
	return get(e, VMCS_GUEST_RFLAGS) & RFLAGS_VM;
}

/* Whether the rules for segments of protected mode are the ones for this one. */
static bool applies(entry e, rule r)
{
	return !(rights(e, r->segment) & AR_UNUSABLE) && (r->segment > X86VCPU_SEGMENT_GS || !v8086(e));
}

static bool usable(entry e, rule r)
{
	return !(rights(e, r->segment) & AR_UNUSABLE) || (r->segment <= X86VCPU_SEGMENT_GS && v8086(e));
}

static bool v8086_base(entry e, rule r)
{
	return !v8086(e) || own(e, r) == get(e, VMCS_GUEST_ES_SELECTOR + 2u * r->segment) << 4;
}

static bool v8086_limit(entry e, rule r)
{
	return !v8086(e) || own(e, r) == 0xffff;
}

static bool v8086_rights(entry e, rule r)
{
	return !v8086(e) || own(e, r) == 0xf3;
}

static bool cs_type(entry e, rule r)
{
	const uint32_t type = rights(e, r->segment) & AR_TYPE;

	return !applies(e, r) || type == 3 || type == 9 || type == 11 || type == 13 || type == 15;
}

static bool ss_type(entry e, rule r)
{
	const uint32_t type = rights(e, r->segment) & AR_TYPE;

	return !applies(e, r) || type == 3 || type == 7;
}

static bool data_accessed(entry e, rule r)
{
	return !applies(e, r) || rights(e, r->segment) & AR_TYPE_ACCESSED;
}

static bool data_readable(entry e, rule r)
{
	return !applies(e, r) || !(rights(e, r->segment) & AR_TYPE_CODE) || rights(e, r->segment) & AR_TYPE_WRITE;
}

static bool tr_type(entry e, rule r)
{
	const uint32_t type = rights(e, r->segment) & AR_TYPE;

	return type == 11 || (!ia32e(e) && type == 3);
}

static bool ldtr_type(entry e, rule r)
{
	return !applies(e, r) || (rights(e, r->segment) & AR_TYPE) == 2;
}

static bool code_or_data(entry e, rule r)
{
	return !applies(e, r) || (rights(e, r->segment) & AR_S && rights(e, r->segment) & AR_P);
}

static bool system_segment(entry e, rule r)
{
	return !applies(e, r) || (!(rights(e, r->segment) & AR_S) && rights(e, r->segment) & AR_P);
}

static bool rights_reserved(entry e, rule r)
{
	return !applies(e, r) || !(rights(e, r->segment) & ACCESS_RESERVED);
}

static bool cs_l_and_d(entry e, rule r)
{
	return !applies(e, r) || !ia32e(e) || (own(e, r) & (AR_L | AR_D)) != (AR_L | AR_D);
}

static bool ss_dpl(entry e, rule r)
{
	const uint32_t cs = rights(e, X86VCPU_SEGMENT_CS), type = cs & AR_TYPE;

	return !applies(e, r) || type == 3 || !((own(e, r) ^ cs) & AR_DPL) || type & AR_TYPE_EXPAND;
}

static bool ss_real(entry e, rule r)
{
	return !applies(e, r) || get(e, VMCS_GUEST_CR0) & CR0_PE || !(own(e, r) & AR_DPL);
}

static bool granular_low(entry e, rule r)
{
	return !applies(e, r) || (limit(e, r->segment) & 0xfff) == 0xfff || !(rights(e, r->segment) & AR_G);
}

static bool granular_high(entry e, rule r)
{
	return !applies(e, r) || !(limit(e, r->segment) >> 20) || rights(e, r->segment) & AR_G;
}

/* FS, GS, LDTR and TR have 64-bit bases. */
static bool segment_base(entry e, rule r)
{
	if (r->segment >= X86VCPU_SEGMENT_FS)
		return !applies(e, r) || entry_canonical(base(e, r->segment), e->linear_bits);
	return !applies(e, r) || !(base(e, r->segment) >> 32);
}

static bool no_ti(entry e, rule r)
{
	return !applies(e, r) || !(own(e, r) & SELECTOR_TI);
}

/* ---- The table ----------------------------------------------------------------------------------------------- */

#define OF(id, name, part, text, holds)                                                                    \
	{id, VMX_ENTRY_GUEST_AREA, X86VCPU_SEGMENT_##name, VMCS_GUEST_##name##_##part, "SDM 27.3.1.2", text, holds}

/* Ids are never used again. */
#define V8086(id, name)                                                                                     \
	OF(id, name, BASE, "virtual-8086: base", v8086_base),                                               \
	OF(id + 1, name, LIMIT, "virtual-8086: limit or access rights", v8086_limit),                       \
	OF(id + 2, name, ACCESS_RIGHTS, "virtual-8086: limit or access rights", v8086_rights)
#define GRANULARITY(id, name)                                                                               \
	OF(id, name, LIMIT, "segment granularity: G with a limit not ending in FFF", granular_low),         \
	OF(id + 1, name, LIMIT, "segment granularity: limit above 1 MiB without G", granular_high)
#define DATA(id, name)                                                                                      \
	OF(id, name, ACCESS_RIGHTS, "data segment not accessed", data_accessed),                            \
	OF(id + 1, name, ACCESS_RIGHTS, "data segment is execute-only", data_readable),                     \
	OF(id + 2, name, ACCESS_RIGHTS, "data segment: S or P", code_or_data),                              \
	OF(id + 3, name, ACCESS_RIGHTS, "data segment: reserved access rights", rights_reserved),           \
	OF(id + 4, name, BASE, "data segment base", segment_base), GRANULARITY(id + 5, name)

static const struct vmx_entry_rule rules[] = {
	OF(1220, TR, ACCESS_RIGHTS, "TR unusable", usable),
	OF(1221, TR, ACCESS_RIGHTS, "TR type", tr_type),
	OF(1222, TR, ACCESS_RIGHTS, "TR access rights", system_segment),
	OF(1223, TR, ACCESS_RIGHTS, "TR access rights", rights_reserved),
	OF(1224, TR, SELECTOR, "TR selector or base", no_ti),
	OF(1225, TR, BASE, "TR selector or base", segment_base),
	GRANULARITY(1226, TR),
	OF(1230, LDTR, ACCESS_RIGHTS, "LDTR type", ldtr_type),
	OF(1231, LDTR, ACCESS_RIGHTS, "LDTR access rights", system_segment),
	OF(1232, LDTR, ACCESS_RIGHTS, "LDTR access rights", rights_reserved),
	OF(1233, LDTR, SELECTOR, "LDTR selector or base", no_ti),
	OF(1234, LDTR, BASE, "LDTR selector or base", segment_base),
	GRANULARITY(1235, LDTR),
	V8086(1240, ES), V8086(1243, CS), V8086(1246, SS), V8086(1249, DS), V8086(1252, FS), V8086(1255, GS),
	OF(1260, CS, ACCESS_RIGHTS, "CS unusable", usable),
	OF(1261, CS, ACCESS_RIGHTS, "CS type", cs_type),
	OF(1262, CS, ACCESS_RIGHTS, "CS: S or P", code_or_data),
	OF(1263, CS, ACCESS_RIGHTS, "CS: reserved access rights", rights_reserved),
	OF(1264, CS, ACCESS_RIGHTS, "CS: L and D", cs_l_and_d),
	OF(1265, CS, BASE, "CS base", segment_base),
	GRANULARITY(1266, CS),
	OF(1270, SS, ACCESS_RIGHTS, "SS type", ss_type),
	OF(1271, SS, ACCESS_RIGHTS, "SS: S or P", code_or_data),
	OF(1272, SS, ACCESS_RIGHTS, "SS: reserved access rights", rights_reserved),
	OF(1273, SS, ACCESS_RIGHTS, "SS.DPL and CS.DPL", ss_dpl),
	OF(1274, SS, ACCESS_RIGHTS, "SS.DPL in real mode", ss_real),
	OF(1275, SS, BASE, "SS base", segment_base),
	GRANULARITY(1276, SS),
	DATA(1280, ES), DATA(1290, DS), DATA(1300, FS), DATA(1310, GS),
};

const struct vmx_entry_table vmx_entry_segments = {rules, sizeof(rules) / sizeof(rules[0])};
