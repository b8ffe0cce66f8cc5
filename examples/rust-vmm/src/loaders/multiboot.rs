// SPDX-License-Identifier: Apache-2.0
//! Multiboot 1 (Multiboot Specification 0.6.96): an ELF32 kernel, or one whose header says itself where it goes (flag
//! 16), entered in 32-bit protected mode without paging.

use super::boot;
use crate::bytes::{get16, get32, put, put32};
use crate::job::Job;
use crate::memory::Memory;

const HEADER_MAGIC: u32 = 0x1bad_b002;
const HEADER_SEARCH: usize = 8192;
const HEADER_ADDRESSES: u32 = 1 << 16;
/// Required features that this loader has not; video (bit 2) is let pass.
const HEADER_UNKNOWN: u32 = 0xfff8;

/// Memory, command line, modules, memory map, loader's name.
const INFO_FLAGS: u32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9;
const ONE_MIB: u64 = 1 << 20;
const LOW_MEMORY_END: u32 = 0x9fc00;

/// Everything that the kernel is told lies here, at the end of the low memory.
const AREA: u64 = 0x90000;
const AREA_SIZE: u64 = 0xf000;
const MODULES: usize = 0x80;
const RANGES: usize = 0x400;
const TEXT: usize = 0x800;

type Wrong = &'static str;
const CUT_SHORT: Wrong = "the kernel is cut short";

struct Image<'a> {
    file: &'a [u8],
    header: usize,
    entry: u32,
    /// Guest-physical, of what was loaded.
    end: u64,
}

fn find_header(file: &[u8]) -> Result<usize, Wrong> {
    let word = |at: usize, i: usize| get32(file, at + 4 * i);
    let end = file.len().saturating_sub(11).min(HEADER_SEARCH);
    let header = (0..end)
        .step_by(4)
        .find(|&at| {
            word(at, 0) == HEADER_MAGIC && word(at, 0).wrapping_add(word(at, 1)) == word(at, 2).wrapping_neg()
        })
        .ok_or("no Multiboot header")?;
    if word(header, 1) & HEADER_UNKNOWN != 0 {
        return Err("the kernel asks the boot loader for what it cannot do");
    }
    Ok(header)
}

fn overlap(start: u64, end: u64, area: u64, size: u64) -> bool {
    start < area + size && area < end
}

impl Image<'_> {
    /// Copies `in_file` bytes and clears up to `in_memory`.
    fn load_part(
        &mut self,
        memory: &mut Memory,
        offset: usize,
        gpa: u64,
        in_file: usize,
        in_memory: usize,
    ) -> Result<(), Wrong> {
        let data = offset
            .checked_add(in_file)
            .and_then(|end| self.file.get(offset..end))
            .ok_or(CUT_SHORT)?;
        let size = in_memory.max(in_file) as u64;
        let end = gpa + size;
        let taken = overlap(gpa, end, AREA, AREA_SIZE) || overlap(gpa, end, boot::AT, boot::SIZE);
        let to = memory
            .slice(gpa, size)
            .filter(|_| !taken)
            .ok_or("the kernel loads to where there is no room")?;
        to[..in_file].copy_from_slice(data);
        to[in_file..].fill(0);
        self.end = self.end.max(end);
        Ok(())
    }

    fn load_by_header(&mut self, memory: &mut Memory) -> Result<(), Wrong> {
        let word = |i: usize| get32(self.file, self.header + 4 * i);
        if self.file.len() - self.header < 32 {
            return Err(CUT_SHORT);
        }
        let (own, load, load_end, bss_end) = (word(3), word(4), word(5), word(6));
        self.entry = word(7);
        let before = own.checked_sub(load).map(|before| before as usize);
        let (Some(before), true, true) = (
            before.filter(|&before| before <= self.header),
            load_end == 0 || load_end >= load,
            bss_end == 0 || bss_end >= load,
        ) else {
            return Err("the addresses in the Multiboot header contradict each other");
        };
        let offset = self.header - before;
        let in_file = if load_end == 0 {
            self.file.len() - offset
        } else {
            (load_end - load) as usize
        };
        let in_memory = bss_end.saturating_sub(load) as usize;
        self.load_part(memory, offset, load.into(), in_file, in_memory)
    }

    fn load_elf(&mut self, memory: &mut Memory) -> Result<(), Wrong> {
        let file = self.file;
        if file.len() < 52 || file[..5] != *b"\x7fELF\x01" || get16(file, 18) != 3 {
            return Err("not an ELF32 file for the 80386");
        }
        self.entry = get32(file, 24);
        let table = get32(file, 28) as usize;
        let (size, count) = (usize::from(get16(file, 42)), usize::from(get16(file, 44)));
        if size < 32 || count == 0 || table + size * count > file.len() {
            return Err(CUT_SHORT);
        }
        for at in (table..table + size * count).step_by(size) {
            let word = |i: usize| get32(file, at + 4 * i);
            if word(0) == 1 && word(5) != 0 {
                let (in_file, in_memory) = (word(4) as usize, word(5) as usize);
                self.load_part(memory, word(1) as usize, word(3).into(), in_file, in_memory)?;
            }
        }
        Ok(())
    }
}

/// What the kernel is told, before it is copied to its place.
struct Info {
    bytes: [u8; AREA_SIZE as usize],
    used: usize,
}

impl Info {
    fn add_text(&mut self, text: &[u8]) -> Result<u32, Wrong> {
        let at = self.used;
        let end = at + text.len() + 1;
        let room = self
            .bytes
            .get_mut(at..end)
            .ok_or("the command lines are too long")?;
        room[..text.len()].copy_from_slice(text);
        self.used = end;
        Ok(AREA as u32 + at as u32)
    }

    fn add_range(&mut self, index: usize, start: u32, end: u32) {
        let words = [20, start, 0, end - start, 0, 1];
        for (i, word) in words.into_iter().enumerate() {
            put32(&mut self.bytes, RANGES + 24 * index + 4 * i, word);
        }
    }

    fn add_modules(&mut self, job: &Job, memory: &mut Memory, mut end: u64) -> Result<(), Wrong> {
        for i in 1..job.file_count() {
            let module = job.file(i);
            end = end.next_multiple_of(4096);
            memory
                .write(end, module)
                .ok_or("kernel and modules need more memory")?;
            let start = end;
            end += module.len() as u64;
            let words = [start as u32, end as u32, self.add_text(job.text(i))?];
            for (n, word) in words.into_iter().enumerate() {
                put32(&mut self.bytes, MODULES + 16 * (i - 1) + 4 * n, word);
            }
        }
        Ok(())
    }

    fn fill(&mut self, job: &Job, memory: &mut Memory, end: u64) -> Result<(), Wrong> {
        let ram_size = memory.ram_size();
        self.add_range(0, 0, LOW_MEMORY_END);
        self.add_range(1, ONE_MIB as u32, ram_size as u32);
        let name = self.add_text(b"x86vcpu")?;
        let command_line = self.add_text(job.text(0))?;
        self.add_modules(job, memory, end.max(ONE_MIB))?;
        let words = [
            (0, INFO_FLAGS),
            (1, LOW_MEMORY_END / 1024),
            (2, ((ram_size - ONE_MIB) / 1024) as u32),
            (4, command_line),
            (5, job.file_count() as u32 - 1),
            (6, AREA as u32 + MODULES as u32),
            (11, 48),
            (12, AREA as u32 + RANGES as u32),
            (16, name),
        ];
        for (index, word) in words {
            put32(&mut self.bytes, 4 * index, word);
        }
        let area = memory.slice(AREA, AREA_SIZE).ok_or("there is no memory")?;
        put(area, 0, &self.bytes);
        Ok(())
    }
}

pub fn load(job: &Job, memory: &mut Memory) -> Result<u64, Wrong> {
    let file = job.image();
    let header = find_header(file)?;
    let mut image = Image {
        file,
        header,
        entry: 0,
        end: 0,
    };
    if get32(file, header + 4) & HEADER_ADDRESSES != 0 {
        image.load_by_header(memory)?;
    } else {
        image.load_elf(memory)?;
    }
    let mut info = alloc::boxed::Box::new(Info {
        bytes: [0; AREA_SIZE as usize],
        used: TEXT,
    });
    info.fill(job, memory, image.end)?;
    boot::protected_mode(memory, image.entry, AREA as u32)
}
