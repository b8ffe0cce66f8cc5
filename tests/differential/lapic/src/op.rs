// SPDX-License-Identifier: Apache-2.0
//! Operations, and the generator of sequences of them.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Memory accesses at an offset of the APIC's page.
    Read {
        vcpu: u32,
        offset: u32,
        bytes: u32,
    },
    Write {
        vcpu: u32,
        offset: u32,
        bytes: u32,
        value: u64,
    },
    Rdmsr {
        vcpu: u32,
        msr: u32,
    },
    Wrmsr {
        vcpu: u32,
        msr: u32,
        value: u64,
    },
    /// The VMM has an interrupt.
    Interrupt {
        vcpu: u32,
        vector: u8,
        level: bool,
    },
    /// The guest is entered, with interrupts open.
    Enter {
        vcpu: u32,
    },
    /// Time passes, timers fire when they are due; or they are held back until the next Clock.
    Clock {
        ns: u64,
    },
    Late {
        ns: u64,
    },
}

impl Op {
    /// Whose local APIC it is about; none for time.
    pub fn vcpu(&self) -> Option<u32> {
        match *self {
            Self::Read { vcpu, .. }
            | Self::Write { vcpu, .. }
            | Self::Rdmsr { vcpu, .. }
            | Self::Wrmsr { vcpu, .. }
            | Self::Interrupt { vcpu, .. }
            | Self::Enter { vcpu } => Some(vcpu),
            Self::Clock { .. } | Self::Late { .. } => None,
        }
    }

    pub fn access(&self) -> Option<Access> {
        match *self {
            Self::Read { offset, bytes, .. } => Some(Access {
                reg: offset >> 4,
                from: offset & 15,
                bytes,
                write: None,
                msr: false,
            }),
            Self::Write {
                offset, bytes, value, ..
            } => Some(Access {
                reg: offset >> 4,
                from: offset & 15,
                bytes,
                write: Some(value),
                msr: false,
            }),
            Self::Rdmsr { msr, .. } if msr != 0x1b => Some(Access::msr(msr, None)),
            Self::Wrmsr { msr, value, .. } if msr != 0x1b => Some(Access::msr(msr, Some(value))),
            _ => None,
        }
    }
}

/// An access to a register by number.
#[derive(Clone, Copy)]
pub struct Access {
    pub reg: u32,
    pub from: u32,
    pub bytes: u32,
    pub write: Option<u64>,
    pub msr: bool,
}

impl Access {
    fn msr(msr: u32, write: Option<u64>) -> Self {
        Self {
            reg: msr - 0x800,
            from: 0,
            bytes: 8,
            write,
            msr: true,
        }
    }

    /// Of one whole register.
    pub fn is_plain(&self) -> bool {
        self.msr || (self.from == 0 && self.bytes == 4)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Read { vcpu, offset, bytes } => write!(f, "vCPU {vcpu}: read {bytes} bytes at {offset:#x}"),
            Self::Write {
                vcpu,
                offset,
                bytes,
                value,
            } => {
                write!(f, "vCPU {vcpu}: write {value:#x}, {bytes} bytes at {offset:#x}")
            }
            Self::Rdmsr { vcpu, msr } => write!(f, "vCPU {vcpu}: RDMSR {msr:#x}"),
            Self::Wrmsr { vcpu, msr, value } => write!(f, "vCPU {vcpu}: WRMSR {msr:#x} = {value:#x}"),
            Self::Interrupt { vcpu, vector, level } => {
                let kind = if level { "level" } else { "edge" };
                write!(f, "vCPU {vcpu}: {kind} interrupt {vector:#x}")
            }
            Self::Enter { vcpu } => write!(f, "vCPU {vcpu}: enter the guest"),
            Self::Clock { ns } => write!(f, "{ns} ns pass"),
            Self::Late { ns } => write!(f, "{ns} ns pass, timers are late"),
        }
    }
}

// ---- Random numbers ------------------------------------------------------------------------------------

/// SplitMix64: a sequence is its seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

// ---- Sequences -----------------------------------------------------------------------------------------------

pub struct Sequence {
    pub vcpus: u32,
    /// The library's messages between vCPUs go through its host.
    pub sends: bool,
    pub ops: Vec<Op>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Disabled,
    Xapic,
    X2apic,
}

struct Generator {
    random: Random,
    vcpus: u32,
    /// As far as the operations so far tell.
    modes: Vec<Mode>,
    ops: Vec<Op>,
}

pub fn generate(seed: u64) -> Sequence {
    let mut random = Random(seed);
    let vcpus = random.pick(&[1, 1, 2, 3, 4, 4, 8, 20]);
    let sends = random.one_in(2);
    let length = 20 + random.below(60);
    let mut generator = Generator {
        random,
        vcpus,
        modes: vec![Mode::Xapic; vcpus as usize],
        ops: Vec::new(),
    };
    generator.begin();
    for _ in 0..length {
        generator.step();
    }
    Sequence {
        vcpus,
        sends,
        ops: generator.ops,
    }
}

const LVTS: [u32; 7] = [0x2f, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37];
const READABLE: [u32; 20] = [
    0x02, 0x03, 0x08, 0x0a, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x17, 0x18, 0x1a, 0x20, 0x22, 0x28, 0x30, 0x31,
    0x32, 0x38, 0x3e,
];

impl Generator {
    /// What an operating system does first, on most vCPUs.
    fn begin(&mut self) {
        for vcpu in 0..self.vcpus {
            if self.random.one_in(3) {
                self.set_base(vcpu, Mode::X2apic);
            }
            if !self.random.one_in(6) {
                self.write(vcpu, 0x0f, 0x1ff);
            }
            if self.random.one_in(3) {
                self.write(vcpu, 0x37, 0xfe);
            }
            if self.modes[vcpu as usize] == Mode::Xapic && !self.random.one_in(4) {
                let model = self
                    .random
                    .pick(&[0xffff_ffff, 0xffff_ffff, 0x0fff_ffff, 0x5fff_ffff]);
                self.write(vcpu, 0x0e, model);
                self.write(vcpu, 0x0d, (1 << (vcpu % 8)) << 24);
            }
        }
    }

    fn step(&mut self) {
        let vcpu = self.random.below(u64::from(self.vcpus)) as u32;
        match self.random.below(100) {
            0..=17 => self.interrupt(vcpu),
            18..=35 => self.ops.push(Op::Enter { vcpu }),
            36..=45 => self.write(vcpu, 0x0b, 0),
            46..=51 => self.task_priority(vcpu),
            52..=62 => self.message(vcpu),
            63..=73 => self.timer(vcpu),
            74..=79 => self.time(),
            80..=86 => self.read(vcpu),
            87..=91 => self.local_vector(vcpu),
            92..=95 => self.other_register(vcpu),
            96 => self.change_mode(vcpu),
            _ => self.oddity(vcpu),
        }
    }

    fn write(&mut self, vcpu: u32, reg: u32, value: u64) {
        self.ops.push(if self.modes[vcpu as usize] == Mode::X2apic {
            Op::Wrmsr {
                vcpu,
                msr: 0x800 + reg,
                value,
            }
        } else {
            Op::Write {
                vcpu,
                offset: reg << 4,
                bytes: 4,
                value,
            }
        });
    }

    fn read(&mut self, vcpu: u32) {
        let reg = self.random.pick(&READABLE);
        self.ops.push(if self.modes[vcpu as usize] == Mode::X2apic {
            Op::Rdmsr {
                vcpu,
                msr: 0x800 + reg,
            }
        } else {
            Op::Read {
                vcpu,
                offset: reg << 4,
                bytes: 4,
            }
        });
    }

    fn vector(&mut self) -> u8 {
        match self.random.below(20) {
            0 => self.random.below(16) as u8,
            1 | 2 => 16 + self.random.below(16) as u8,
            3..=12 => self.random.pick(&[0x31, 0x32, 0x41, 0x55, 0x81, 0xe1, 0xff]),
            _ => 32 + self.random.below(224) as u8,
        }
    }

    fn interrupt(&mut self, vcpu: u32) {
        let vector = self.vector();
        let level = self.random.one_in(3);
        self.ops.push(Op::Interrupt { vcpu, vector, level });
        if self.random.one_in(2) {
            self.ops.push(Op::Enter { vcpu });
        }
    }

    fn task_priority(&mut self, vcpu: u32) {
        let value = self.random.pick(&[0, 0, 0x10, 0x2f, 0x40, 0x55, 0x80, 0xff]);
        self.write(vcpu, 0x08, value);
    }

    fn message(&mut self, vcpu: u32) {
        let x2apic = self.modes[vcpu as usize] == Mode::X2apic;
        let mut low = u64::from(self.vector());
        if self.random.one_in(6) {
            low |= self.random.below(8) << 8;
        }
        if self.random.one_in(2) {
            low |= 1 << 14;
        }
        if self.random.one_in(4) {
            low |= self.random.below(4) << 18;
        }
        if self.random.one_in(8) {
            low |= 1 << 15;
        }
        let vcpus = u64::from(self.vcpus);
        let mut destination = match self.random.below(6) {
            0 => self.random.pick(&[0xff, 0xffff_ffff]),
            1 => self.random.pick(&[63, 64, 65, 100, 128]),
            _ => self.random.below(vcpus + 1),
        };
        if self.random.one_in(3) {
            low |= 1 << 11;
            destination = match self.random.below(3) {
                0 => 1 << self.random.below(8),
                1 => self.random.below(256),
                _ => self.random.below(2) << 16 | self.random.below(0x10000),
            };
        }
        if x2apic {
            if self.random.one_in(5) {
                let vector = u64::from(self.vector());
                self.write(vcpu, 0x3f, vector);
            } else {
                self.write(vcpu, 0x30, destination << 32 | low);
            }
            return;
        }
        if self.random.one_in(10) {
            low |= self.random.pick(&[1 << 12, 1 << 13, 1 << 16, 1 << 31]);
        }
        if !self.random.one_in(5) {
            self.write(vcpu, 0x31, destination << 24 & 0xffff_ffff);
        }
        self.write(vcpu, 0x30, low);
    }

    fn timer(&mut self, vcpu: u32) {
        match self.random.below(8) {
            0..=2 => {
                let initial = match self.random.below(6) {
                    0 => 0,
                    1 => self.random.below(1000),
                    5 => self.random.next() & 0xffff_ffff,
                    _ => self
                        .random
                        .pick(&[100_000, 199_999, 200_000, 250_000, 500_001, 1_000_000]),
                };
                self.write(vcpu, 0x38, initial);
            }
            3 => {
                let divide = self.random.pick(&[0, 1, 2, 3, 8, 9, 10, 11, 11, 11]);
                self.write(vcpu, 0x3e, divide);
            }
            4 | 5 => {
                let mode = self.random.pick(&[0, 0, 0, 0x20000, 0x20000, 0x20000, 0x40000]);
                let mask = if self.random.one_in(4) { 0x10000 } else { 0 };
                let vector = u64::from(self.vector());
                self.write(vcpu, 0x32, mode | mask | vector);
            }
            _ => self.ops.push(if self.modes[vcpu as usize] == Mode::X2apic {
                Op::Rdmsr { vcpu, msr: 0x839 }
            } else {
                Op::Read {
                    vcpu,
                    offset: 0x390,
                    bytes: 4,
                }
            }),
        }
    }

    fn time(&mut self) {
        let ns = match self.random.below(4) {
            0 => self.random.below(1000),
            1 => self.random.below(1_000_000),
            _ => self
                .random
                .pick(&[1, 100_000, 200_000, 250_000, 333_333, 1_000_000, 3_000_000]),
        };
        self.ops.push(if self.random.one_in(6) {
            Op::Late { ns }
        } else {
            Op::Clock { ns }
        });
    }

    fn local_vector(&mut self, vcpu: u32) {
        let reg = self.random.pick(&LVTS);
        let delivery = if reg != 0x32 && reg != 0x37 {
            self.random.pick(&[0, 0, 4, 7]) << 8
        } else {
            0
        };
        let mut value = u64::from(self.vector()) | delivery;
        if self.random.one_in(3) {
            value |= 0x10000;
        }
        if self.random.one_in(5) {
            value |= 1 << 12;
        }
        if (reg == 0x35 || reg == 0x36) && self.random.one_in(3) {
            value |= self.random.pick(&[1 << 13, 1 << 14, 1 << 15]);
        }
        self.write(vcpu, reg, value);
    }

    fn other_register(&mut self, vcpu: u32) {
        let xapic = self.modes[vcpu as usize] != Mode::X2apic;
        match self.random.below(5) {
            0 => {
                let spurious = self.random.pick(&[0x1ff, 0x1ff, 0x1ff, 0xff, 0x1ef]);
                self.write(vcpu, 0x0f, spurious);
            }
            1 => self.write(vcpu, 0x28, 0),
            2 if xapic => {
                let id = self.random.next() & 0xffff_ffff;
                self.write(vcpu, 0x0d, id);
            }
            3 if xapic => {
                let model = self.random.pick(&[0xffff_ffff, 0, 0x5000_0000]);
                self.write(vcpu, 0x0e, model);
            }
            // A register that is read-only, or reserved.
            _ if xapic => {
                let reg = self.random.pick(&[
                    0x00, 0x02, 0x03, 0x0a, 0x10, 0x20, 0x29, 0x39, 0x3a, 0x3f, 0x60, 0xff,
                ]);
                self.ops.push(if self.random.one_in(2) {
                    Op::Read {
                        vcpu,
                        offset: reg << 4,
                        bytes: 4,
                    }
                } else {
                    Op::Write {
                        vcpu,
                        offset: reg << 4,
                        bytes: 4,
                        value: 0,
                    }
                });
            }
            _ => {
                let reg = self
                    .random
                    .pick(&[0x00, 0x0a, 0x0d, 0x0e, 0x10, 0x29, 0x31, 0x39, 0x3a, 0x40, 0xff]);
                self.ops.push(Op::Rdmsr {
                    vcpu,
                    msr: 0x800 + reg,
                });
            }
        }
    }

    fn set_base(&mut self, vcpu: u32, mode: Mode) {
        let flags = match mode {
            Mode::Disabled => 0,
            Mode::Xapic => 0x800,
            Mode::X2apic => 0xc00,
        };
        let bsp = if vcpu == 0 { 0x100 } else { 0 };
        self.modes[vcpu as usize] = mode;
        self.ops.push(Op::Wrmsr {
            vcpu,
            msr: 0x1b,
            value: 0xfee0_0000 | flags | bsp,
        });
    }

    /// Along the arrows of the manual's figure.
    fn change_mode(&mut self, vcpu: u32) {
        let mode = match self.modes[vcpu as usize] {
            Mode::Disabled => Mode::Xapic,
            Mode::Xapic if self.random.one_in(2) => Mode::X2apic,
            Mode::Xapic | Mode::X2apic => Mode::Disabled,
        };
        self.set_base(vcpu, mode);
    }

    /// What guests do by mistake; many of these end the sequence, because afterwards the sides differ.
    fn oddity(&mut self, vcpu: u32) {
        let any = self.random.next();
        match self.random.below(6) {
            0 => self.ops.push(Op::Wrmsr {
                vcpu,
                msr: 0x1b,
                value: 0xfee0_0000
                    | self
                        .random
                        .pick(&[0x400, 0x800, 0xc00, 0xd00, 0x801, 0x1_0000_0000_0800]),
            }),
            1 | 2 => {
                let bytes = 1 << (any >> 12 & 3);
                let offset = ((any & 0xfff) as u32).min(0x1000 - bytes);
                let value = self.random.next() & 0xffff;
                self.ops.push(if any >> 14 & 1 != 0 {
                    Op::Read { vcpu, offset, bytes }
                } else {
                    Op::Write {
                        vcpu,
                        offset,
                        bytes,
                        value,
                    }
                });
            }
            3 => self.ops.push(Op::Rdmsr {
                vcpu,
                msr: 0x800 + (any & 0xff) as u32,
            }),
            4 => {
                let value = if any >> 8 & 1 != 0 { self.random.next() } else { 0 };
                self.ops.push(Op::Wrmsr {
                    vcpu,
                    msr: 0x800 + (any & 0x3f) as u32,
                    value,
                });
            }
            _ => {
                let reg = self
                    .random
                    .pick(&[0x0f, 0x2f, 0x32, 0x33, 0x35, 0x36, 0x37, 0x3e]);
                self.write(vcpu, reg, any & 0xffff_ffff);
            }
        }
    }
}
