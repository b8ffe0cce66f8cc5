// SPDX-License-Identifier: Apache-2.0
//! Rows that a guest's instruction shows: what each library must come to, by the manual and by the row.

use cpu::{feature, field, op};

use super::{SVM, Script, VMX, script_for};
use crate::shown::*;
use crate::side::Exit;
use crate::step::*;

const SS_RIGHTS: u32 = field::RIGHTS + 2;
const CS_RIGHTS: u32 = field::RIGHTS + 1;
const CS_BASE: u32 = field::BASE + 1;
const DS_BASE: u32 = field::BASE + 3;
const ES_BASE: u32 = field::BASE;

const IOPL_3: u64 = 3 << 12;
const OTHER_PORT: u64 = 0x3f8;
const END: u64 = cpu::MODEL_GUEST_SIZE as u64;
/// Where PDPTE 1 has the device when it is like PDPTE 3.
const LOW_DEVICE: u64 = 0x5000_0000;
/// What the VMM's devices and hypercalls answer when R15 is as scripts have it.
const RETURNED: u64 = 0x0ff4_5238_677e_9890;

/// What model_op has of string I/O: bytes of the address size, segment.
fn string(bytes: u64, segment: u64) -> [u64; 3] {
    [OTHER_PORT, 1, 1 | bytes << 8 | segment << 16]
}

fn outs(row: &'static str, address: u64, bytes: u64) -> Shown {
    shows(row, op::OUT, &[0x6e])
        .with(string(bytes, 3))
        .set(field::RDX, OTHER_PORT)
        .set(field::RSI, address)
}

fn string_exit(out: bool, gpa: u64) -> Exit {
    Exit::PortString {
        port: OTHER_PORT as u16,
        width: 1,
        out,
        gpa,
    }
}

/// MOV [address], EAX, with EAX from the script's registers.
fn store(row: &'static str, bytes: &[u8], address: u64) -> Shown {
    shows(row, op::MMIO, bytes)
        .with([address, 1, address])
        .set(field::RBX, address)
        .set(field::RAX, 0x1234_5678)
}

fn written(address: u64, width: u8, data: u64) -> Exit {
    Exit::MmioWrite {
        gpa: address,
        width,
        data,
    }
}

fn nested(gpa: u64, access: u64) -> Exit {
    Exit::NestedFault { gpa, access }
}

pub fn scripts() -> Vec<Script> {
    let mut list = instructions();
    list.extend(memory());
    list.extend(strings());
    list
}

/// It is the host's, whatever the guest's CR4.MCE is.
fn machine_check() -> Shown {
    shows("C-05b", op::EXCEPTION, &[0x90])
        .with([18, 0, 0])
        .ours(by().exits([]).events([]))
}

fn cr4(value: u64) -> Step {
    Step::MovToCr {
        number: 4,
        reg: 0,
        value,
    }
}

fn instructions() -> Vec<Script> {
    let cpuid = |row| {
        shows(row, op::CPUID, &[0x0f, 0xa2])
            .set(field::RAX, 0x4000_0003)
            .set(field::RCX, 0)
    };
    vec![
        script_for(
            "CPUID in the shadow of STI",
            None,
            Mode::Long,
            cpuid("C-07")
                .set(field::SHADOW, 1)
                .theirs(by().field(field::SHADOW, 1))
                .ours(by().field(field::SHADOW, 0)),
        ),
        script_for(
            "CPUID with TF",
            None,
            Mode::Long,
            cpuid("C-07")
                .set(field::RFLAGS, 0x302)
                .theirs(by().events([]))
                .ours(by().events([(EXCEPTION, 1, None)])),
        ),
        script_for(
            "CPUID at the end of 4 GiB",
            VMX,
            Mode::Protected,
            cpuid("C-07b")
                .set(field::RIP, 0xffff_fffe)
                .set(CS_BASE, CODE + 2)
                .theirs(by().exits([Exit::FailEntry(0)]).complains("VM entry: "))
                .ours(by().exits([]).field(field::RIP, 0)),
        ),
        script_for(
            "CPUID at the end of 4 GiB, no next RIP",
            SVM,
            Mode::Protected,
            cpuid("C-07b")
                .set(field::RIP, 0xffff_fffe)
                .set(CS_BASE, CODE + 2)
                .theirs(by().field(field::RIP, 1 << 32))
                .ours(by().field(field::RIP, 0)),
        )
        .lacking(feature::NRIPS),
        script_for(
            "a hypercall from user mode",
            None,
            Mode::Long,
            shows("hypercalls above CPL 0", op::HYPERCALL, &[0x0f, 0x01, 0xc1])
                .set(CS_RIGHTS, 0xa0fb)
                .set(SS_RIGHTS, 0xc0f3)
                .set(field::RAX, 1)
                .theirs(
                    by().exits([Exit::Hypercall {
                        nr: 1,
                        args: [0x1111_2222_3333_4444; 6],
                    }])
                    .events([])
                    .field(field::RAX, RETURNED)
                    .field(field::RIP, CODE + 3),
                )
                .ours(
                    by().exits([])
                        .events([(EXCEPTION, 6, None)])
                        .field(field::RAX, 1)
                        .field(field::RIP, CODE),
                ),
        ),
        script_for(
            "#AC whose delivery raises it again",
            None,
            Mode::Long,
            shows("C-05", op::STORM, &[0x90])
                .with([17, 40, 0])
                .theirs(by().fails("stuck"))
                .ours(by().exits([]).events([(EXCEPTION, 17, Some(0))])),
        ),
        script_for(
            "#DB whose delivery raises it again",
            None,
            Mode::Long,
            shows("C-05", op::STORM, &[0x90])
                .with([1, 40, 0])
                .theirs(by().fails("stuck"))
                .ours(by().exits([]).events([(EXCEPTION, 1, None)])),
        ),
        script_for(
            "a machine check",
            SVM,
            Mode::Long,
            machine_check().theirs(by().exits([Exit::Down])),
        ),
        script_for(
            "a machine check",
            VMX,
            Mode::Long,
            machine_check().theirs(by().exits([Exit::Halt])),
        ),
        script_for(
            "a machine check of a guest that has CR4.MCE",
            None,
            Mode::Long,
            machine_check().theirs(by().events([(EXCEPTION, 18, None)])),
        )
        .behind(vec![cr4(0x60)]),
        script_for(
            "a #GP whose handler's stack has a page to be mapped",
            SVM,
            Mode::Long,
            shows("S-10", op::DELIVERY, &[0x90])
                .with([13, 0x18, HOLE])
                .theirs(by().events([]))
                .ours(by().events([(EXCEPTION, 13, Some(0x18))])),
        ),
        script_for(
            "an entry whose failure has 32 bits",
            SVM,
            Mode::Long,
            shows("S-16", op::BAD_ENTRY, &[])
                .with([1, 0, 0])
                .theirs(by().exits([Exit::Halt]))
                .ours(by().exits([Exit::FailEntry(0xffff_ffff)])),
        ),
    ]
}

fn memory() -> Vec<Script> {
    let mut prefixes = vec![0x66; 20];
    prefixes.extend([0x89, 0x03]);
    vec![
        script_for(
            "20 prefixes, which another CPU has written meanwhile",
            None,
            Mode::Long,
            store("C-06", &prefixes, DEVICE)
                .theirs(
                    by().exits([written(DEVICE, 2, 0x5678)])
                        .field(field::RIP, CODE + 22),
                )
                .ours(by().exits([nested(DEVICE, 2)]).field(field::RIP, CODE)),
        ),
        script_for(
            "RIP-relative with REX.B",
            None,
            Mode::Long,
            store("C-12", &[0x41, 0x89, 0x05, 0xf9, 0xef, 0xff, 0x4f], DEVICE)
                .with([DEVICE, 1, LOW_DEVICE])
                .entry(PML4 + 0x1008, PML4 + 0x3003)
                .theirs(by().field(field::RIP, CODE + 3))
                .ours(by().field(field::RIP, CODE + 7)),
        ),
        script_for(
            "a 16-bit immediate to the local APIC",
            SVM,
            Mode::Long,
            store("C-12c", &[0x66, 0xc7, 0x03, 0x34, 0x12], APIC + 0x80)
                .theirs(by().field(field::RIP, CODE + 7))
                .ours(by().field(field::RIP, CODE + 5)),
        ),
        script_for(
            "page tables in device memory",
            None,
            Mode::Long,
            shows("C-12d", op::MMIO, &[0x8b, 0x03])
                .with([DEVICE, 4, DEVICE])
                .set(field::RBX, DEVICE)
                .set(field::RAX, 0x1234_5678)
                .theirs(
                    by().exits([Exit::MmioRead {
                        gpa: DEVICE,
                        width: 4,
                        reg: 0,
                        reg_width: 4,
                        signed: false,
                        byte: None,
                    }])
                    .field(field::RAX, RETURNED & 0xffff_ffff)
                    .field(field::RIP, CODE + 2),
                )
                .ours(
                    by().exits([nested(DEVICE, 1)])
                        .field(field::RAX, 0x1234_5678)
                        .field(field::RIP, CODE),
                ),
        ),
        script_for(
            "an instruction that goes beyond the end of memory",
            SVM,
            Mode::Long,
            store("device memory", &[], DEVICE)
                .memory(END - 1, &[0x89])
                .set(field::RIP, END - 1)
                .theirs(by().fails("invalid input"))
                .ours(by().exits([nested(DEVICE, 2)])),
        ),
        script_for(
            "a fetch from the local APIC's page",
            VMX,
            Mode::Long,
            shows("V-05b", op::MMIO, &[0x90])
                .with([APIC, 2, APIC])
                .theirs(by().exits([]))
                .ours(by().exits([nested(APIC, 4)])),
        ),
        script_for(
            "XCHG with the local APIC's TPR",
            SVM,
            Mode::Long,
            store("S-11", &[0x87, 0x03], APIC + 0x80)
                .set(field::RAX, 0x20)
                .theirs(by().field(field::RAX, 0x20))
                .ours(by().field(field::RAX, 0)),
        ),
        script_for(
            "an IRET that faults has unblocked NMIs",
            VMX,
            Mode::Long,
            shows("V-23", op::MMIO, &[0x90])
                .with([HOLE, 8, HOLE])
                .set(field::SHADOW, 8)
                .theirs(by().field(field::SHADOW, 0))
                .ours(by().field(field::SHADOW, 8)),
        ),
        script_for(
            "page tables where there is no memory",
            None,
            Mode::Long,
            outs("`NESTED_PAGE_FAULT`", 0x2000, 8)
                .set(field::CR3, HOLE)
                .theirs(by().fails("invalid input"))
                .ours(by().exits([nested(HOLE, 1)])),
        ),
    ]
}

fn strings() -> Vec<Script> {
    let pat = PML4 + 0x2000 + 8;
    vec![
        script_for(
            "a large page with PAT",
            None,
            Mode::Long,
            outs("C-10b", 0x20_2000, 8)
                .entry(pat, 0x1083)
                .theirs(by().exits([string_exit(true, 0x3000)]))
                .ours(by().exits([string_exit(true, 0x2000)])),
        ),
        script_for(
            "INS of a user program to a page of its kernel",
            None,
            Mode::Long,
            shows("C-11", op::IN, &[0x6c])
                .with(string(8, 0))
                .set(field::RDX, OTHER_PORT)
                .set(field::RDI, 0x2000)
                .set(field::RFLAGS, IOPL_3 | 0x202)
                .entry(PML4 + 0x2000, 0x83)
                .set(CS_RIGHTS, 0xa0fb)
                .set(SS_RIGHTS, 0xc0f3)
                .theirs(
                    by().exits([string_exit(false, 0x2000)])
                        .events([])
                        .field(field::CR2, 0)
                        .field(field::RIP, CODE + 1)
                        .field(field::RDI, 0x2001),
                )
                .ours(
                    by().exits([])
                        .events([(EXCEPTION, 14, Some(7))])
                        .field(field::CR2, 0x2000)
                        .field(field::RIP, CODE)
                        .field(field::RDI, 0x2000),
                ),
        ),
        script_for(
            "CS.L without long mode",
            VMX,
            Mode::Protected,
            store("V-17", &[0x89, 0x03], DEVICE)
                .set(CS_RIGHTS, 0xe09b)
                .set(CS_BASE, 0x100)
                .set(field::RIP, CODE - 0x100)
                .theirs(by().exits([nested(DEVICE, 2)]).field(field::RIP, CODE - 0x100))
                .ours(
                    by().exits([written(DEVICE, 4, 0x1234_5678)])
                        .field(field::RIP, CODE - 0xfe),
                ),
        ),
        script_for(
            "OUTS whose code has been written to since",
            VMX,
            Mode::Long,
            Shown {
                bytes: vec![0x90],
                ..outs("V-18", 0x2000, 8)
            }
            .theirs(by().fails("invalid data"))
            .ours(by().exits([string_exit(true, 0x2000)])),
        ),
        script_for(
            "OUTS with a base in 64-bit mode",
            SVM,
            Mode::Long,
            outs("S-06", 0x2000, 8)
                .set(DS_BASE, 0x1000)
                .theirs(by().exits([string_exit(true, 0x3000)]))
                .ours(by().exits([string_exit(true, 0x2000)])),
        ),
        script_for(
            "OUTS without decode assists",
            SVM,
            Mode::Protected,
            outs("S-09", 0x2000, 4)
                .set(DS_BASE, 0x1000)
                .set(ES_BASE, 0x5000)
                .theirs(by().exits([string_exit(true, 0x7000)]))
                .ours(by().exits([string_exit(true, 0x3000)])),
        )
        .lacking(feature::DECODE),
        script_for(
            "a string address that wraps",
            SVM,
            Mode::Protected,
            outs("S-09b", 0x3000, 4)
                .set(DS_BASE, 0xffff_f000)
                .theirs(by().exits([string_exit(true, 0x1_0000_2000)]))
                .ours(by().exits([string_exit(true, 0x2000)])),
        ),
    ]
}
