// SPDX-License-Identifier: Apache-2.0
//! The vCPU core on the C library x86vcpu. Put here by its scripts/swap, whose --undo takes it away.

use axvm_types::{HostPhysAddr, VmArchPerCpuOps};
pub use x86_vcpu::axvm::*;

use super::{AxvmX86HostOps, BackendResult, IrqSaveGuard, x86_result};
use crate::host::{HostMemory, default_host};

impl ContiguousFrames for AxvmX86HostOps {
    fn alloc(count: usize, align: usize) -> Option<X86HostPhysAddr> {
        let start = default_host().alloc_contiguous_frames(count, align)?;
        Some(X86HostPhysAddr::from_usize(start.as_usize()))
    }

    fn dealloc(start: X86HostPhysAddr, count: usize) {
        default_host().dealloc_contiguous_frames(HostPhysAddr::from(start.as_usize()), count);
    }
}

/// The virtualization extension on one CPU.
pub(crate) struct AxvmX86PerCpu {
    state: X86PerCpuState<AxvmX86HostOps>,
}

impl VmArchPerCpuOps for AxvmX86PerCpu {
    fn new(cpu_id: usize) -> BackendResult<Self> {
        let state = x86_result(X86PerCpuState::new(cpu_id))?;
        Ok(Self { state })
    }

    fn is_enabled(&self) -> bool {
        self.state.is_enabled()
    }

    fn hardware_enable(&mut self) -> BackendResult {
        let _irqs_off = IrqSaveGuard::new();
        x86_result(self.state.hardware_enable())
    }

    fn hardware_disable(&mut self) -> BackendResult {
        let _irqs_off = IrqSaveGuard::new();
        x86_result(self.state.hardware_disable())
    }
}
