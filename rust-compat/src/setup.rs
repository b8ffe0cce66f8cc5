// SPDX-License-Identifier: Apache-2.0
//! A setup as the library takes it.

use alloc::vec::Vec;

use x86_vcpu_sys as ffi;

use crate::status::check;
use crate::{X86VcpuResult, X86VcpuSetupConfig};

/// An I/O APIC's registers come out as MMIO even when the setup does not name them.
const IO_APIC: ffi::x86vcpu_mmio_range = ffi::x86vcpu_mmio_range {
    base: 0xfec0_0000,
    size: 0x1000,
};

/// # Safety
///
/// `vcpu` is alive, and nothing else uses it; the guest memory that `config` names is mapped for as long as
/// it has this setup.
pub(crate) unsafe fn setup(vcpu: *mut ffi::x86vcpu, config: &X86VcpuSetupConfig) -> X86VcpuResult {
    let ports = ports(config);
    let mmio = mmio(config);
    let memory = memory(config);
    let raw = ffi::x86vcpu_setup_config {
        size: size_of::<ffi::x86vcpu_setup_config>() as u32,
        port_count: ports.len() as u32,
        ports: ports.as_ptr(),
        mmio: mmio.as_ptr(),
        memory: memory.as_ptr(),
        msrs: core::ptr::null(),
        mmio_count: mmio.len() as u32,
        memory_count: memory.len() as u32,
        msr_count: 0,
        passthrough_port_count: 0,
        passthrough_ports: core::ptr::null(),
        time_slice_ns: 0,
        start: ffi::X86VCPU_START_AT_ENTRY,
        flags: 0,
    };
    // SAFETY: the caller's word; the library copies the lists.
    check(unsafe { ffi::x86vcpu_setup(vcpu, &raw) })
}

fn ports(config: &X86VcpuSetupConfig) -> Vec<ffi::x86vcpu_port_range> {
    config
        .intercepted_port_ranges()
        .filter(|range| range.length != 0)
        .map(|range| ffi::x86vcpu_port_range {
            base: range.base,
            length: range.length,
        })
        .collect()
}

/// The last address of a range that does not wrap; None for an empty one.
fn last(base: u64, size: u64) -> Option<u64> {
    size.checked_sub(1).map(|more| base.saturating_add(more))
}

/// Neighbours become one range: the library takes no more than 256.
fn mmio(config: &X86VcpuSetupConfig) -> Vec<ffi::x86vcpu_mmio_range> {
    let mut ranges: Vec<(u64, u64)> = config
        .intercepted_mmio_ranges()
        .filter_map(|range| {
            let base = range.base.as_usize() as u64;
            Some((base, last(base, range.size as u64)?))
        })
        .collect();
    ranges.push((IO_APIC.base, IO_APIC.base + IO_APIC.size - 1));
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (base, end) in ranges {
        match merged.last_mut() {
            Some((_, before)) if base <= before.saturating_add(1) => *before = end.max(*before),
            _ => merged.push((base, end)),
        }
    }
    // All 2^64 addresses have no size.
    let size = |base: u64, end: u64| (end - base).saturating_add(1);
    merged
        .iter()
        .map(|&(base, end)| ffi::x86vcpu_mmio_range {
            base,
            size: size(base, end),
        })
        .collect()
}

/// What is not in the list, or does not fit into it, the library reads with read_guest_u8.
fn memory(config: &X86VcpuSetupConfig) -> Vec<ffi::x86vcpu_memory_region> {
    config
        .guest_memory_regions
        .iter()
        .filter(|region| region.hva.as_usize() != 0)
        .filter_map(|region| {
            let gpa = region.gpa.as_usize() as u64;
            let size = last(gpa, region.size as u64)? - gpa;
            Some(ffi::x86vcpu_memory_region {
                gpa,
                hva: region.hva.as_mut_ptr(),
                size: size.saturating_add(1),
                flags: 0,
            })
        })
        .take(ffi::X86VCPU_MAX_MEMORY_REGIONS as usize)
        .collect()
}
