// SPDX-License-Identifier: Apache-2.0
//! What the VMM must hear of an access to ports or device memory, by the instruction's encoding (SDM Vol. 2, 2.1, A.3).

use super::*;
use crate::compare::{DEVICE_SIZE, PATIENCE, data};
use crate::step::DEVICE;

struct Prefixes {
    rex: u8,
    word: bool,
    count: usize,
}

fn prefixes(bytes: &[u8]) -> Prefixes {
    let mut found = Prefixes {
        rex: 0,
        word: false,
        count: 0,
    };
    for &byte in bytes {
        match byte {
            0x66 => found.word = true,
            0x2e => {}
            0x40..=0x4f => found.rex = byte,
            _ => break,
        }
        found.count += 1;
    }
    found
}

fn low(value: u64, width: u8) -> u64 {
    if width == 8 {
        value
    } else {
        value & ((1 << (8 * width)) - 1)
    }
}

fn immediate(bytes: &[u8], width: u8) -> u64 {
    let number = bytes
        .iter()
        .take(4)
        .rev()
        .fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
    low(
        if bytes.len() == 4 {
            number as u32 as i32 as u64
        } else {
            number
        },
        width,
    )
}

/// The value goes to the library, not to a register.
const NO_REGISTER: u8 = 0xff;

/// Of a form, with `gpr` as the registers, the address where its operand is, and what the device has there.
fn of_form(bytes: &[u8], gpr: &[u64; 16], gpa: u64, data: u64) -> Option<Vec<Exit>> {
    let Prefixes { rex, word, count } = prefixes(bytes);
    let code = &bytes[count..];
    let size = if rex & 8 != 0 {
        8
    } else if word {
        2
    } else {
        4
    };
    let (opcode, modrm) = match code[0] {
        0x0f => (0x0f00 | u16::from(code[1]), code[2]),
        opcode => (opcode.into(), code[1]),
    };
    let number = modrm >> 3 & 7 | (rex & 4) << 1;
    let high = rex == 0 && number >= 4;
    let byte = if high { (number - 4, true) } else { (number, false) };
    let byte_value = gpr[usize::from(byte.0)] >> if high { 8 } else { 0 };
    let value = gpr[usize::from(number)];
    let write = |width, data| Exit::MmioWrite {
        gpa,
        width,
        data: low(data, width),
    };
    let read = |width, reg, reg_width, signed, byte| Exit::MmioRead {
        gpa,
        width,
        reg,
        reg_width,
        signed,
        byte,
    };
    Some(match opcode {
        0x88 => vec![write(1, byte_value)],
        0x89 => vec![write(size, value)],
        0x8a => vec![read(1, byte.0, 1, false, Some(byte))],
        0x8b => vec![read(size, number, size, false, None)],
        0xc6 => vec![write(1, immediate(&code[2..], 1))],
        0xc7 => vec![write(size, immediate(&code[2..], size))],
        0x09 => vec![
            read(size, NO_REGISTER, size, false, None),
            write(size, data | value),
        ],
        0x87 => vec![read(size, NO_REGISTER, size, false, None), write(size, value)],
        0x0fb6 => vec![read(1, number, size, false, None)],
        0x0fbf => vec![read(2, number, size, true, None)],
        _ => return None,
    })
}

fn registers_of(c: &Context, registers: &Registers) -> [u64; 16] {
    let mut gpr = registers.gpr;
    for (number, value) in c.step.told(c.backend, c.mode).sets {
        if number < 16 {
            gpr[number as usize] = value;
        }
    }
    gpr
}

/// x86vcpu's VMM hears of this access, and of no other; or of a fault where there is no device.
pub fn memory(c: &Context) -> bool {
    let (Step::Mmio { form, address }, Some((registers, ..))) = (c.step, c.outcomes) else {
        return false;
    };
    let form = &FORMS[usize::from(*form)];
    let fault = [Exit::NestedFault {
        gpa: *address,
        access: if form.write { 2 } else { 1 },
    }];
    let device = (DEVICE..DEVICE + DEVICE_SIZE).contains(address);
    match of_form(form.bytes, &registers_of(c, registers), *address, data(registers)) {
        Some(exits) if device => must::goes_on(c, &exits),
        _ => ours(c).is_some_and(|o| o.exits == fault),
    }
}

/// The flags of an OR of EAX to device memory (SDM Vol. 2, OR); AF is undefined.
pub fn or_sets_flags(c: &Context) -> bool {
    const CF: u64 = 1 << 0;
    const PF: u64 = 1 << 2;
    const AF: u64 = 1 << 4;
    const ZF: u64 = 1 << 6;
    const SF: u64 = 1 << 7;
    const OF: u64 = 1 << 11;
    const RF: u64 = 1 << 16;
    let Some((registers, _, ours)) = c.outcomes else {
        return false;
    };
    let result = low(data(registers) | registers.gpr[0], 4);
    let mut flags = registers.rflags & !(CF | PF | ZF | SF | OF);
    for (flag, set) in [
        (PF, (result as u8).count_ones() % 2 == 0),
        (ZF, result == 0),
        (SF, result >> 31 == 1),
    ] {
        flags |= if set { flag } else { 0 };
    }
    !ours.stopped || (ours.fields[RFLAGS as usize] ^ flags) & !(AF | RF) == 0
}

/// Registers after a read, as the width has it (SDM Vol. 1, 3.4.1.1).
pub fn in_is_merged(c: &Context) -> bool {
    let (
        Step::In { width, .. }
        | Step::PortByte {
            width, out: false, ..
        },
        Some((registers, _, ours)),
    ) = (c.step, c.outcomes)
    else {
        return false;
    };
    let old = registers.gpr[0];
    let merged = old & !low(u64::MAX, *width) | low(data(registers), *width);
    !ours.stopped || ours.fields[RAX as usize] == merged
}

/// The elements of a string, as far as the VMM was patient. Pages are where they seem to be.
pub fn elements(c: &Context) -> bool {
    let (port, width, out, mut gpa, count) = match *c.step {
        Step::Ins {
            port,
            width,
            address,
            count,
        } => (port, width, false, address, count),
        Step::Outs {
            port,
            width,
            address,
            count,
        } => (port, width, true, address, count),
        // What is above the address size does not count; 32 bits and more are enough for all that are used here.
        Step::PortString(ref s) => {
            let low = |value: u64| value & (u64::MAX >> (64 - 8 * u32::from(s.address_bytes)));
            (s.port, s.width, s.out, low(s.address), s.count.map(low))
        }
        _ => return false,
    };
    let Some((registers, _, ours)) = c.outcomes else {
        return false;
    };
    let down = registers.rflags >> 10 & 1 == 1;
    let mut exits = Vec::new();
    for _ in 0..count.unwrap_or(1).min(PATIENCE as u64) {
        exits.push(Exit::PortString {
            port,
            width,
            out,
            gpa,
        });
        gpa = if down {
            gpa.wrapping_sub(width.into())
        } else {
            gpa + u64::from(width)
        };
    }
    // RFLAGS.TF brings a #DB behind each of them.
    let single = registers.rflags >> 8 & 1 == 1 && !exits.is_empty();
    (ours.exits == exits || single && ours.exits == exits[..1])
        && ours.failure.is_none()
        && must::apart_from_steps(registers, ours).is_empty()
}
