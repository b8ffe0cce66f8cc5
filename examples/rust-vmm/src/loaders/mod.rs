// SPDX-License-Identifier: Apache-2.0
//! From the image to the guest's first instruction. The crate starts a vCPU in real mode only, so what wants another mode is
//! reached through a few instructions of our own (boot.rs).

mod boot;
mod linux;
mod multiboot;
mod rom;

use x86_vcpu::{X86AccessWidth, X86Vcpu};

use crate::host::Host;
use crate::job::{Job, Kind};
use crate::memory::Memory;

/// A boot sector, as a BIOS loads it.
const BOOT_SECTOR: u64 = 0x7c00;
const FIRST_HARD_DISK: usize = 0x80;
const RDX: usize = 2;

/// Copies the image to guest memory. Where the guest begins, or what is wrong.
pub fn load(job: &Job, memory: &mut Memory) -> Result<u64, &'static str> {
    match job.kind() {
        Kind::Linux => linux::load(job, memory),
        Kind::Multiboot => multiboot::load(job, memory),
        Kind::Rom => rom::load(memory),
        Kind::RealMode => memory
            .write(BOOT_SECTOR, job.image())
            .map(|()| BOOT_SECTOR)
            .ok_or("the image does not fit into memory"),
    }
}

/// The registers that the image expects, on a vCPU that is bound.
pub fn start(job: &Job, vcpu: &mut X86Vcpu<Host>) {
    if job.kind() == Kind::RealMode {
        vcpu.set_gpr(RDX, FIRST_HARD_DISK);
        vcpu.set_gpr_rsp(X86AccessWidth::Qword, BOOT_SECTOR);
    }
}
