// SPDX-License-Identifier: Apache-2.0
//! What a vCPU is made of.

use alloc::vec::Vec;

use crate::{X86GuestPhysAddr, X86HostPhysAddr, X86HostVirtAddr, X86VcpuError, X86VcpuResult};

/// How many port ranges a configuration holds.
pub const X86_MAX_INTERCEPTED_PORT_RANGES: usize = x86_vcpu_sys::X86VCPU_MAX_PORT_RANGES as usize;

/// Where the local APIC is after reset.
pub const X86_LOCAL_APIC_GPA: usize = 0xfee0_0000;

/// The size of the local APIC's window.
pub const X86_LOCAL_APIC_SIZE: usize = 0x1000;

/// Nothing to choose yet when a vCPU is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct X86VcpuCreateConfig;

/// Ports that the VMM answers for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct X86InterceptedPortRange {
    /// The first one.
    pub base: u16,
    /// How many.
    pub length: u16,
}

/// Guest-physical addresses that the VMM answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X86InterceptedMmioRange {
    /// The first one.
    pub base: X86GuestPhysAddr,
    /// How many bytes.
    pub size: usize,
}

impl X86InterceptedMmioRange {
    /// Whether `addr` is in the range.
    pub const fn contains(self, addr: X86GuestPhysAddr) -> bool {
        match addr.as_usize().checked_sub(self.base.as_usize()) {
            Some(offset) => offset < self.size,
            None => false,
        }
    }
}

/// Guest memory that the host has mapped.
#[derive(Clone, Copy, Debug)]
pub struct X86GuestMemoryRegion {
    /// Its guest-physical address.
    pub gpa: X86GuestPhysAddr,
    /// Where the host has it.
    pub hva: X86HostVirtAddr,
    /// In bytes.
    pub size: usize,
}

/// Nested page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X86NestedPagingConfig {
    /// Where the root table is.
    pub root_paddr: X86HostPhysAddr,
    /// 4, or 0 for the default.
    pub levels: usize,
    /// 48, or 0 for the default.
    pub gpa_bits: usize,
    /// 0.
    pub mode: usize,
}

impl X86NestedPagingConfig {
    /// Puts the four together.
    pub const fn new(root_paddr: X86HostPhysAddr, levels: usize, gpa_bits: usize, mode: usize) -> Self {
        Self {
            root_paddr,
            levels,
            gpa_bits,
            mode,
        }
    }
}

/// What a vCPU intercepts, and where guest memory is.
#[derive(Clone, Debug)]
pub struct X86VcpuSetupConfig {
    /// Ports that the VMM answers for.
    pub intercepted_ports: [Option<X86InterceptedPortRange>; X86_MAX_INTERCEPTED_PORT_RANGES],
    /// Addresses that the VMM answers for.
    pub intercepted_mmio: Vec<X86InterceptedMmioRange>,
    /// Guest memory, from which instructions and page tables are read.
    pub guest_memory_regions: Vec<X86GuestMemoryRegion>,
}

impl Default for X86VcpuSetupConfig {
    fn default() -> Self {
        Self {
            intercepted_ports: [None; X86_MAX_INTERCEPTED_PORT_RANGES],
            intercepted_mmio: Vec::new(),
            guest_memory_regions: Vec::new(),
        }
    }
}

impl X86VcpuSetupConfig {
    /// Adds `length` ports from `base` on, unless they are in the list.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: none, or beyond port 65535; `NoMemory`: the list is full.
    pub fn add_intercepted_port_range(&mut self, base: u16, length: u16) -> X86VcpuResult {
        if length == 0 || base.checked_add(length - 1).is_none() {
            return Err(X86VcpuError::InvalidInput);
        }
        let range = X86InterceptedPortRange { base, length };
        if self.intercepted_port_ranges().any(|known| known == range) {
            return Ok(());
        }
        let free = self.intercepted_ports.iter_mut().find(|slot| slot.is_none());
        *free.ok_or(X86VcpuError::NoMemory)? = Some(range);
        Ok(())
    }

    /// The port ranges.
    pub fn intercepted_port_ranges(&self) -> impl Iterator<Item = X86InterceptedPortRange> + '_ {
        self.intercepted_ports.iter().copied().flatten()
    }

    /// Adds `size` bytes from `base` on, unless they are in the list.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: none, or beyond the end of the address space.
    pub fn add_intercepted_mmio_range(&mut self, base: X86GuestPhysAddr, size: usize) -> X86VcpuResult {
        if size == 0 || base.as_usize().checked_add(size - 1).is_none() {
            return Err(X86VcpuError::InvalidInput);
        }
        let range = X86InterceptedMmioRange { base, size };
        if !self.intercepted_mmio.contains(&range) {
            self.intercepted_mmio.push(range);
        }
        Ok(())
    }

    /// The address ranges.
    pub fn intercepted_mmio_ranges(&self) -> impl Iterator<Item = X86InterceptedMmioRange> + '_ {
        self.intercepted_mmio.iter().copied()
    }
}

/// What a walk of the guest's page tables depends on. Nothing here returns one.
#[derive(Debug)]
pub struct GuestPageWalkInfo {
    /// The entry that the walk begins with.
    pub top_entry: usize,
    /// Levels of tables.
    pub level: usize,
    /// Bits of the address per level.
    pub width: u32,
    /// The access is a user's.
    pub is_user_mode_access: bool,
    /// It is a write.
    pub is_write_access: bool,
    /// It is an instruction fetch.
    pub is_inst_fetch: bool,
    /// Large pages: CR4.PSE, or always with PAE and 4 levels.
    pub pse: bool,
    /// CR0.WP.
    pub wp: bool,
    /// EFER.NXE.
    pub nxe: bool,
    /// CR4.SMAP.
    pub is_smap_on: bool,
    /// CR4.SMEP.
    pub is_smep_on: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpa(addr: usize) -> X86GuestPhysAddr {
        X86GuestPhysAddr::from_usize(addr)
    }

    #[test]
    fn a_port_range_is_there_once() {
        let mut config = X86VcpuSetupConfig::default();
        for _ in 0..2 {
            config.add_intercepted_port_range(0x6000, 0x80).unwrap();
        }
        assert!(config.intercepted_port_ranges().eq([X86InterceptedPortRange {
            base: 0x6000,
            length: 0x80
        }]));
    }

    #[test]
    fn port_ranges_end_at_65535() {
        let mut config = X86VcpuSetupConfig::default();
        assert_eq!(
            config.add_intercepted_port_range(0x6000, 0),
            Err(X86VcpuError::InvalidInput)
        );
        assert_eq!(
            config.add_intercepted_port_range(0xfff0, 0x11),
            Err(X86VcpuError::InvalidInput)
        );
        assert_eq!(config.add_intercepted_port_range(0xfff0, 0x10), Ok(()));
    }

    #[test]
    fn sixteen_port_ranges_fit() {
        let mut config = X86VcpuSetupConfig::default();
        for index in 0..16 {
            config
                .add_intercepted_port_range(0x1000 + index * 0x10, 1)
                .unwrap();
        }
        assert_eq!(
            config.add_intercepted_port_range(0x3000, 1),
            Err(X86VcpuError::NoMemory)
        );
        assert_eq!(config.add_intercepted_port_range(0x1000, 1), Ok(()));
    }

    #[test]
    fn an_mmio_range_is_there_once() {
        let mut config = X86VcpuSetupConfig::default();
        for _ in 0..2 {
            config
                .add_intercepted_mmio_range(gpa(0x8000_0000), 0x1000)
                .unwrap();
        }
        assert!(config.intercepted_mmio_ranges().eq([X86InterceptedMmioRange {
            base: gpa(0x8000_0000),
            size: 0x1000
        }]));
    }

    #[test]
    fn mmio_ranges_do_not_wrap() {
        let mut config = X86VcpuSetupConfig::default();
        assert_eq!(
            config.add_intercepted_mmio_range(gpa(0x8000_0000), 0),
            Err(X86VcpuError::InvalidInput)
        );
        assert_eq!(
            config.add_intercepted_mmio_range(gpa(usize::MAX), 2),
            Err(X86VcpuError::InvalidInput)
        );
        assert_eq!(config.add_intercepted_mmio_range(gpa(usize::MAX), 1), Ok(()));
    }

    #[test]
    fn a_range_contains_its_bytes_only() {
        let range = X86InterceptedMmioRange {
            base: gpa(0x8000_0000),
            size: 0x1000,
        };
        assert!(range.contains(gpa(0x8000_0000)));
        assert!(range.contains(gpa(0x8000_0fff)));
        assert!(!range.contains(gpa(0x7fff_ffff)));
        assert!(!range.contains(gpa(0x8000_1000)));
    }
}
