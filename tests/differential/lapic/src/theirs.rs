// SPDX-License-Identifier: Apache-2.0
//! The crate's side: x86_vlapic as it is, called as x86_vcpu 0.7.1 calls it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use x86_vlapic::{EmulatedLocalApic, X86AccessWidth, X86GuestPhysAddr, X86MsrAddr};

use crate::host::{Host, world};
use crate::value::Answer;

const PAGE: usize = 0xfee0_0000;

pub struct Theirs {
    apics: Vec<EmulatedLocalApic<Host>>,
}

impl Theirs {
    pub fn new(vcpus: u32) -> Self {
        Self {
            apics: (0..vcpus as usize)
                .map(|id| EmulatedLocalApic::new(0, id))
                .collect(),
        }
    }

    /// A new local APIC in place of the old one.
    pub fn renew(&mut self, vcpu: u32, base: u64) {
        self.apics[vcpu as usize] = EmulatedLocalApic::new(0, vcpu as usize);
        let _ = self.on(vcpu).set_apic_base(base);
    }

    fn on(&self, vcpu: u32) -> &EmulatedLocalApic<Host> {
        world(|w| w.vcpu = vcpu);
        &self.apics[vcpu as usize]
    }

    pub fn read(&self, vcpu: u32, offset: u32, bytes: u32) -> Answer {
        let apic = self.on(vcpu);
        guarded(|| match apic.handle_mmio_read(address(offset), width(bytes)) {
            Ok(value) => Answer::Value(value as u64),
            Err(error) => Answer::Error(error),
        })
    }

    pub fn write(&self, vcpu: u32, offset: u32, bytes: u32, value: u64) -> Answer {
        let apic = self.on(vcpu);
        guarded(|| {
            if offset == 0xb0 {
                return Answer::Ended(apic.handle_eoi());
            }
            match apic.handle_mmio_write(address(offset), width(bytes), value as usize) {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Error(error),
            }
        })
    }

    pub fn rdmsr(&self, vcpu: u32, msr: u32) -> Answer {
        let apic = self.on(vcpu);
        if msr == 0x1b {
            return Answer::Value(apic.apic_base());
        }
        guarded(
            || match apic.handle_msr_read(X86MsrAddr::new(msr as usize), X86AccessWidth::Qword) {
                Ok(value) => Answer::Value(value as u64),
                Err(error) => Answer::Error(error),
            },
        )
    }

    pub fn wrmsr(&self, vcpu: u32, msr: u32, value: u64) -> Answer {
        let apic = self.on(vcpu);
        guarded(|| {
            if msr == 0x80b {
                return Answer::Ended(apic.handle_eoi());
            }
            let done = if msr == 0x1b {
                apic.set_apic_base(value)
            } else {
                apic.handle_msr_write(
                    X86MsrAddr::new(msr as usize),
                    X86AccessWidth::Qword,
                    value as usize,
                )
            };
            match done {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Error(error),
            }
        })
    }

    pub fn base(&self, vcpu: u32) -> u64 {
        self.on(vcpu).apic_base()
    }

    /// A register as its page shows it; not the current count, whose reading has effects (LA-22).
    pub fn register(&self, vcpu: u32, reg: u32) -> u64 {
        let x2apic = self.base(vcpu) & 0xc00 == 0xc00;
        let bytes = if reg == 0x30 && x2apic { 8 } else { 4 };
        match self.read(vcpu, reg << 4, bytes) {
            Answer::Value(value) => value,
            other => panic!("reading register {reg:#x} of the crate answers {other:?}"),
        }
    }

    pub fn accept(&self, vcpu: u32, vector: u8, level: bool) {
        self.on(vcpu).accept_interrupt(vector, level);
    }

    /// As x86_vcpu looks before it enters the guest.
    pub fn take_tick(&self, vcpu: u32) -> Option<u8> {
        self.on(vcpu).take_pending_timer_interrupt()
    }
}

fn address(offset: u32) -> X86GuestPhysAddr {
    X86GuestPhysAddr::from_usize(PAGE + offset as usize)
}

fn width(bytes: u32) -> X86AccessWidth {
    X86AccessWidth::try_from(bytes as usize).expect("1, 2, 4 or 8")
}

pub fn guarded(f: impl FnOnce() -> Answer) -> Answer {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or(Answer::Panic)
}
