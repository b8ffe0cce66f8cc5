// SPDX-License-Identifier: Apache-2.0
//! The virtual machine, and its run loop: the order in which a hypervisor calls the crate.

use alloc::format;
use alloc::string::{String, ToString};
use core::ffi::c_void;
use core::ptr;

use x86_vcpu::{
    X86NestedPagingFormat, X86Vcpu, X86VcpuCreateConfig, X86VcpuResult, selected_nested_paging_format,
};

use crate::board::Board;
use crate::console::say;
use crate::host::{self, Host};
use crate::job::Job;
use crate::loaders;
use crate::memory::Memory;
use crate::platform;
use crate::verdict::{End, Verdict};

/// A guest that does nothing but compute is left this often, so that its devices get on.
const TIME_SLICE: u64 = 500_000;

pub struct Machine {
    pub vcpu: X86Vcpu<Host>,
    pub board: Board,
    pub memory: Memory,
    pub job: &'static Job,
    pub exits: u64,
    end: Option<End>,
}

impl Machine {
    pub fn new(job: &'static Job) -> X86VcpuResult<Self> {
        let memory = Memory::new(job)?;
        Ok(Self {
            vcpu: X86Vcpu::new_with_config(host::VM_ID, 0, X86VcpuCreateConfig)?,
            board: Board::new(memory.ram_size(), job.has_input()),
            memory,
            job,
            exits: 0,
            end: None,
        })
    }

    pub fn exits(&self) -> u64 {
        self.exits
    }

    /// Ends the guest. The first verdict counts.
    pub fn end(&mut self, verdict: Verdict, reason: String) {
        self.end.get_or_insert((verdict, reason));
    }

    /// From the image to the verdict.
    pub fn run(&mut self) -> X86VcpuResult<End> {
        let entry = match loaders::load(self.job, &mut self.memory) {
            Ok(entry) => entry,
            Err(wrong) => return Ok((Verdict::BadImage, wrong.to_string())),
        };
        self.vcpu.set_entry((entry as usize).into())?;
        self.vcpu.set_nested_page_table(self.memory.tables.config())?;
        self.vcpu.setup(self.memory.describe()?)?;
        self.vcpu.bind()?;
        loaders::start(self.job, &mut self.vcpu);
        let slices = Slices::start()?;
        let end = self.run_to_the_end();
        drop(slices);
        self.vcpu.unbind()?;
        Ok(end)
    }

    fn run_to_the_end(&mut self) -> End {
        loop {
            if let Some(end) = self.end.take() {
                return end;
            }
            if let Err(error) = self.run_once() {
                say!("{:x?}", self.vcpu);
                return (Verdict::Broken, format!("X86Vcpu::run: {error:?}"));
            }
        }
    }

    fn run_once(&mut self) -> X86VcpuResult {
        self.board.poll();
        self.board.deliver(&mut self.vcpu)?;
        let exit = self.vcpu.run()?;
        self.exits += 1;
        if self.job.trace() {
            say!("{exit:?}");
        }
        self.handle(exit)
    }

    /// The guest has halted, and nothing that it would take is there.
    pub fn halt(&mut self) -> X86VcpuResult {
        platform::take_interrupts();
        self.board.poll();
        self.board.deliver(&mut self.vcpu)?;
        if !self.interrupts_on() {
            self.end(Verdict::Failed, "guest halted with interrupts off".to_string());
        } else if self.vcpu.has_pending_event() {
            return Ok(());
        } else if self.board.can_wake() || host::timer_is_running() {
            let _alarm = Alarm::at(self.board.deadline());
            platform::wait_for_interrupt();
        } else {
            self.end(
                Verdict::Failed,
                "guest halted and nothing can wake it".to_string(),
            );
        }
        Ok(())
    }

    /// The crate shows RFLAGS nowhere but in its Debug text.
    fn interrupts_on(&self) -> bool {
        !format!("{:?}", self.vcpu).contains("rflags_if: false")
    }
}

// ---- Timers of this machine -------------------------------------------------------------------------

/// An interrupt at a certain time; that it comes is all.
struct Alarm(Option<platform::Timer>);

unsafe extern "C" fn ring(_: *mut c_void, _: u64) -> u64 {
    0
}

impl Alarm {
    fn at(time: u64) -> Self {
        // SAFETY: the function uses nothing.
        Self(unsafe { platform::timer_start(time, ring, ptr::null_mut()) })
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(timer) = &self.0 {
            platform::timer_cancel(timer);
        }
    }
}

/// VT-x leaves the guest at the end of a time slice by itself, SVM only when this machine is interrupted.
struct Slices(Option<platform::Timer>);

unsafe extern "C" fn slice_over(_: *mut c_void, now: u64) -> u64 {
    now + TIME_SLICE
}

impl Slices {
    fn start() -> X86VcpuResult<Self> {
        if selected_nested_paging_format()? == X86NestedPagingFormat::Ept {
            return Ok(Self(None));
        }
        let first = platform::time_ns() + TIME_SLICE;
        // SAFETY: the function uses nothing.
        Ok(Self(unsafe {
            platform::timer_start(first, slice_over, ptr::null_mut())
        }))
    }
}

impl Drop for Slices {
    fn drop(&mut self) {
        drop(Alarm(self.0.take()));
    }
}
