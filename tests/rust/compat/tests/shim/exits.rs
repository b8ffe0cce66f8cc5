// SPDX-License-Identifier: Apache-2.0
//! Exits, and answers to them.

use super::*;

#[test]
fn exits_without_contents() {
    let _alone = alone();
    for (kind, text) in [
        (ffi::X86VCPU_EXIT_PREEMPTION_TIMER, "PreemptionTimer"),
        (ffi::X86VCPU_EXIT_HALT, "Halt"),
        (ffi::X86VCPU_EXIT_WAIT_FOR_SIPI, "Halt"),
        (ffi::X86VCPU_EXIT_SYSTEM_DOWN, "SystemDown"),
        (ffi::X86VCPU_EXIT_NOTHING, "Nothing"),
        (1000, "Nothing"),
    ] {
        assert_eq!(exit_text(kind, payload()), text);
    }
}

#[test]
fn exits_with_contents() {
    let _alone = alone();
    let hypercall = ffi::x86vcpu_hypercall {
        nr: 1,
        args: [2, 3, 4, 5, 6, 7],
    };
    assert_eq!(
        exit_text(
            ffi::X86VCPU_EXIT_HYPERCALL,
            ffi::x86vcpu_exit_payload { hypercall }
        ),
        "Hypercall { nr: 1, args: [2, 3, 4, 5, 6, 7] }"
    );
    let port_io = ffi::x86vcpu_port_io {
        port: 0x3f8,
        width: 2,
        reserved: [0; 5],
        data: 0x41,
    };
    assert_eq!(
        exit_text(
            ffi::X86VCPU_EXIT_PORT_IO_READ,
            ffi::x86vcpu_exit_payload { port_io }
        ),
        "PortIoRead { port: X86Port(0x3f8), width: Dword }"
    );
    assert_eq!(
        exit_text(
            ffi::X86VCPU_EXIT_PORT_IO_WRITE,
            ffi::x86vcpu_exit_payload { port_io }
        ),
        "PortIoWrite { port: X86Port(0x3f8), width: Dword, data: 65 }"
    );
    let msr = ffi::x86vcpu_msr_access {
        index: 0xc000_0080,
        reserved: 0,
        value: 9,
    };
    assert_eq!(
        exit_text(ffi::X86VCPU_EXIT_MSR_READ, ffi::x86vcpu_exit_payload { msr }),
        "MsrRead { addr: MSR(0xc0000080) }"
    );
    assert_eq!(
        exit_text(ffi::X86VCPU_EXIT_MSR_WRITE, ffi::x86vcpu_exit_payload { msr }),
        "MsrWrite { addr: MSR(0xc0000080), value: 9 }"
    );
    let nested_page_fault = ffi::x86vcpu_nested_page_fault {
        gpa: 0x1234,
        access: 6,
    };
    assert_eq!(
        exit_text(
            ffi::X86VCPU_EXIT_NESTED_PAGE_FAULT,
            ffi::x86vcpu_exit_payload { nested_page_fault }
        ),
        "NestedPageFault { addr: GPA(0x1234), access_flags: X86AccessFlags(WRITE | EXECUTE) }"
    );
    let interrupt_end = ffi::x86vcpu_interrupt_end {
        has_vector: 1,
        vector: 0x31,
    };
    assert_eq!(
        exit_text(
            ffi::X86VCPU_EXIT_INTERRUPT_END,
            ffi::x86vcpu_exit_payload { interrupt_end }
        ),
        "InterruptEnd { vector: Some(49) }"
    );
}

#[test]
fn mmio_exits() {
    let _alone = alone();
    let mmio = ffi::x86vcpu_mmio {
        gpa: 0xd000_0004,
        data: 0x55,
        width: 0,
        reg: 4,
        reg_width: 3,
        sign_extend: 1,
        has_byte_reg: 0,
        byte_reg_high: 0,
        reserved: [0; 2],
    };
    assert_eq!(
        exit_text(ffi::X86VCPU_EXIT_MMIO_READ, ffi::x86vcpu_exit_payload { mmio }),
        "MmioRead { addr: GPA(0xd0000004), width: Byte, reg: 4, reg_width: Qword, signed_ext: true, byte_reg: None }"
    );
    let byte = ffi::x86vcpu_mmio {
        reg: 1,
        reg_width: 0,
        sign_extend: 0,
        has_byte_reg: 1,
        byte_reg_high: 1,
        ..mmio
    };
    assert_eq!(
        exit_text(
            ffi::X86VCPU_EXIT_MMIO_READ,
            ffi::x86vcpu_exit_payload { mmio: byte }
        ),
        "MmioRead { addr: GPA(0xd0000004), width: Byte, reg: 1, reg_width: Byte, signed_ext: false, \
         byte_reg: Some(X86ByteRegister { gpr: 1, high: true }) }"
    );
    assert_eq!(
        exit_text(ffi::X86VCPU_EXIT_MMIO_WRITE, ffi::x86vcpu_exit_payload { mmio }),
        "MmioWrite { addr: GPA(0xd0000004), width: Byte, data: 85 }"
    );
}

#[test]
fn byte_registers_go_back_as_they_came() {
    let _alone = alone();
    let mut vcpu = vcpu();
    for (reg, high, call) in [
        (3, 1, "set_gpr_high_byte 3 0x7f\n"),
        (4, 0, "set_gpr_width 4 0 0x7f\n"),
    ] {
        let mmio = ffi::x86vcpu_mmio {
            gpa: 0,
            data: 0,
            width: 0,
            reg,
            reg_width: 0,
            sign_extend: 0,
            has_byte_reg: 1,
            byte_reg_high: high,
            reserved: [0; 2],
        };
        let u = ffi::x86vcpu_exit_payload { mmio };
        unsafe {
            fake_exit = ffi::x86vcpu_exit {
                kind: ffi::X86VCPU_EXIT_MMIO_READ,
                reserved: 0,
                u,
            }
        };
        let X86VmExit::MmioRead {
            byte_reg: Some(byte_reg),
            ..
        } = vcpu.run().unwrap()
        else {
            panic!()
        };
        if reg == 4 {
            vcpu.bind().unwrap();
        }
        journal();
        vcpu.set_gpr_byte(byte_reg, 0x7f);
        assert_eq!(journal(), call);
    }
}

#[test]
fn failed_entries() {
    let _alone = alone();
    let fail = |reason, instruction_error| {
        let fail_entry = ffi::x86vcpu_fail_entry {
            reason,
            qualification: 2,
            instruction_error,
            reserved: 0,
        };
        exit_text(
            ffi::X86VCPU_EXIT_FAIL_ENTRY,
            ffi::x86vcpu_exit_payload { fail_entry },
        )
    };
    assert_eq!(
        fail(0x8000_0021, 0),
        "FailEntry { hardware_entry_failure_reason: 2147483681 }"
    );
    assert_eq!(fail(0, 7), "FailEntry { hardware_entry_failure_reason: 7 }");
}

#[test]
fn errors_of_run() {
    let _alone = alone();
    let mut vcpu = vcpu();
    fails_next(ffi::X86VCPU_ERR_UNSUPPORTED);
    assert_eq!(vcpu.run().err(), Some(X86VcpuError::Unsupported));
    fails_next(ffi::X86VCPU_ERR_BAD_STATE);
    assert_eq!(vcpu.run().err(), Some(X86VcpuError::BadState));
}

fn string_element(gpa2: u64) -> ffi::x86vcpu_port_io_string {
    ffi::x86vcpu_port_io_string {
        port: 0x1f0,
        width: 1,
        direction: 0,
        has_count: 1,
        instruction_complete: 0,
        reserved: [0; 2],
        gpa: 0x1fff,
        gpa2,
        updated_index: 0x2001,
        updated_count: 9,
        next_rip: 0x102,
    }
}

#[test]
fn a_string_element_is_committed_once_and_whole() {
    let _alone = alone();
    let mut vcpu = vcpu();
    let u = ffi::x86vcpu_exit_payload {
        port_io_string: string_element(0x9000),
    };
    unsafe {
        fake_exit = ffi::x86vcpu_exit {
            kind: ffi::X86VCPU_EXIT_PORT_IO_STRING,
            reserved: 0,
            u,
        }
    };
    let X86VmExit::PortIoString(element) = vcpu.run().unwrap() else {
        panic!()
    };
    assert_eq!(
        format!("{element:?}"),
        "X86PortIoStringExit { port: X86Port(0x1f0), width: Word, direction: In, guest_paddr: GPA(0x1fff), \
         updated_index: 8193, updated_count: Some(9), instruction_complete: false, next_rip: 258 }"
    );
    assert_eq!(element.port(), X86Port::new(0x1f0));
    assert_eq!(element.width(), X86AccessWidth::Word);
    assert_eq!(element.direction(), X86PortIoDirection::In);
    assert_eq!(element.guest_paddr(), X86GuestPhysAddr::from(0x1fff));
    journal();
    assert_eq!(vcpu.complete_port_io_string(element), Ok(()));
    assert_eq!(journal(), "complete_port_io_string\n");
    assert_eq!(vcpu.complete_port_io_string(element), Err(X86VcpuError::BadState));
}

#[test]
fn a_string_element_of_another_run_is_refused() {
    let _alone = alone();
    let mut vcpu = vcpu();
    let mut next = |updated_index| {
        let port_io_string = ffi::x86vcpu_port_io_string {
            updated_index,
            ..string_element(0)
        };
        let u = ffi::x86vcpu_exit_payload { port_io_string };
        unsafe {
            fake_exit = ffi::x86vcpu_exit {
                kind: ffi::X86VCPU_EXIT_PORT_IO_STRING,
                reserved: 0,
                u,
            }
        };
        let X86VmExit::PortIoString(element) = vcpu.run().unwrap() else {
            panic!()
        };
        element
    };
    let (old, new) = (next(1), next(2));
    assert_eq!(vcpu.complete_port_io_string(old), Err(X86VcpuError::BadState));
    fails_next(ffi::X86VCPU_ERR_BAD_STATE);
    assert_eq!(vcpu.complete_port_io_string(new), Err(X86VcpuError::BadState));
    assert_eq!(vcpu.complete_port_io_string(new), Ok(()), "it can be tried again");
}
