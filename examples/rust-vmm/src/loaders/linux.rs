// SPDX-License-Identifier: Apache-2.0
//! Linux by its 64-bit boot protocol (Documentation/arch/x86/boot.rst in the kernel's source).

use super::boot;
use crate::acpi;
use crate::bytes::{get16, get32, get64, put, put32, put64};
use crate::job::Job;
use crate::memory::Memory;

// Where the loader's own tables lie, all below 640 KiB.
const BOOT_PARAMS: u64 = 0x7000;
const PAGE_TABLES: u64 = 0x8000; // PML4, PDPT, four page directories
const COMMAND_LINE: u64 = 0x20000;
const COMMAND_LINE_MAX: u64 = 0x10000;
const LOW_MEMORY_END: u64 = 0x9fc00;
const ONE_MIB: u64 = 1 << 20;

// struct setup_header: offsets in the file and in struct boot_params.
const SETUP_SECTS: usize = 0x1f1;
const SYSSIZE: usize = 0x1f4;
const HEADER_END: usize = 0x201;
const HEADER_MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const TYPE_OF_LOADER: usize = 0x210;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const CMD_LINE_PTR: usize = 0x228;
const INITRD_ADDR_MAX: usize = 0x22c;
const XLOADFLAGS: usize = 0x236;
const CMDLINE_SIZE: usize = 0x238;
const PREF_ADDRESS: usize = 0x258;
const INIT_SIZE: usize = 0x260;
const HEADER_SIZE_MIN: usize = 0x268; // of the file
const HEADER_LIMIT: usize = 0x290; // struct boot_params has other things from here on

// The rest of struct boot_params that matters here.
const ACPI_RSDP: usize = 0x070;
const E820_ENTRIES: usize = 0x1e8;
const E820_TABLE: usize = 0x2d0;

const MAGIC_HDRS: u32 = 0x5372_6448;
const VERSION_64BIT: u16 = 0x20c;
const LOADER_UNDEFINED: u8 = 0xff;
const ENTRY_64: u64 = 0x200;

struct Kernel<'a> {
    file: &'a [u8],
    payload: &'a [u8],
    base: u64,
    /// What it needs from `base` on, before it has read the memory map, ends here.
    end: u64,
}

fn parse(file: &[u8]) -> Result<Kernel<'_>, &'static str> {
    if file.len() < HEADER_SIZE_MIN || get32(file, HEADER_MAGIC) != MAGIC_HDRS {
        return Err("not a Linux bzImage");
    }
    if get16(file, VERSION) < VERSION_64BIT || get16(file, XLOADFLAGS) & 1 == 0 {
        return Err("the kernel has no 64-bit entry");
    }
    let sectors = if file[SETUP_SECTS] == 0 {
        4
    } else {
        file[SETUP_SECTS].into()
    };
    let payload = file.get((sectors + 1) * 512..).unwrap_or(&[]);
    if payload.is_empty() || payload.len() + 15 < get32(file, SYSSIZE) as usize * 16 {
        return Err("the kernel is cut short");
    }
    let base = get64(file, PREF_ADDRESS).max(ONE_MIB);
    let size = u64::from(get32(file, INIT_SIZE)).max(payload.len() as u64);
    Ok(Kernel {
        file,
        payload,
        base,
        end: base.saturating_add(size),
    })
}

/// As high as the kernel can reach, which leaves the room above it alone.
fn place_initrd(
    kernel: &Kernel,
    initrd: &[u8],
    memory: &mut Memory,
    params: &mut [u8],
) -> Result<(), &'static str> {
    let top = memory
        .ram_size()
        .min(u64::from(get32(kernel.file, INITRD_ADDR_MAX)) + 1);
    let start = top.checked_sub(initrd.len() as u64).map(|start| start & !4095);
    let start = start
        .filter(|&start| start >= kernel.end)
        .ok_or("kernel and initrd need more memory")?;
    memory
        .write(start, initrd)
        .ok_or("kernel and initrd need more memory")?;
    put32(params, RAMDISK_IMAGE, start as u32);
    put32(params, RAMDISK_SIZE, initrd.len() as u32);
    Ok(())
}

fn place_command_line(
    kernel: &Kernel,
    text: &[u8],
    memory: &mut Memory,
    params: &mut [u8],
) -> Result<(), &'static str> {
    let length = text.len() as u64;
    if length > get32(kernel.file, CMDLINE_SIZE).into() || length >= COMMAND_LINE_MAX {
        return Err("the command line is longer than the kernel takes");
    }
    memory
        .write(COMMAND_LINE, text)
        .ok_or("the command line needs more memory")?;
    put32(params, CMD_LINE_PTR, COMMAND_LINE as u32);
    Ok(())
}

fn add_ram(params: &mut [u8], start: u64, end: u64) {
    let at = E820_TABLE + 20 * usize::from(params[E820_ENTRIES]);
    params[E820_ENTRIES] += 1;
    put64(params, at, start);
    put64(params, at + 8, end - start);
    put32(params, at + 16, 1);
}

/// The setup header goes on to where its own length byte says.
fn fill_params(kernel: &Kernel, job: &Job, memory: &mut Memory) -> Result<(), &'static str> {
    let mut params = [0; 4096];
    let end = HEADER_LIMIT.min(HEADER_MAGIC + usize::from(kernel.file[HEADER_END]));
    put(&mut params, SETUP_SECTS, &kernel.file[SETUP_SECTS..end]);
    params[TYPE_OF_LOADER] = LOADER_UNDEFINED;
    put64(&mut params, ACPI_RSDP, acpi::build(memory).unwrap_or(0));
    add_ram(&mut params, 0, LOW_MEMORY_END);
    add_ram(&mut params, ONE_MIB, memory.ram_size());
    place_command_line(kernel, job.text(0), memory, &mut params)?;
    if job.file_count() > 1 {
        place_initrd(kernel, job.file(1), memory, &mut params)?;
    }
    memory.write(BOOT_PARAMS, &params).ok_or("there is no memory")
}

/// 4 GiB one to one, in 2 MiB pages.
fn fill_page_tables(memory: &mut Memory) -> Result<(), &'static str> {
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 0x80;
    let tables = memory.slice(PAGE_TABLES, 6 * 4096).ok_or("there is no memory")?;
    put64(tables, 0, (PAGE_TABLES + 0x1000) | PRESENT_WRITABLE);
    for i in 0..4 {
        let directory = PAGE_TABLES + 0x2000 + 0x1000 * i as u64;
        put64(tables, 0x1000 + 8 * i, directory | PRESENT_WRITABLE);
    }
    for i in 0..4 * 512 {
        put64(
            tables,
            0x2000 + 8 * i,
            (i as u64) << 21 | LARGE | PRESENT_WRITABLE,
        );
    }
    Ok(())
}

pub fn load(job: &Job, memory: &mut Memory) -> Result<u64, &'static str> {
    let kernel = parse(job.image())?;
    if kernel.end > memory.ram_size() || memory.write(kernel.base, kernel.payload).is_none() {
        return Err("the kernel needs more memory");
    }
    fill_params(&kernel, job, memory)?;
    fill_page_tables(memory)?;
    let entry = (kernel.base + ENTRY_64) as u32;
    boot::long_mode(memory, entry, BOOT_PARAMS as u32, PAGE_TABLES as u32)
}
