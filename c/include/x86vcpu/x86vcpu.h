/* SPDX-License-Identifier: Apache-2.0 */
/* x86vcpu: the vCPU core of an x86-64 hypervisor. This header includes all the others. */
#ifndef X86VCPU_X86VCPU_H
#define X86VCPU_X86VCPU_H

#include "x86vcpu/apic.h"
#include "x86vcpu/debug.h"
#include "x86vcpu/exit.h"
#include "x86vcpu/host.h"
#include "x86vcpu/machine.h"
#include "x86vcpu/mitigation.h"
#include "x86vcpu/msr.h"
#include "x86vcpu/nested.h"
#include "x86vcpu/percpu.h"
#include "x86vcpu/regs.h"
#include "x86vcpu/save.h"
#include "x86vcpu/status.h"
#include "x86vcpu/svm.h"
#include "x86vcpu/vcpu.h"
#include "x86vcpu/version.h"
#include "x86vcpu/vmx.h"

#endif
