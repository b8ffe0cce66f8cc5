// SPDX-License-Identifier: Apache-2.0
//! How the devices are wired to each other and to the vCPU, and what they do as time goes by.

use x86_vcpu::{X86Vcpu, X86VcpuResult};

use crate::devices::{NEVER, ioapic::IoApic, kbd::Kbd, pic::Pic, pit::Pit, pm::Pm, rtc::Rtc, uart::Uart};
use crate::devices::{ioapic, pit, rtc, uart};
use crate::host::Host;
use crate::platform::{self, inb, outb};

/// The I/O APIC's, as the MADT says; the other ISA lines are at their own number.
const PIT_PIN: u32 = 2;
const CASCADE: u32 = 2;
const INPUT_PERIOD: u64 = 1_000_000;

/// This machine's serial port, where the guest's console input comes in.
const COM1: u16 = 0x3f8;

pub struct Board {
    pub pic: Pic,
    pub ioapic: IoApic,
    pub pit: Pit,
    pub uart: Uart,
    pub rtc: Rtc,
    pub kbd: Kbd,
    pub pm: Pm,
    has_input: bool,
    /// When a device has something to do without being asked; 0: to be computed anew.
    deadline: u64,
}

/// The FIFO stays off: switching it on would lose what has come already.
fn init_input() {
    let registers = [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 0x03), (4, 0x03)];
    for (register, value) in registers {
        outb(COM1 + register, value);
    }
}

impl Board {
    pub fn new(ram_size: u64, has_input: bool) -> Self {
        let now = platform::time_ns();
        if has_input {
            init_input();
        }
        Self {
            pic: Pic::new(),
            ioapic: IoApic::new(),
            pit: Pit::new(now),
            uart: Uart::new(),
            rtc: Rtc::new(ram_size, now),
            kbd: Kbd::new(),
            pm: Pm::default(),
            has_input,
            deadline: 0,
        }
    }

    /// Drives an ISA interrupt line, at the 8259As and at the I/O APIC.
    pub fn set_irq(&mut self, irq: u32, high: bool) {
        if irq < 16 && irq != CASCADE {
            self.pic.set_line(irq, high);
        }
        self.ioapic
            .set_pin(if irq == pit::IRQ { PIT_PIN } else { irq }, high);
    }

    /// An edge that nobody would take can wait until somebody looks.
    fn own_deadline(&self, now: u64) -> u64 {
        let rtc = self.rtc.deadline(now);
        if self.pic.unmasked(pit::IRQ) || self.ioapic.unmasked(PIT_PIN) {
            rtc.min(self.pit.deadline(now))
        } else {
            rtc
        }
    }

    fn poll_input(&mut self) {
        const LSR: u16 = COM1 + 5;
        while self.uart.has_room() {
            let status = inb(LSR);
            if status == 0xff || status & 1 == 0 {
                break;
            }
            self.uart.receive(inb(COM1));
        }
    }

    /// Has the next `poll` compute anew what is due.
    pub fn changed(&mut self) {
        self.deadline = 0;
    }

    /// Does what was due, if the time has come.
    pub fn poll(&mut self) {
        let now = platform::time_ns();
        if now < self.deadline {
            return;
        }
        if self.pit.take_edge(now) {
            self.set_irq(pit::IRQ, false);
            self.set_irq(pit::IRQ, true);
        }
        let rtc = self.rtc.irq(now);
        self.set_irq(rtc::IRQ, rtc);
        self.deadline = self.own_deadline(now);
        if self.has_input {
            self.poll_input();
            self.set_irq(uart::IRQ, self.uart.irq());
            self.deadline = self.deadline.min(now + INPUT_PERIOD);
        }
    }

    /// When `poll` has something to do.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Whether a device may interrupt some day without being asked.
    pub fn can_wake(&self) -> bool {
        let typing = self.has_input && self.uart.wants_input();
        typing || self.own_deadline(platform::time_ns()) != NEVER
    }

    /// Hands the interrupts that wait here to the vCPU. The crate has no INTR line: it takes the 8259As' interrupt when
    /// it is told the vector, so one is acknowledged only when nothing else waits there. When the guest ends it at the
    /// 8259A, the crate ends it in the vCPU's local APIC.
    pub fn deliver(&mut self, vcpu: &mut X86Vcpu<Host>) -> X86VcpuResult {
        while let Some(message) = self.ioapic.take_message() {
            vcpu.inject_interrupt_with_trigger(message.vector.into(), message.level)?;
        }
        if self.pic.output() && !vcpu.has_pending_event() {
            let vector = self.pic.acknowledge();
            // Vector 0, a divide error's: of a guest that has not programmed its PIC. It gets none.
            if vector != 0 {
                vcpu.inject_interrupt(vector.into())?;
            }
        }
        Ok(())
    }

    pub fn mmio_read(&self, gpa: u64) -> u64 {
        match gpa.checked_sub(ioapic::BASE) {
            Some(offset) if offset < ioapic::SIZE => self.ioapic.read(offset).into(),
            _ => u64::MAX,
        }
    }

    pub fn mmio_write(&mut self, gpa: u64, value: u64) {
        if let Some(offset) = gpa
            .checked_sub(ioapic::BASE)
            .filter(|&offset| offset < ioapic::SIZE)
        {
            self.ioapic.write(offset, value as u32);
            self.changed();
        }
    }
}
