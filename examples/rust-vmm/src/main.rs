// SPDX-License-Identifier: Apache-2.0
//! A virtual machine monitor on the crate `x86_vcpu`, from bare metal to a running guest and back: the counterpart of
//! examples/vmm, on the same bare machine (examples/platform) and with the same guests.
//!
//! The machine and its run loop are in `machine.rs`, the exits in `exits.rs`, what the crate asks of its host in
//! `host.rs`, guest memory in `memory.rs` and `nested.rs`, the guest's first instruction in `loaders`.
#![no_std]
#![no_main]

extern crate alloc;

mod acpi;
mod board;
mod bytes;
mod console;
mod devices;
mod exits;
mod heap;
mod host;
mod job;
mod loaders;
mod machine;
mod memory;
mod nested;
mod platform;
mod ports;
mod verdict;

use alloc::format;
use core::panic::PanicInfo;

use x86_vcpu::{X86NestedPagingFormat, X86PerCpuState, X86VcpuResult};

use console::say;
use host::Host;
use job::Job;
use machine::Machine;
use verdict::{Verdict, finish};

/// Called by the platform, on the boot CPU, in 64-bit mode with IRQs off.
#[unsafe(no_mangle)]
pub extern "C" fn platform_main() -> ! {
    platform::frames_init(job::ADDRESS);
    console::init_log();
    platform::tolerate_missing_vm_cr();
    let job = Job::open().unwrap_or_else(|why| {
        say!("bad job block: {why}");
        finish(Verdict::Broken, "bad job block")
    });
    let (verdict, reason) = match run(job) {
        Ok(end) => end,
        Err(error) => (Verdict::Broken, format!("the CPU's extension: {error:?}")),
    };
    let leaked = platform::frames_in_use() - heap::frames();
    if leaked != 0 {
        say!("{leaked} frames were never given back");
        finish(Verdict::Broken, "frames were leaked");
    }
    finish(verdict, &reason)
}

fn run(job: &'static Job) -> X86VcpuResult<verdict::End> {
    x86_vcpu::initialize_hardware_support()?;
    let mut cpu = X86PerCpuState::<Host>::new(0)?;
    cpu.hardware_enable()?;
    let end = run_guest(job);
    cpu.hardware_disable()?;
    end
}

fn run_guest(job: &'static Job) -> X86VcpuResult<verdict::End> {
    let extension = match x86_vcpu::selected_nested_paging_format()? {
        X86NestedPagingFormat::Ept => "VT-x",
        X86NestedPagingFormat::Npt => "SVM",
    };
    say!(
        "Rust, {extension}, {} MHz; 1 vCPU on 1 CPU",
        platform::tsc_khz() / 1000
    );
    say!(
        "{} MiB of memory, {} of {} KiB",
        job.guest_memory() >> 20,
        job.kind().name(),
        job.image().len().div_ceil(1024)
    );
    let mut machine = Machine::new(job)?;
    let begin = platform::rdtsc();
    let end = machine.run()?;
    say!("tsc {} exits {}", platform::rdtsc() - begin, machine.exits());
    Ok(end)
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    say!("{info}");
    finish(Verdict::Broken, "the VMM panicked")
}
