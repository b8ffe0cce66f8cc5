// SPDX-License-Identifier: Apache-2.0
//! The PC's pair of 8259A (Intel's data sheet 231468): initialisation, masks, edge and level inputs, fixed priority, and
//! every EOI but the rotating ones.

const SLAVE: u16 = 0xa0; // the master is at 0x20
/// Edge or level, a byte for each chip.
pub const ELCR: u16 = 0x4d0;

const CASCADE: u32 = 2;
const SPURIOUS: u8 = 7;

const ICW1: u8 = 0x10;
const ICW1_NEED_ICW4: u8 = 0x01;
const ICW4_AUTO_EOI: u8 = 0x02;
const OCW3: u8 = 0x08;
const OCW3_READ: u8 = 0x02;
const OCW3_READ_ISR: u8 = 0x01;
const OCW2_EOI: u8 = 0x20;
const OCW2_SPECIFIC: u8 = 0x40;

/// What a chip expects at its data port.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Icw2,
    Icw3,
    Icw4,
    Mask,
}

#[derive(Clone, Copy)]
struct Chip {
    irr: u8,
    isr: u8,
    imr: u8,
    lines: u8,
    /// 1: that input is level-triggered.
    level: u8,
    /// The vector of input 0.
    base: u8,
    next: Next,
    want_icw4: bool,
    auto_eoi: bool,
    read_isr: bool,
}

impl Chip {
    /// The input that this chip would interrupt for: unmasked and above all in service.
    fn request(&self) -> Option<u32> {
        let wanted = (self.irr & !self.imr).trailing_zeros();
        (wanted < self.isr.trailing_zeros()).then_some(wanted)
    }

    fn set_line(&mut self, input: u32, high: bool) {
        let bit = 1 << input;
        if !high {
            self.irr &= !bit;
            self.lines &= !bit;
            return;
        }
        if (self.lines & bit == 0) || (self.level & bit != 0) {
            self.irr |= bit;
        }
        self.lines |= bit;
    }

    fn command(&mut self, value: u8) {
        if value & ICW1 != 0 {
            self.irr = self.lines & self.level;
            self.isr = 0;
            self.imr = 0;
            self.auto_eoi = false;
            self.read_isr = false;
            self.want_icw4 = value & ICW1_NEED_ICW4 != 0;
            self.next = Next::Icw2;
        } else if value & OCW3 != 0 {
            if value & OCW3_READ != 0 {
                self.read_isr = value & OCW3_READ_ISR != 0;
            }
        } else if value & OCW2_EOI != 0 {
            let first = self.isr & self.isr.wrapping_neg();
            self.isr &= !(if value & OCW2_SPECIFIC != 0 {
                1 << (value & 7)
            } else {
                first
            });
        }
    }

    fn data(&mut self, value: u8) {
        self.next = match self.next {
            Next::Icw2 => {
                self.base = value & 0xf8;
                Next::Icw3
            }
            // Which input the slave is on: the board has fixed that.
            Next::Icw3 if self.want_icw4 => Next::Icw4,
            Next::Icw3 => Next::Mask,
            Next::Icw4 => {
                self.auto_eoi = value & ICW4_AUTO_EOI != 0;
                Next::Mask
            }
            Next::Mask => {
                self.imr = value;
                Next::Mask
            }
        };
    }

    /// The input and its vector. One that went away leaves the spurious vector, without an ISR bit.
    fn acknowledge(&mut self) -> (Option<u32>, u8) {
        let Some(input) = self.request() else {
            return (None, self.base | SPURIOUS);
        };
        let bit = 1 << input;
        if !self.auto_eoi {
            self.isr |= bit;
        }
        if self.level & bit == 0 {
            self.irr &= !bit;
        }
        (Some(input), self.base | input as u8)
    }
}

pub struct Pic {
    chips: [Chip; 2],
}

fn chip_of(port: u16) -> usize {
    (port & !1 == SLAVE).into()
}

impl Pic {
    /// Nothing interrupts before software has programmed the vectors.
    pub fn new() -> Self {
        let chip = Chip {
            irr: 0,
            isr: 0,
            imr: 0xff,
            lines: 0,
            level: 0,
            base: 0,
            next: Next::Mask,
            want_icw4: false,
            auto_eoi: false,
            read_isr: false,
        };
        Self { chips: [chip; 2] }
    }

    /// The slave's output is the master's input 2.
    fn cascade(&mut self) {
        let high = self.chips[1].request().is_some();
        self.chips[0].set_line(CASCADE, high);
    }

    pub fn write(&mut self, port: u16, value: u8) {
        let odd = port & 1 != 0;
        if port & !1 == ELCR {
            // The rest is edge, always.
            self.chips[usize::from(odd)].level = value & if odd { 0xde } else { 0xf8 };
        } else if odd {
            self.chips[chip_of(port)].data(value);
        } else {
            self.chips[chip_of(port)].command(value);
        }
        self.cascade();
    }

    pub fn read(&self, port: u16) -> u8 {
        let odd = port & 1 != 0;
        if port & !1 == ELCR {
            return self.chips[usize::from(odd)].level;
        }
        let chip = &self.chips[chip_of(port)];
        match (odd, chip.read_isr) {
            (true, _) => chip.imr,
            (false, true) => chip.isr,
            (false, false) => chip.irr,
        }
    }

    pub fn set_line(&mut self, irq: u32, high: bool) {
        self.chips[irq as usize >> 3 & 1].set_line(irq & 7, high);
        self.cascade();
    }

    /// Whether it asks the CPU for an interrupt.
    pub fn output(&self) -> bool {
        self.chips[0].request().is_some()
    }

    /// The CPU's acknowledge: the vector.
    pub fn acknowledge(&mut self) -> u8 {
        let (input, vector) = self.chips[0].acknowledge();
        if input != Some(CASCADE) {
            return vector;
        }
        let (_, vector) = self.chips[1].acknowledge();
        // The master's input falls with the acknowledge and rises again for the next request.
        self.chips[0].set_line(CASCADE, false);
        self.cascade();
        vector
    }

    /// Whether `irq` could interrupt, were it to rise.
    pub fn unmasked(&self, irq: u32) -> bool {
        let cascaded = irq >= 8 && self.chips[0].imr & 1 << CASCADE != 0;
        !cascaded && self.chips[irq as usize >> 3 & 1].imr & 1 << (irq & 7) == 0
    }
}
