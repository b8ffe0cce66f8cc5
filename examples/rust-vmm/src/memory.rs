// SPDX-License-Identifier: Apache-2.0
//! Guest-physical memory: RAM from 0, and a ROM that ends at 4 GiB. All else is a device's, or nobody's.

use alloc::vec;
use core::slice;

use x86_vcpu::{X86GuestMemoryRegion, X86HostVirtAddr, X86VcpuError, X86VcpuResult, X86VcpuSetupConfig};

use crate::job::{Job, Kind};
use crate::nested::{Access, NestedTables};

const TWO_MIB: u64 = 0x20_0000;
const FOUR_GIB: u64 = 1 << 32;
const GPA_BITS: u32 = 48;

pub struct Memory {
    pub tables: NestedTables,
    /// Of this machine, behind the job block.
    ram: u64,
    ram_size: u64,
    rom: &'static [u8],
}

impl Memory {
    /// At a multiple of 2 MiB, so that the nested tables get by with large pages.
    pub fn new(job: &Job) -> X86VcpuResult<Self> {
        let ram = job.end().next_multiple_of(TWO_MIB);
        let ram_size = job.guest_memory();
        if ram_size < TWO_MIB || ram_size % 4096 != 0 || ram + ram_size > job.host_memory() {
            return Err(X86VcpuError::NoMemory);
        }
        let rom: &[u8] = if job.kind() == Kind::Rom { job.image() } else { &[] };
        let mut memory = Self {
            tables: NestedTables::new()?,
            ram,
            ram_size,
            rom,
        };
        memory.slice(0, ram_size).ok_or(X86VcpuError::NoMemory)?.fill(0);
        memory.tables.map(0, ram, ram_size, Access::All)?;
        if !rom.is_empty() {
            let (hpa, size) = (rom.as_ptr() as u64, rom.len() as u64);
            memory
                .tables
                .map(FOUR_GIB - size, hpa, size, Access::ReadExecute)?;
        }
        Ok(memory)
    }

    pub fn ram_size(&self) -> u64 {
        self.ram_size
    }

    pub fn rom(&self) -> &'static [u8] {
        self.rom
    }

    /// What the crate must know of it: where it decodes instructions, and that all that is not RAM comes out.
    pub fn describe(&self) -> X86VcpuResult<X86VcpuSetupConfig> {
        let region = |gpa: u64, hva: u64, size: u64| X86GuestMemoryRegion {
            gpa: (gpa as usize).into(),
            hva: X86HostVirtAddr::from_usize(hva as usize),
            size: size as usize,
        };
        let rom_size = self.rom.len() as u64;
        let mut config = X86VcpuSetupConfig {
            guest_memory_regions: vec![region(0, self.ram, self.ram_size)],
            ..Default::default()
        };
        if rom_size != 0 {
            let rom = region(FOUR_GIB - rom_size, self.rom.as_ptr() as u64, rom_size);
            config.guest_memory_regions.push(rom);
        }
        let hole = (1 << GPA_BITS) - self.ram_size as usize;
        config.add_intercepted_mmio_range((self.ram_size as usize).into(), hole)?;
        Ok(config)
    }

    /// RAM at [gpa, gpa + size). None when not all of it is.
    pub fn slice(&mut self, gpa: u64, size: u64) -> Option<&mut [u8]> {
        if gpa > self.ram_size || size > self.ram_size - gpa {
            return None;
        }
        // SAFETY: this RAM belongs to the guest, which does not run meanwhile: `run` borrows its machine.
        Some(unsafe { slice::from_raw_parts_mut((self.ram + gpa) as *mut u8, size as usize) })
    }

    /// Copies `data` to RAM. None when it does not fit.
    pub fn write(&mut self, gpa: u64, data: &[u8]) -> Option<()> {
        self.slice(gpa, data.len() as u64)?.copy_from_slice(data);
        Some(())
    }

    /// What a device sees there: ones where nothing is.
    pub fn read8(&mut self, gpa: u64) -> u8 {
        let in_rom = gpa
            .checked_sub(FOUR_GIB - self.rom.len() as u64)
            .and_then(|at| self.rom.get(at as usize));
        match self.slice(gpa, 1) {
            Some(byte) => byte[0],
            None => in_rom.copied().unwrap_or(0xff),
        }
    }

    pub fn write8(&mut self, gpa: u64, value: u8) {
        if let Some(byte) = self.slice(gpa, 1) {
            byte[0] = value;
        }
    }
}
