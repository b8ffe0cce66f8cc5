/* SPDX-License-Identifier: Apache-2.0 */
#include "emul/mitigation.h"

#include "cpu/insn.h"
#include "cpu/switch.h"
#include "cpu/x86.h"
#include "emul/log.h"
#include "x86vcpu/msr.h"
#include "x86vcpu/status.h"

/* ---- Facts ------------------------------------------------------------------------------------------ */

/* Zeros for a leaf that the CPU does not have. */
static void read_leaf(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	insn_cpuid(leaf & 0x80000000, 0, out);
	if (out[0] < leaf || out[0] >> 31 != leaf >> 31)
		out[0] = out[1] = out[2] = out[3] = 0;
	else
		insn_cpuid(leaf, subleaf, out);
}

static uint32_t vendor_of(const uint32_t leaf0[4])
{
	switch (leaf0[1]) {
	case 0x756e6547: /* "Genu" */
		return MITIGATION_INTEL;
	case 0x68747541: /* "Auth" */
		return MITIGATION_AMD;
	case 0x6f677948: /* "Hygo" */
		return MITIGATION_HYGON;
	default:
		return MITIGATION_OTHER;
	}
}

static void read_identity(struct mitigation_facts *facts)
{
	uint32_t out[4];

	insn_cpuid(0, 0, out);
	facts->vendor = vendor_of(out);
	insn_cpuid(1, 0, out);
	facts->family = out[0] >> 8 & 0xf;
	facts->model = out[0] >> 4 & 0xf;
	facts->stepping = out[0] & 0xf;
	if (facts->family == 6 || facts->family == 0xf)
		facts->model |= out[0] >> 12 & 0xf0;
	if (facts->family == 0xf)
		facts->family += out[0] >> 20 & 0xff;
}

/* An MSR that a CPUID bit vouches for. */
static uint64_t read_if(bool exists, uint32_t msr)
{
	return exists ? insn_rdmsr(msr) : 0;
}

void mitigation_read_facts(struct mitigation_facts *facts)
{
	uint64_t *word = facts->word;
	uint32_t out[4];

	read_identity(facts);
	read_leaf(7, 0, out);
	word[MITIGATION_NOTHING] = 0;
	word[MITIGATION_7_EBX] = out[1];
	word[MITIGATION_7_EDX] = out[3];
	word[MITIGATION_7_2_EDX] = 0;
	if (out[0] >= 2) {
		read_leaf(7, 2, out);
		word[MITIGATION_7_2_EDX] = out[3];
	}
	read_leaf(0x80000008, 0, out);
	word[MITIGATION_80000008_EBX] = out[1];
	read_leaf(0x8000000a, 0, out);
	word[MITIGATION_8000000A_EDX] = out[3];
	read_leaf(0x80000021, 0, out);
	word[MITIGATION_80000021_EAX] = out[0];
	word[MITIGATION_80000021_ECX] = out[2];
	word[MITIGATION_ARCH_CAPABILITIES] = read_if(word[MITIGATION_7_EDX] & CPUID_7_EDX_ARCH_CAPABILITIES,
						     X86VCPU_MSR_IA32_ARCH_CAPABILITIES);
	word[MITIGATION_BP_CFG] = read_if(out[0] & CPUID_80000021_EAX_SRSO_MSR_FIX, X86VCPU_MSR_BP_CFG);
	word[MITIGATION_EFER] = insn_rdmsr(X86VCPU_MSR_IA32_EFER);
}

/* ---- Decisions --------------------------------------------------------------------------------------- */

static bool meets(const struct mitigation_facts *facts, const struct mitigation_bits *has,
		  const struct mitigation_bits *lacks)
{
	return (facts->word[has->word] & has->mask) == has->mask && !(facts->word[lacks->word] & lacks->mask);
}

static bool is_affected(const struct mitigation_facts *facts, uint32_t mitigation)
{
	for (uint32_t i = 0; i < mitigation_cpu_count; i++) {
		const struct mitigation_cpu_row *row = &mitigation_cpus[i];

		if (row->mitigation == mitigation && row->vendor & facts->vendor &&
		    facts->family >= row->family_first && facts->family <= row->family_last &&
		    facts->model >= row->model_first && facts->model <= row->model_last &&
		    facts->stepping >= row->stepping_first && meets(facts, &row->has, &row->lacks))
			return row->affected;
	}
	return false;
}

/* Each mitigation has a row for every CPU. */
static const struct mitigation_measure *find_measure(const struct mitigation_facts *facts, uint32_t mitigation)
{
	uint32_t i = 0;

	while (i < mitigation_measure_count - 1) {
		const struct mitigation_measure *row = &mitigation_measures[i];

		if (row->mitigation == mitigation && row->vendor & facts->vendor && facts->family <= row->family_last &&
		    meets(facts, &row->has, &row->lacks))
			break;
		i++;
	}
	return &mitigation_measures[i];
}

bool mitigation_is_hosts(uint32_t mitigation)
{
	static const struct mitigation_facts none = {.vendor = MITIGATION_OTHER};

	return find_measure(&none, mitigation)->kind == MEASURE_HOST;
}

static uint32_t status_of(const struct mitigation_measure *measure, uint32_t choice, bool affected)
{
	const bool wanted = choice == X86VCPU_MITIGATION_ON ||
			    (choice == X86VCPU_MITIGATION_AUTO && affected && measure->kind != MEASURE_IF_ON);

	if (wanted && measure->kind == MEASURE_MISSING)
		return X86VCPU_MITIGATION_MISSING;
	if (measure->kind == MEASURE_HOST)
		return affected ? X86VCPU_MITIGATION_HOST : X86VCPU_MITIGATION_NOT_AFFECTED;
	if (wanted)
		return X86VCPU_MITIGATION_ACTIVE;
	return affected ? X86VCPU_MITIGATION_INACTIVE : X86VCPU_MITIGATION_NOT_AFFECTED;
}

static const char *text_of(const struct mitigation_measure *measure, uint32_t status)
{
	switch (status) {
	case X86VCPU_MITIGATION_NOT_AFFECTED:
		return "not affected";
	case X86VCPU_MITIGATION_INACTIVE:
		return "off";
	default:
		return measure->text;
	}
}

/* SDM Vol. 4, table 2-2; APM Vol. 3, E.4.7: the MSR is there with any of its bits. */
static bool has_spec_ctrl(const struct mitigation_facts *facts)
{
	return facts->word[MITIGATION_7_EDX] & (CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_STIBP | CPUID_7_EDX_SSBD) ||
	       facts->word[MITIGATION_80000008_EBX] &
		       (CPUID_80000008_EBX_IBRS | CPUID_80000008_EBX_STIBP | CPUID_80000008_EBX_SSBD);
}

static uint64_t host_bits(uint32_t steps)
{
	return (steps & MITIGATE_IBRS ? SPEC_CTRL_IBRS : 0) | (steps & MITIGATE_BHI_DIS_S ? SPEC_CTRL_BHI_DIS_S : 0) |
	       (steps & MITIGATE_SSBD ? SPEC_CTRL_SSBD : 0);
}

uint32_t mitigation_decide(struct mitigation_cpu *cpu, const struct mitigation_facts *facts)
{
	uint32_t impossible = X86VCPU_MITIGATION_COUNT;

	cpu->steps = 0;
	for (uint32_t i = 0; i < X86VCPU_MITIGATION_COUNT; i++) {
		const struct mitigation_measure *measure = find_measure(facts, i);
		const uint32_t status = status_of(measure, cpu->choice[i], is_affected(facts, i));

		cpu->outcome[i] = (struct mitigation_outcome){status, text_of(measure, status)};
		if (status == X86VCPU_MITIGATION_ACTIVE)
			cpu->steps |= measure->steps | (cpu->choice[i] == X86VCPU_MITIGATION_ON ? measure->steps_on : 0);
		if (status == X86VCPU_MITIGATION_MISSING && cpu->choice[i] == X86VCPU_MITIGATION_ON &&
		    impossible == X86VCPU_MITIGATION_COUNT)
			impossible = i;
	}
	cpu->spec_ctrl = has_spec_ctrl(facts);
	cpu->spec_ctrl_virtual = facts->vendor & (MITIGATION_AMD | MITIGATION_HYGON) &&
				 facts->word[MITIGATION_8000000A_EDX] & CPUID_8000000A_EDX_SPEC_CTRL;
	cpu->host_bits = host_bits(cpu->steps);
	/* The longer history of Alder Lake and later (Intel, "Branch History Injection"). */
	cpu->bhb_outer = facts->model >= 0x97 ? 12 : 5;
	cpu->bhb_inner = facts->model >= 0x97 ? 7 : 5;
	return impossible;
}

/* ---- The log ------------------------------------------------------------------------------------------ */

static void add_list(char line[160], uint64_t *used, const struct mitigation_cpu *cpu, uint32_t status, const char *title)
{
	const char *separator = title;

	for (uint32_t i = 0; i < X86VCPU_MITIGATION_COUNT; i++) {
		if (cpu->outcome[i].status != status)
			continue;
		log_text(line, 160, used, separator);
		log_text(line, 160, used, mitigation_names[i]);
		separator = " ";
	}
}

/* Two lines: what is in force, and what the host should look at. */
static void log_outcome(const struct mitigation_cpu *cpu, const struct x86vcpu_host_ops *host, void *ctx)
{
	char line[160] = "";
	uint64_t used = 0;

	add_list(line, &used, cpu, X86VCPU_MITIGATION_ACTIVE, "in force: ");
	LOG(host, ctx, LOG_INFO, "mitigations ", used ? line : "in force: none");
	used = 0;
	add_list(line, &used, cpu, X86VCPU_MITIGATION_INACTIVE, "off: ");
	add_list(line, &used, cpu, X86VCPU_MITIGATION_MISSING, used ? "; the CPU lacks: " : "the CPU lacks: ");
	add_list(line, &used, cpu, X86VCPU_MITIGATION_HOST, used ? "; left to the host: " : "left to the host: ");
	if (used)
		LOG(host, ctx, LOG_INFO, "mitigations ", line);
}

int32_t mitigation_enable(struct mitigation_cpu *cpu, const struct x86vcpu_host_ops *host, void *ctx)
{
	struct mitigation_facts facts;
	uint32_t impossible;

	mitigation_read_facts(&facts);
	impossible = mitigation_decide(cpu, &facts);
	cpu->last_guest = 0;
	if (impossible == X86VCPU_MITIGATION_COUNT) {
		log_outcome(cpu, host, ctx);
		return X86VCPU_OK;
	}
	LOG(host, ctx, LOG_ERROR, "mitigation ", mitigation_names[impossible], " is ON and cannot be: ",
	    cpu->outcome[impossible].text);
	return X86VCPU_ERR_UNSUPPORTED;
}
