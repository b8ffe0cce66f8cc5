/* SPDX-License-Identifier: Apache-2.0 */
/* The choice of mitigations for a CPU, and what is in force on it. */
#include "x86vcpu/mitigation.h"

#include "vcpu/percpu.h"
#include "x86vcpu/status.h"

int32_t x86vcpu_mitigations_choose(struct x86vcpu_percpu *percpu, uint32_t mitigation, uint32_t choice)
{
	uint8_t *choices;

	if (!percpu || choice > X86VCPU_MITIGATION_ON ||
	    (mitigation >= X86VCPU_MITIGATION_COUNT && mitigation != X86VCPU_MITIGATION_ALL))
		return X86VCPU_ERR_INVALID_INPUT;
	if (mitigation != X86VCPU_MITIGATION_ALL && choice && mitigation_is_hosts(mitigation))
		return X86VCPU_ERR_UNSUPPORTED;
	if (percpu->enabled || percpu->held)
		return X86VCPU_ERR_RESOURCE_BUSY;
	choices = percpu->cpu.mitigation.choice;
	for (uint32_t i = 0; i < X86VCPU_MITIGATION_COUNT; i++)
		if ((mitigation == X86VCPU_MITIGATION_ALL && !mitigation_is_hosts(i)) || i == mitigation)
			choices[i] = (uint8_t)choice;
	return X86VCPU_OK;
}

int32_t x86vcpu_mitigations_get(const struct x86vcpu_percpu *percpu, uint32_t mitigation,
				struct x86vcpu_mitigation_state *state)
{
	const struct mitigation_cpu *cpu;

	if (!percpu || !state || mitigation >= X86VCPU_MITIGATION_COUNT)
		return X86VCPU_ERR_INVALID_INPUT;
	if (state->size != sizeof(*state))
		return X86VCPU_ERR_ABI_MISMATCH;
	cpu = &percpu->cpu.mitigation;
	*state = (struct x86vcpu_mitigation_state){
		.size = sizeof(*state),
		.mitigation = mitigation,
		.choice = cpu->choice[mitigation],
		.status = cpu->outcome[mitigation].status,
		.name = mitigation_names[mitigation],
		.text = cpu->outcome[mitigation].text ? cpu->outcome[mitigation].text : "",
	};
	return X86VCPU_OK;
}
