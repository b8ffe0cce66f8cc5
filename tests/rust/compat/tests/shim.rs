// SPDX-License-Identifier: Apache-2.0
//! With fake.c in the C library's place: what reaches it, and what comes back.
#![cfg(feature = "fake")]

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};

use compat_tests::{
    CALLS, CANCEL_FAILS, FIRES_AT_ONCE, FRAMES, Host, LOG, NO_MEMORY, NOW, TIMERS, TIMERS_FAIL,
};
use compat_tests::{fire, lock};
use x86_vcpu::*;
use x86_vcpu_sys as ffi;
use x86_vlapic::X86TimerAction;

unsafe extern "C" {
    static mut fake_journal: [c_char; 4096];
    static mut fake_extension: u32;
    static mut fake_status: i32;
    static mut fake_exit: ffi::x86vcpu_exit;
    static mut fake_eoi_vector: i32;
    static mut fake_elsewhere: i32;
    static fake_ops: *const ffi::x86vcpu_host_ops;
    static fake_setup: ffi::x86vcpu_setup_config;
    static fake_mmio: [ffi::x86vcpu_mmio_range; ffi::X86VCPU_MAX_MMIO_RANGES as usize];
    static fake_ports: [ffi::x86vcpu_port_range; ffi::X86VCPU_MAX_PORT_RANGES as usize];
    static fake_memory: [ffi::x86vcpu_memory_region; ffi::X86VCPU_MAX_MEMORY_REGIONS as usize];
}

type Vcpu = X86Vcpu<Host>;

/// A machine with VT-x, on which the backend is chosen.
fn alone() -> MutexGuard<'static, ()> {
    let guard = compat_tests::alone();
    unsafe {
        fake_extension = ffi::X86VCPU_EXTENSION_VMX;
        fake_status = 0;
        fake_eoi_vector = -1;
        fake_elsewhere = 0;
    }
    initialize_hardware_support().unwrap();
    journal();
    guard
}

/// What was called since the last time.
fn journal() -> String {
    unsafe {
        let text = CStr::from_ptr((&raw const fake_journal).cast())
            .to_str()
            .unwrap()
            .to_owned();
        (&raw mut fake_journal).cast::<c_char>().write(0);
        text
    }
}

fn fails_next(status: i32) {
    unsafe { fake_status = status };
}

fn vcpu() -> Vcpu {
    let vcpu = Vcpu::new_with_config(7, 3, X86VcpuCreateConfig).unwrap();
    journal();
    vcpu
}

fn payload() -> ffi::x86vcpu_exit_payload {
    ffi::x86vcpu_exit_payload { words: [0; 15] }
}

fn exit_text(kind: u32, u: ffi::x86vcpu_exit_payload) -> String {
    unsafe { fake_exit = ffi::x86vcpu_exit { kind, reserved: 0, u } };
    format!("{:?}", vcpu().run().unwrap())
}

#[test]
fn the_choice_of_the_first_cpu_holds() {
    let _alone = alone();
    assert_eq!(selected_nested_paging_format(), Ok(X86NestedPagingFormat::Ept));
    unsafe { fake_extension = ffi::X86VCPU_EXTENSION_SVM };
    assert!(has_hardware_support());
    assert_eq!(initialize_hardware_support(), Err(X86VcpuError::BadState));
    assert_eq!(X86PerCpuState::<Host>::new(0).err(), Some(X86VcpuError::BadState));
    unsafe { fake_extension = ffi::X86VCPU_EXTENSION_NONE };
    assert!(!has_hardware_support());
    assert_eq!(initialize_hardware_support(), Err(X86VcpuError::Unsupported));
    assert_eq!(
        X86PerCpuState::<Host>::new(0).err(),
        Some(X86VcpuError::Unsupported)
    );
}

#[test]
fn no_apic_access_page() {
    let _alone = alone();
    assert_eq!(requires_apic_access_page(), Ok(false));
    assert_eq!(apic_access_page_gpa(), Err(X86VcpuError::Unsupported));
    assert_eq!(apic_access_page_addr::<Host>(), Err(X86VcpuError::Unsupported));
}

#[test]
fn state_of_a_cpu() {
    let _alone = alone();
    let mut percpu = X86PerCpuState::<Host>::new(5).unwrap();
    assert!(!percpu.is_enabled());
    fails_next(ffi::X86VCPU_ERR_FIRMWARE_DISABLED);
    assert_eq!(percpu.hardware_enable(), Err(X86VcpuError::Unsupported));
    assert_eq!(percpu.hardware_enable(), Ok(()));
    assert!(percpu.is_enabled());
    assert_eq!(percpu.hardware_disable(), Ok(()));
    assert_eq!(percpu.hardware_disable(), Err(X86VcpuError::BadState));
    drop(percpu);
    assert_eq!(
        journal(),
        "percpu_create 5\npercpu_enable\npercpu_enable\npercpu_disable\npercpu_destroy\n"
    );
    assert_eq!(
        X86PerCpuState::<Host>::new(usize::MAX).err(),
        Some(X86VcpuError::InvalidInput)
    );
    NO_MEMORY.store(true, Ordering::SeqCst);
    assert_eq!(X86PerCpuState::<Host>::new(0).err(), Some(X86VcpuError::NoMemory));
}

#[test]
fn dropping_the_state_of_an_enabled_cpu() {
    let _alone = alone();
    let before = FRAMES.load(Ordering::SeqCst);
    let mut percpu = X86PerCpuState::<Host>::new(0).unwrap();
    percpu.hardware_enable().unwrap();
    journal();
    drop(percpu);
    assert_eq!(journal(), "percpu_disable\npercpu_destroy\n");
    assert_eq!(FRAMES.load(Ordering::SeqCst), before);

    let mut percpu = X86PerCpuState::<Host>::new(0).unwrap();
    percpu.hardware_enable().unwrap();
    journal();
    unsafe { fake_elsewhere = 1 };
    drop(percpu);
    assert_eq!(journal(), "");
    assert_eq!(FRAMES.load(Ordering::SeqCst), before + 1, "memory in use is kept");
    assert!(lock(&LOG).last().unwrap().starts_with("ERROR"));
}

#[test]
fn life_of_a_vcpu() {
    let _alone = alone();
    let before = FRAMES.load(Ordering::SeqCst);
    let mut vcpu = Vcpu::new_with_config(7, 3, X86VcpuCreateConfig).unwrap();
    vcpu.set_entry(0x7c00.into()).unwrap();
    vcpu.set_nested_page_table(X86NestedPagingConfig::new(0x5000.into(), 4, 48, 0))
        .unwrap();
    vcpu.setup(X86VcpuSetupConfig::default()).unwrap();
    vcpu.bind().unwrap();
    let mut moved = Box::new(vcpu);
    moved.unbind().unwrap();
    drop(moved);
    assert_eq!(
        journal(),
        "create 3 of 7\nset_entry 0x7c00\nset_nested_page_table 0x5000 4 48 0\nsetup\nbind\nunbind\ndestroy\n"
    );
    assert_eq!(FRAMES.load(Ordering::SeqCst), before);
}

#[test]
fn creation_that_fails() {
    let _alone = alone();
    let new = |vcpu_id| Vcpu::new_with_config(0, vcpu_id, X86VcpuCreateConfig).err();
    fails_next(ffi::X86VCPU_ERR_BAD_STATE);
    assert_eq!(new(0), Some(X86VcpuError::BadState));
    fails_next(ffi::X86VCPU_ERR_INVALID_INPUT);
    assert_eq!(new(64), Some(X86VcpuError::InvalidInput));
    assert_eq!(new(1 << 32), Some(X86VcpuError::InvalidInput));
    NO_MEMORY.store(true, Ordering::SeqCst);
    assert_eq!(new(0), Some(X86VcpuError::NoMemory));
}

#[test]
fn dropping_a_bound_vcpu() {
    let _alone = alone();
    let before = FRAMES.load(Ordering::SeqCst);
    let mut bound = vcpu();
    bound.bind().unwrap();
    journal();
    drop(bound);
    assert_eq!(journal(), "unbind\ndestroy\n");
    assert_eq!(FRAMES.load(Ordering::SeqCst), before);

    let mut elsewhere = vcpu();
    elsewhere.bind().unwrap();
    journal();
    unsafe { fake_elsewhere = 1 };
    drop(elsewhere);
    assert_eq!(journal(), "");
    assert_eq!(FRAMES.load(Ordering::SeqCst), before + 2, "memory in use is kept");
    assert!(lock(&LOG).last().unwrap().starts_with("ERROR"));
}

#[test]
fn vcpus_of_one_host_type_have_one_table() {
    let _alone = alone();
    let _first = vcpu();
    let table = unsafe { fake_ops };
    let _second = vcpu();
    assert_eq!(table, unsafe { fake_ops });
    let _other = X86Vcpu::<Host<1>>::new_with_config(7, 4, X86VcpuCreateConfig).unwrap();
    assert_ne!(table, unsafe { fake_ops });
}

#[test]
fn setup_hands_everything_over() {
    let _alone = alone();
    let mut config = X86VcpuSetupConfig::default();
    config.add_intercepted_port_range(0x60, 5).unwrap();
    config.intercepted_ports[9] = Some(X86InterceptedPortRange {
        base: 0x3f8,
        length: 8,
    });
    config
        .add_intercepted_mmio_range(0xd000_0000.into(), 0x2000)
        .unwrap();
    config.guest_memory_regions = vec![X86GuestMemoryRegion {
        gpa: 0x1000.into(),
        hva: 0x7000_0000.into(),
        size: 0x3000,
    }];
    vcpu().setup(config).unwrap();
    unsafe {
        assert_eq!(
            (
                fake_setup.port_count,
                fake_setup.mmio_count,
                fake_setup.memory_count
            ),
            (2, 2, 1)
        );
        assert_eq!((fake_ports[0].base, fake_ports[0].length), (0x60, 5));
        assert_eq!((fake_ports[1].base, fake_ports[1].length), (0x3f8, 8));
        assert_eq!((fake_mmio[0].base, fake_mmio[0].size), (0xd000_0000, 0x2000));
        assert_eq!(
            (fake_mmio[1].base, fake_mmio[1].size),
            (0xfec0_0000, 0x1000),
            "the I/O APIC's"
        );
        assert_eq!(
            (
                fake_memory[0].gpa,
                fake_memory[0].hva as usize,
                fake_memory[0].size
            ),
            (0x1000, 0x7000_0000, 0x3000)
        );
        assert_eq!(
            (
                fake_setup.msr_count,
                fake_setup.passthrough_port_count,
                fake_setup.time_slice_ns
            ),
            (0, 0, 0)
        );
        assert_eq!((fake_setup.start, fake_setup.flags), (0, 0));
    }
}

#[test]
fn the_io_apic_is_not_added_twice() {
    let _alone = alone();
    let mut config = X86VcpuSetupConfig::default();
    config
        .add_intercepted_mmio_range(0xfe00_0000.into(), 0x100_0000)
        .unwrap();
    vcpu().setup(config).unwrap();
    assert_eq!(unsafe { fake_setup.mmio_count }, 1);

    let mut config = X86VcpuSetupConfig::default();
    for index in 0..256 {
        config
            .add_intercepted_mmio_range((0xd000_0000 + index * 0x1000).into(), 0x1000)
            .unwrap();
    }
    // Neighbours become one range.
    vcpu().setup(config.clone()).unwrap();
    assert_eq!(unsafe { fake_setup.mmio_count }, 2);
    for index in 0..255 {
        config
            .add_intercepted_mmio_range((index * 0x2000).into(), 0x1000)
            .unwrap();
    }
    assert_eq!(vcpu().setup(config), Err(X86VcpuError::InvalidInput));
}

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

#[test]
fn registers() {
    let _alone = alone();
    let mut vcpu = vcpu();
    vcpu.set_gpr(0, usize::MAX);
    vcpu.set_gpr(15, 1);
    vcpu.set_gpr_word(2, 0xffff);
    vcpu.set_gpr_rsp(X86AccessWidth::Dword, 0x1_2345_6789);
    vcpu.set_return_value(42);
    // RSP waits until the vCPU is bound.
    vcpu.bind().unwrap();
    assert_eq!(
        journal(),
        "set_gpr_width 0 3 0xffffffffffffffff\nset_gpr_width 15 3 0x1\nset_gpr_width 2 1 0xffff\n\
         set_return_value 0x2a\nbind\nset_gpr_width 4 2 0x123456789\n"
    );
    lock(&LOG).clear();
    for reg in [16, 256, 1 << 32, usize::MAX] {
        vcpu.set_gpr(reg, 1);
    }
    assert_eq!(journal(), "");
    assert_eq!(
        *lock(&LOG),
        vec!["WARN x86_vcpu::vcpu: set_gpr is ignored: InvalidInput"; 4]
    );
}

#[test]
fn interrupts() {
    let _alone = alone();
    let mut vcpu = vcpu();
    assert_eq!(vcpu.inject_interrupt(0x31), Ok(()));
    assert_eq!(vcpu.inject_interrupt_with_trigger(0x32, true), Ok(()));
    assert_eq!(journal(), "inject 49 0\ninject 50 1\n");
    for vector in [0, 256, 1 << 32 | 0x31] {
        assert_eq!(vcpu.inject_interrupt(vector), Err(X86VcpuError::InvalidInput));
        assert_eq!(
            vcpu.inject_interrupt_with_trigger(vector, true),
            Err(X86VcpuError::InvalidInput)
        );
    }
    assert!(!vcpu.has_pending_event());
    vcpu.set_gpr(15, 1); // which the fake takes for one
    assert!(vcpu.has_pending_event());
    assert_eq!(vcpu.handle_eoi(), None);
    unsafe { fake_eoi_vector = 0x55 };
    assert_eq!(vcpu.handle_eoi(), Some(0x55));
}

#[test]
fn text_of_a_vcpu() {
    let _alone = alone();
    let mut vcpu = vcpu();
    vcpu.set_gpr(3, 0xb);
    let regs = "GeneralRegisters { rax: 0, rcx: 0, rdx: 0, rbx: 11, _unused_rsp: 0, rbp: 0, rsi: 0, rdi: 0, r8: 0, \
                r9: 0, r10: 0, r11: 0, r12: 0, r13: 0, r14: 0, r15: 0 }";
    assert_eq!(
        format!("{vcpu:?}"),
        format!("VmxVcpu {{ guest_regs: {regs}, .. }}")
    );
    vcpu.bind().unwrap();
    assert_eq!(
        format!("{vcpu:?}"),
        format!(
            "VmxVcpu {{ guest_regs: {regs}, rip: 4096, rsp: 8192, rflags: 514, rflags_if: true, cr0: 48, cr3: 12288, \
             cr4: 64, cs: 8, fs_base: 1280, gs_base: 1536, tss: 24 }}"
        )
    );
}

#[cfg(feature = "tracing")]
#[test]
fn changes_between_runs_are_traced() {
    let _alone = alone();
    let mut vcpu = vcpu();
    unsafe {
        fake_exit = ffi::x86vcpu_exit {
            kind: ffi::X86VCPU_EXIT_NOTHING,
            reserved: 0,
            u: payload(),
        }
    };
    vcpu.run().unwrap();
    lock(&LOG).clear();
    vcpu.run().unwrap();
    vcpu.set_gpr(1, 0x2a);
    vcpu.run().unwrap();
    assert_eq!(
        *lock(&LOG),
        [
            "DEBUG x86_vcpu::vcpu: VCpu registers unchanged during handling VM-exit",
            "DEBUG x86_vcpu::vcpu: VCpu registers changed during handling VM-exit: GeneralRegistersDiff {\n    \
             rcx: \"0x0 -> 0x2a\",\n}",
        ]
    );
}

/// The table that the library got.
fn ops() -> &'static ffi::x86vcpu_host_ops {
    drop(vcpu());
    lock(&CALLS).clear();
    unsafe { &*fake_ops }
}

const CTX: *mut c_void = ptr::null_mut();

#[test]
fn memory_of_the_host() {
    let _alone = alone();
    let ops = ops();
    assert_eq!(
        (ops.size as usize, ops.abi_version),
        (size_of_val(ops), ffi::X86VCPU_ABI_VERSION)
    );
    let before = FRAMES.load(Ordering::SeqCst);
    unsafe {
        let frame = ops.alloc_frame.unwrap()(CTX);
        let frames = ops.alloc_contiguous_frames.unwrap()(CTX, 3, 0x2000);
        assert_eq!(*lock(&CALLS), ["alloc 3 0x2000"]);
        assert_eq!(FRAMES.load(Ordering::SeqCst), before + 4);
        assert_eq!(ops.phys_to_virt.unwrap()(CTX, frame) as u64, frame);
        ops.free_frame.unwrap()(CTX, frame);
        ops.free_contiguous_frames.unwrap()(CTX, frames, 3);
        assert_eq!(FRAMES.load(Ordering::SeqCst), before);
        NO_MEMORY.store(true, Ordering::SeqCst);
        assert_eq!(ops.alloc_frame.unwrap()(CTX), 0);
        assert_eq!(ops.alloc_contiguous_frames.unwrap()(CTX, 1, 4096), 0);
    }
}

#[test]
fn guest_memory_is_read_byte_by_byte() {
    let _alone = alone();
    let ops = ops();
    let mut bytes = [0u8; 16];
    unsafe {
        assert_eq!(
            ops.read_guest.unwrap()(CTX, 0x110, bytes.as_mut_ptr().cast(), 15),
            0
        );
        assert_eq!(bytes[..15], std::array::from_fn::<u8, 15, _>(|i| 0x10 + i as u8));
        assert_eq!(bytes[15], 0, "not one more");
        let status = ops.read_guest.unwrap()(CTX, 0xff8, bytes.as_mut_ptr().cast(), 9);
        assert_eq!(status, ffi::X86VCPU_ERR_BAD_STATE);
    }
}

#[test]
fn time_and_interrupts_of_the_host() {
    let _alone = alone();
    let ops = ops();
    NOW.store(77, Ordering::SeqCst);
    unsafe {
        assert_eq!(ops.nanos_to_ticks.unwrap()(CTX, 5), 15);
        assert_eq!(ops.time_ns.unwrap()(CTX), 77);
        ops.dispatch_external_interrupt.unwrap()(CTX, 0xec);
        ops.service_pending_interrupt.unwrap()(CTX);
        ops.send_interrupt.unwrap()(CTX, 9, 2, 0x41);
        ops.send_interrupt.unwrap()(CTX, 9, 2, 0xff);
    }
    assert_eq!(
        *lock(&CALLS),
        ["dispatch 0xec", "service", "inject 9 2 0x41", "inject 9 2 0xff"]
    );
    assert!(
        lock(&LOG)
            .last()
            .unwrap()
            .starts_with("WARN x86_vcpu::ops: interrupt 0xff to vCPU 2 of machine 9 is lost")
    );
    assert!(ops.notify.is_none() && ops.acknowledge_interrupt.is_none() && ops.current_cpu.is_none());
}

#[test]
fn log_of_the_library() {
    let _alone = alone();
    let ops = ops();
    lock(&LOG).clear();
    for (level, name) in [(1, "ERROR"), (2, "WARN"), (3, "INFO"), (4, "DEBUG"), (5, "TRACE")] {
        unsafe { ops.log.unwrap()(CTX, level, c"text and more".as_ptr(), 4) };
        assert_eq!(lock(&LOG).pop().unwrap(), format!("{name} x86_vcpu: text"));
    }
    unsafe { ops.log.unwrap()(CTX, 1, c"\xff\n".as_ptr(), 2) };
    assert_eq!(lock(&LOG).pop().unwrap(), r"ERROR x86_vcpu: \xff\n");
}

/// What the library's timer function was called with, and what it answers.
struct Ticks {
    calls: AtomicU64,
    now: AtomicU64,
    answer: AtomicU64,
}

impl Ticks {
    fn new() -> Self {
        Self {
            calls: AtomicU64::new(0),
            now: AtomicU64::new(0),
            answer: AtomicU64::new(0),
        }
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

unsafe extern "C" fn tick(arg: *mut c_void, now: u64) -> u64 {
    let ticks = unsafe { &*arg.cast::<Ticks>() };
    ticks.calls.fetch_add(1, Ordering::SeqCst);
    ticks.now.store(now, Ordering::SeqCst);
    ticks.answer.load(Ordering::SeqCst)
}

fn start(ticks: &Ticks) -> (i32, ffi::x86vcpu_timer) {
    let mut timer = ffi::x86vcpu_timer { opaque: [0; 2] };
    let arg = ptr::from_ref(ticks).cast_mut().cast();
    let status = unsafe { (*fake_ops).timer_start.unwrap()(CTX, 1000, Some(tick), arg, &mut timer) };
    (status, timer)
}

fn cancel(timer: &ffi::x86vcpu_timer) -> i32 {
    unsafe { (*fake_ops).timer_cancel.unwrap()(CTX, timer) }
}

fn timer_id() -> u64 {
    *lock(&TIMERS).keys().next_back().unwrap()
}

#[test]
fn a_timer_fires_again_until_it_is_done() {
    let _alone = alone();
    ops();
    let ticks = Ticks::new();
    let (status, timer) = start(&ticks);
    assert_eq!(status, 0);
    let id = timer_id();
    NOW.store(1001, Ordering::SeqCst);
    ticks.answer.store(2000, Ordering::SeqCst);
    assert_eq!(fire(id), Some(X86TimerAction::Rearm(2000)));
    assert_eq!(ticks.now.load(Ordering::SeqCst), 1001);
    ticks.answer.store(0, Ordering::SeqCst);
    assert_eq!(fire(id), Some(X86TimerAction::Complete));
    assert_eq!(ticks.calls(), 2);
    assert_eq!(cancel(&timer), 0);
    assert_eq!(*lock(&CALLS), ["timer 1000"], "one that is done is not cancelled");
}

#[test]
fn a_cancelled_timer_is_cancelled_with_the_host() {
    let _alone = alone();
    ops();
    let ticks = Ticks::new();
    let (_, timer) = start(&ticks);
    assert_eq!(cancel(&timer), 0);
    assert_eq!(cancel(&timer), 0);
    assert_eq!(*lock(&CALLS), ["timer 1000", "cancel"]);
    assert_eq!((lock(&TIMERS).len(), ticks.calls()), (0, 0));
}

#[test]
fn a_timer_that_the_host_cannot_cancel_does_nothing() {
    let _alone = alone();
    ops();
    let ticks = Ticks::new();
    let (_, timer) = start(&ticks);
    CANCEL_FAILS.store(true, Ordering::SeqCst);
    assert_eq!(cancel(&timer), 0);
    assert_eq!(cancel(&timer), 0);
    assert_eq!(*lock(&CALLS), ["timer 1000", "cancel"], "the host is asked once");
    assert_eq!(fire(timer_id()), Some(X86TimerAction::Complete));
    assert_eq!(ticks.calls(), 0);
}

#[test]
fn a_timer_that_fires_before_it_is_registered() {
    let _alone = alone();
    ops();
    FIRES_AT_ONCE.store(true, Ordering::SeqCst);
    let ticks = Ticks::new();
    let (status, timer) = start(&ticks);
    assert_eq!((status, ticks.calls()), (0, 1));
    assert_eq!(cancel(&timer), 0);
    assert_eq!(*lock(&CALLS), ["timer 1000"]);
}

#[test]
fn a_host_without_timers() {
    let _alone = alone();
    ops();
    TIMERS_FAIL.store(true, Ordering::SeqCst);
    assert_eq!(start(&Ticks::new()).0, ffi::X86VCPU_ERR_TIMER_UNAVAILABLE);
}

#[test]
fn an_old_name_cancels_no_later_timer() {
    let _alone = alone();
    ops();
    let ticks = Ticks::new();
    let (_, old) = start(&ticks);
    fire(timer_id());
    let (_, new) = start(&ticks);
    assert_eq!(old.opaque[0], new.opaque[0], "the record is used again");
    assert_ne!(old.opaque[1], new.opaque[1]);
    assert_eq!(cancel(&old), 0);
    assert_eq!(fire(timer_id()), Some(X86TimerAction::Complete));
    assert_eq!(ticks.calls(), 2);
    assert_eq!(cancel(&ffi::x86vcpu_timer { opaque: [0; 2] }), 0);
}

/// Cancels from another thread while the timer fires: nothing is called after cancel has returned.
#[test]
fn cancel_waits_for_a_running_callback() {
    let _alone = alone();
    ops();
    for _ in 0..200 {
        let ticks = Box::new(Ticks::new());
        ticks.answer.store(1, Ordering::SeqCst);
        let (_, timer) = start(&ticks);
        let id = timer_id();
        std::thread::scope(|scope| {
            scope.spawn(|| while let Some(X86TimerAction::Rearm(_)) = fire(id) {});
            while ticks.calls() == 0 {
                std::thread::yield_now();
            }
            assert_eq!(cancel(&timer), 0);
            let calls = ticks.calls();
            for _ in 0..10 {
                std::thread::yield_now();
            }
            assert_eq!(ticks.calls(), calls);
        });
    }
}
