// SPDX-License-Identifier: Apache-2.0
//! Nested page tables, which the crate leaves to its VMM: Intel's EPT (SDM 29.3.2) and AMD's, which are those of long
//! mode (APM 15.25). Permissions are at the same three bits in both, as long as nothing is without execute.

use alloc::vec::Vec;

use x86_vcpu::host::PhysFrame;
use x86_vcpu::{X86HostPhysAddr, X86NestedPagingConfig, X86NestedPagingFormat, X86VcpuResult};

use crate::host::Host;

const LEVELS: u32 = 4;
const GPA_BITS: usize = 48;
const LARGE: u64 = 1 << 7;
const EPT_WRITE_BACK: u64 = 6 << 3;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PAGE: u64 = 1 << 12;
const LARGE_PAGE: u64 = 1 << 21;

/// What the guest may do with a page.
#[derive(Clone, Copy)]
pub enum Access {
    All = 7,
    /// EPT has read and execute there, NPT present and user, writable being the bit between them.
    ReadExecute = 5,
}

pub struct NestedTables {
    /// The root first.
    frames: Vec<PhysFrame<Host>>,
    leaf: u64,
}

impl NestedTables {
    pub fn new() -> X86VcpuResult<Self> {
        let leaf = match x86_vcpu::selected_nested_paging_format()? {
            X86NestedPagingFormat::Ept => EPT_WRITE_BACK,
            X86NestedPagingFormat::Npt => 0,
        };
        let mut tables = Self {
            frames: Vec::new(),
            leaf,
        };
        tables.add_table()?;
        Ok(tables)
    }

    pub fn config(&self) -> X86NestedPagingConfig {
        X86NestedPagingConfig::new(self.root(), LEVELS as usize, GPA_BITS, 0)
    }

    fn root(&self) -> X86HostPhysAddr {
        self.frames[0].start_paddr()
    }

    fn add_table(&mut self) -> X86VcpuResult<u64> {
        let frame = PhysFrame::alloc_zero()?;
        let address = frame.start_paddr().as_usize() as u64;
        self.frames.push(frame);
        Ok(address)
    }

    /// Maps [gpa, gpa + size) to [hpa, hpa + size), in the largest pages that fit.
    pub fn map(&mut self, mut gpa: u64, mut hpa: u64, size: u64, access: Access) -> X86VcpuResult {
        let end = gpa + size;
        while gpa < end {
            let large = gpa % LARGE_PAGE == 0 && hpa % LARGE_PAGE == 0 && end - gpa >= LARGE_PAGE;
            let (level, page, bits) = if large {
                (1, LARGE_PAGE, LARGE)
            } else {
                (0, PAGE, 0)
            };
            // SAFETY: an entry of our tables, which no CPU uses yet.
            unsafe { *self.entry(gpa, level)? = hpa | access as u64 | self.leaf | bits };
            gpa += page;
            hpa += page;
        }
        Ok(())
    }

    /// The entry for `gpa` in its table of `level`, 0 being the lowest; the tables above it are made.
    fn entry(&mut self, gpa: u64, level: u32) -> X86VcpuResult<*mut u64> {
        let mut table = self.root().as_usize() as u64;
        for above in (level..LEVELS).rev() {
            let index = gpa >> (12 + 9 * above) & 511;
            let entry = (table + 8 * index) as *mut u64;
            if above == level {
                return Ok(entry);
            }
            // SAFETY: as in `map`; physical addresses are virtual ones here.
            unsafe {
                if *entry == 0 {
                    *entry = self.add_table()? | Access::All as u64;
                }
                table = *entry & ADDRESS;
            }
        }
        unreachable!("the loop ends at `level`")
    }
}
