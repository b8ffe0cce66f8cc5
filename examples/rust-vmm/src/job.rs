// SPDX-License-Identifier: Apache-2.0
//! The job block: what scripts/run-guest asks for, as examples/vmm/job.h has it.

use core::slice;

pub const ADDRESS: u64 = 0x200_0000;
const MAGIC: u64 = 0x3142_4f4a_5550_4356; // "VCPUJOB1"
const VERSION: u32 = 2;
const MAX_FILES: usize = 32;

const TRACE: u32 = 1 << 0;
const TESTDEV: u32 = 1 << 1;
const INPUT: u32 = 1 << 2;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Linux,
    Multiboot,
    RealMode,
    Rom,
}

/// A file in the block, 4 KiB aligned. Offsets count from the block's first byte.
#[repr(C)]
struct File {
    offset: u64,
    length: u64,
    text_offset: u64,
    text_length: u64,
}

/// files[0] is the image; then the modules, or the initrd if there is one.
#[repr(C)]
pub struct Job {
    magic: u64,
    version: u32,
    kind: u32,
    total_size: u64,
    guest_memory: u64,
    host_memory: u64,
    flags: u32,
    file_count: u32,
    vcpus: u32,
    host_cpus: u32,
    reserved: u64,
    files: [File; MAX_FILES],
}
const _: () = assert!(size_of::<Job>() == 64 + 32 * MAX_FILES);

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "Linux bzImage",
            Self::Multiboot => "Multiboot",
            Self::RealMode => "real-mode image",
            Self::Rom => "PC ROM",
        }
    }
}

impl Job {
    pub fn open() -> Result<&'static Job, &'static str> {
        // SAFETY: RAM that the emulator filled and nobody writes; any bytes are a Job, and `complaint` judges them.
        let job = unsafe { &*(ADDRESS as *const Job) };
        job.complaint().map_or(Ok(job), Err)
    }

    fn complaint(&self) -> Option<&'static str> {
        if self.magic != MAGIC {
            return Some("there is none; start this through scripts/run-guest");
        }
        if self.version != VERSION {
            return Some("its version is not this program's");
        }
        if self.file_count == 0 || self.file_count as usize > MAX_FILES {
            return Some("it names no file, or too many");
        }
        if !(1..=4).contains(&self.kind) {
            return Some("unknown kind of image");
        }
        if self.vcpus != 1 || self.host_cpus != 1 || self.flags & TESTDEV != 0 {
            return Some("it asks for what this VMM has not: more than one CPU, or the test device");
        }
        if self.host_memory <= ADDRESS || self.total_size > self.host_memory - ADDRESS {
            return Some("it ends behind the host's memory");
        }
        let sound = (0..self.file_count()).all(|i| self.file_is_sound(&self.files[i]));
        (!sound).then_some("a file in it is cut short")
    }

    fn range_fits(&self, offset: u64, length: u64) -> bool {
        offset >= size_of::<Self>() as u64 && offset <= self.total_size && length <= self.total_size - offset
    }

    fn file_is_sound(&self, file: &File) -> bool {
        let text = file.text_offset == 0 || self.range_fits(file.text_offset, file.text_length);
        file.length != 0 && self.range_fits(file.offset, file.length) && text
    }

    fn bytes(&self, offset: u64, length: u64) -> &'static [u8] {
        // SAFETY: within the block, which `complaint` has checked, and never written.
        unsafe { slice::from_raw_parts((ADDRESS + offset) as *const u8, length as usize) }
    }

    pub fn kind(&self) -> Kind {
        [Kind::Linux, Kind::Multiboot, Kind::RealMode, Kind::Rom][self.kind as usize - 1]
    }

    pub fn file_count(&self) -> usize {
        self.file_count as usize
    }

    pub fn file(&self, index: usize) -> &'static [u8] {
        self.bytes(self.files[index].offset, self.files[index].length)
    }

    pub fn image(&self) -> &'static [u8] {
        self.file(0)
    }

    /// The command line of a file.
    pub fn text(&self, index: usize) -> &'static [u8] {
        match self.files[index].text_offset {
            0 => b"",
            offset => self.bytes(offset, self.files[index].text_length),
        }
    }

    /// The first address behind the block.
    pub fn end(&self) -> u64 {
        ADDRESS + self.total_size
    }

    pub fn guest_memory(&self) -> u64 {
        self.guest_memory
    }

    /// RAM of this machine, from address 0.
    pub fn host_memory(&self) -> u64 {
        self.host_memory
    }

    /// Print every exit.
    pub fn trace(&self) -> bool {
        self.flags & TRACE != 0
    }

    /// What comes in at this machine's COM1 is the guest's console input.
    pub fn has_input(&self) -> bool {
        self.flags & INPUT != 0
    }
}
