// SPDX-License-Identifier: Apache-2.0
//! The ACPI tables (ACPI 6.4, 5.2): the CPU, the I/O APIC, and how to switch off.

use alloc::vec;
use alloc::vec::Vec;

use crate::bytes::{put, put16, put32, put64};
use crate::devices::{ioapic, kbd, pit, pm};
use crate::memory::Memory;

// Where firmware has them: the RSDP is looked for on 16-byte boundaries from 0xe0000 on.
const RSDP: u64 = 0xe0000;
const XSDT: u64 = 0xe0040;
const FADT: u64 = 0xe0100;
const FACS: u64 = 0xe0200;
const DSDT: u64 = 0xe0240;
const MADT: u64 = 0xe0280;

const HEADER: usize = 36;
const FADT_SIZE: usize = 244;
const SYSTEM_IO: u8 = 1;

/// Name (_S5_, Package (4) { 0, 0, 0, 0 }): sleep type 0 at PM1 control switches the machine off.
const AML: &[u8] = b"\x08_S5_\x12\x06\x04\0\0\0\0";

fn checksum(table: &[u8]) -> u8 {
    table.iter().fold(0, |sum: u8, byte| sum.wrapping_sub(*byte))
}

fn finish(mut table: Vec<u8>, signature: &[u8; 4], revision: u8) -> Vec<u8> {
    let size = table.len() as u32;
    put(&mut table, 0, signature);
    put32(&mut table, 4, size);
    table[8] = revision;
    put(&mut table, 10, b"X86VCPU PC    "); // OEM ID and table ID
    put32(&mut table, 24, 1);
    put(&mut table, 28, b"VCPU");
    put32(&mut table, 32, 1);
    table[9] = checksum(&table);
    table
}

fn rsdp() -> Vec<u8> {
    let mut p = vec![0; 36];
    put(&mut p, 0, b"RSD PTR ");
    put(&mut p, 9, b"X86VCP");
    p[15] = 2;
    put32(&mut p, 20, 36);
    put64(&mut p, 24, XSDT);
    p[8] = checksum(&p[..20]);
    p[32] = checksum(&p);
    p
}

fn xsdt() -> Vec<u8> {
    let mut p = vec![0; HEADER + 16];
    put64(&mut p, HEADER, FADT);
    put64(&mut p, HEADER + 8, MADT);
    finish(p, b"XSDT", 1)
}

fn facs() -> Vec<u8> {
    let mut p = vec![0; 64];
    put(&mut p, 0, b"FACS");
    put32(&mut p, 4, 64);
    p[32] = 2;
    p
}

/// Always in ACPI mode (there is no SMI command), no buttons, no general-purpose events. Reset goes through the keyboard
/// controller, as on every PC.
fn fadt() -> Vec<u8> {
    let mut p = vec![0; FADT_SIZE];
    put32(&mut p, 36, FACS as u32);
    put32(&mut p, 40, DSDT as u32);
    put16(&mut p, 46, pm::SCI.into());
    put32(&mut p, 56, pm::EVENT.into());
    put32(&mut p, 64, pm::CONTROL.into());
    put32(&mut p, 76, pm::TIMER.into());
    (p[88], p[89], p[91]) = (4, 2, 4); // lengths: PM1 event, PM1 control, timer
    put16(&mut p, 96, 0xfff); // no C2, no C3
    put16(&mut p, 98, 0xfff);
    p[108] = 0x32; // the century, in CMOS
    put16(&mut p, 109, 0x0001 | 0x0004); // legacy devices, no VGA; and no keyboard worth probing
    // WBINVD works; C1; buttons would be in the namespace; a reset register.
    put32(&mut p, 112, 1 << 0 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 10);
    put(&mut p, 116, &[SYSTEM_IO, 8, 0, 1]); // a byte in I/O space (ACPI 5.2.3.2)
    put64(&mut p, 120, kbd::COMMAND.into());
    p[128] = 0xfe;
    put64(&mut p, 140, DSDT);
    finish(p, b"FACP", 3)
}

fn dsdt() -> Vec<u8> {
    let mut p = vec![0; HEADER];
    p.extend(AML);
    finish(p, b"DSDT", 2)
}

/// Multiple APIC description table (ACPI 5.2.12).
fn madt() -> Vec<u8> {
    let mut p = vec![0; HEADER + 8];
    put32(&mut p, HEADER, x86_vcpu::X86_LOCAL_APIC_GPA as u32);
    put32(&mut p, HEADER + 4, 1); // a pair of 8259A is there too
    p.extend([0, 8, 0, 0, 1, 0, 0, 0]); // local APIC 0, enabled
    let at = p.len();
    p.extend([1, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // I/O APIC 1, from interrupt 0 on
    put32(&mut p, at + 4, ioapic::BASE as u32);
    p.extend([2, 10, 0, pit::IRQ as u8, 2, 0, 0, 0, 0, 0]); // the timer is at pin 2
    p.extend([2, 10, 0, pm::SCI, pm::SCI, 0, 0, 0, 0xd, 0]); // active high, level-triggered
    p.extend([4, 6, 0xff, 0, 0, 1]); // LINT1 is NMI
    finish(p, b"APIC", 3)
}

/// Writes the tables; the address of the RSDP.
pub fn build(memory: &mut Memory) -> Option<u64> {
    let tables = [
        (RSDP, rsdp()),
        (XSDT, xsdt()),
        (FADT, fadt()),
        (FACS, facs()),
        (DSDT, dsdt()),
        (MADT, madt()),
    ];
    for (gpa, table) in tables {
        memory.write(gpa, &table)?;
    }
    Some(RSDP)
}
