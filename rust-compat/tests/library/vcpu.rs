// SPDX-License-Identifier: Apache-2.0
//! vCPUs and CPUs.

use crate::{fake::*, host::*, *};

#[test]
fn exits_have_the_crate_s_shape() {
    let mut bench = bench();
    let cases = [
        (
            exit(ffi::X86VCPU_EXIT_HYPERCALL, |u| {
                u.hypercall = ffi::x86vcpu_hypercall {
                    nr: 9,
                    args: [1, 2, 3, 4, 5, 6],
                }
            }),
            "Hypercall { nr: 9, args: [1, 2, 3, 4, 5, 6] }",
        ),
        (
            exit(ffi::X86VCPU_EXIT_PORT_IO_READ, |u| {
                u.port_io = ffi::x86vcpu_port_io {
                    port: 0x3f8,
                    width: 1,
                    ..unsafe { zeroed() }
                }
            }),
            "PortIoRead { port: X86Port(0x3f8), width: Word }",
        ),
        (
            exit(ffi::X86VCPU_EXIT_PORT_IO_WRITE, |u| {
                u.port_io = ffi::x86vcpu_port_io {
                    port: 0x604,
                    width: 2,
                    data: 0x2000,
                    ..unsafe { zeroed() }
                }
            }),
            "PortIoWrite { port: X86Port(0x604), width: Dword, data: 8192 }",
        ),
        (
            exit(ffi::X86VCPU_EXIT_MMIO_READ, |u| {
                u.mmio = ffi::x86vcpu_mmio {
                    gpa: 0xd0000000,
                    reg: 1,
                    has_byte_reg: 1,
                    byte_reg_high: 1,
                    ..unsafe { zeroed() }
                }
            }),
            "MmioRead { addr: GPA(0xd0000000), width: Byte, reg: 1, reg_width: Byte, signed_ext: false, \
             byte_reg: Some(X86ByteRegister { gpr: 1, high: true }) }",
        ),
        (
            exit(ffi::X86VCPU_EXIT_MMIO_WRITE, |u| {
                u.mmio = ffi::x86vcpu_mmio {
                    gpa: 0x10,
                    width: 3,
                    data: 5,
                    ..unsafe { zeroed() }
                }
            }),
            "MmioWrite { addr: GPA(0x10), width: Qword, data: 5 }",
        ),
        (
            exit(ffi::X86VCPU_EXIT_MSR_READ, |u| u.msr.index = 0x1b),
            "MsrRead { addr: MSR(0x1b) }",
        ),
        (
            exit(ffi::X86VCPU_EXIT_MSR_WRITE, |u| {
                u.msr = ffi::x86vcpu_msr_access {
                    index: 0x10,
                    reserved: 0,
                    value: 7,
                }
            }),
            "MsrWrite { addr: MSR(0x10), value: 7 }",
        ),
        (
            exit(ffi::X86VCPU_EXIT_NESTED_PAGE_FAULT, |u| {
                u.nested_page_fault = ffi::x86vcpu_nested_page_fault {
                    gpa: 0x3000,
                    access: 5,
                }
            }),
            "NestedPageFault { addr: GPA(0x3000), access_flags: X86AccessFlags(READ | EXECUTE) }",
        ),
        (
            exit(ffi::X86VCPU_EXIT_PREEMPTION_TIMER, |_| ()),
            "PreemptionTimer",
        ),
        (
            exit(ffi::X86VCPU_EXIT_INTERRUPT_END, |u| {
                u.interrupt_end = ffi::x86vcpu_interrupt_end {
                    has_vector: 1,
                    vector: 0x31,
                }
            }),
            "InterruptEnd { vector: Some(49) }",
        ),
        (exit(ffi::X86VCPU_EXIT_HALT, |_| ()), "Halt"),
        (exit(ffi::X86VCPU_EXIT_WAIT_FOR_SIPI, |_| ()), "Halt"),
        (exit(ffi::X86VCPU_EXIT_SYSTEM_DOWN, |_| ()), "SystemDown"),
        (
            exit(ffi::X86VCPU_EXIT_FAIL_ENTRY, |u| {
                u.fail_entry.reason = 0x8000_0021
            }),
            "FailEntry { hardware_entry_failure_reason: 2147483681 }",
        ),
        (exit(ffi::X86VCPU_EXIT_NOTHING, |_| ()), "Nothing"),
    ];
    for (raw, expected) in cases {
        assert_eq!(text(bench.exits(raw)), expected);
    }
}

#[test]
fn port_read_answers_keep_the_rest_of_rax() {
    let mut bench = bench();
    bench.fake(|fake| fake.gprs[0] = 0x1122_3344_5566_7788);
    bench.exits(exit(ffi::X86VCPU_EXIT_PORT_IO_READ, |u| u.port_io.width = 0));
    bench.vcpu.set_gpr(0, 0xffff_ffff_ffff_ffab);
    assert_eq!(bench.gpr(0), 0x1122_3344_5566_77ab);
    // The read is answered: what comes now is a plain register.
    bench.vcpu.set_gpr(0, 1);
    assert_eq!(bench.gpr(0), 1);
    bench.exits(exit(ffi::X86VCPU_EXIT_PORT_IO_READ, |u| u.port_io.width = 2));
    bench.vcpu.set_gpr(0, 0xdead_0000_1234);
    assert_eq!(bench.gpr(0), 0x0000_1234);
}

#[test]
fn msr_read_answers_go_to_edx_eax() {
    let mut bench = bench();
    bench.exits(exit(ffi::X86VCPU_EXIT_MSR_READ, |_| ()));
    bench.vcpu.set_gpr(0, 0x1111_2222_8333_4444);
    assert_eq!((bench.gpr(0), bench.gpr(2)), (0x8333_4444, 0x1111_2222));
}

#[test]
fn mmio_read_answers_are_extended_as_the_instruction_says() {
    let mut bench = bench();
    let before = 0xaaaa_bbbb_cccc_dddd;
    // (width, register's width, signed, the VMM's value, expected)
    let cases = [
        (2, 2, 0, 0xffff_ffff_1234_5678, 0x1234_5678),
        (1, 1, 0, 0x5678, 0xaaaa_bbbb_cccc_5678),
        (1, 2, 0, 0x8678, 0x8678),
        (0, 2, 1, 0x80, 0xffff_ff80),
        (2, 3, 1, 0x8000_0000, 0xffff_ffff_8000_0000),
        (0, 1, 0, 0xff80, 0xaaaa_bbbb_cccc_0080),
    ];
    for (width, reg_width, signed, value, expected) in cases {
        bench.fake(|fake| fake.gprs[6] = before);
        bench.exits(mmio_read(6, width, reg_width, signed));
        // The other registers are nobody's answer.
        bench.vcpu.set_gpr_word(7, 0x99);
        bench.vcpu.set_gpr(6, value);
        assert_eq!(bench.gpr(6), expected, "{width} {reg_width} {signed} {value:#x}");
        assert_eq!(bench.gpr(7), 0x99);
    }
    // axvm answers 16-bit reads so, whatever the register's width.
    bench.fake(|fake| fake.gprs[6] = before);
    bench.exits(mmio_read(6, 1, 2, 0));
    bench.vcpu.set_gpr_word(6, 0x8000);
    assert_eq!(bench.gpr(6), 0x8000);
}

#[test]
fn byte_registers() {
    let mut bench = bench();
    bench.fake(|fake| fake.gprs[1] = 0x1122_3344);
    let read = |high| {
        exit(ffi::X86VCPU_EXIT_MMIO_READ, move |u| {
            u.mmio = ffi::x86vcpu_mmio {
                reg: 1,
                has_byte_reg: 1,
                byte_reg_high: high,
                ..unsafe { zeroed() }
            }
        })
    };
    for (high, expected) in [(1, 0x1122_7744), (0, 0x1122_7777)] {
        let X86VmExit::MmioRead {
            byte_reg: Some(reg), ..
        } = bench.exits(read(high))
        else {
            panic!("no byte register")
        };
        bench.vcpu.set_gpr_byte(reg, 0x77);
        assert_eq!(bench.gpr(1), expected);
    }
    // A VMM that does not know of byte registers.
    bench.exits(read(1));
    bench.vcpu.set_gpr(1, 0x5a);
    assert_eq!(bench.gpr(1), 0x1122_5a77);
}

#[test]
fn rsp_waits_for_the_bind() {
    let mut bench = bench();
    bench.fake(|fake| fake.gprs[4] = 0x1111_2222_3333_4444);
    bench.exits(mmio_read(4, 2, 2, 0));
    bench
        .vcpu
        .set_gpr_rsp(X86AccessWidth::Dword, 0xffff_ffff_8765_4321);
    bench.vcpu.set_gpr_rsp(X86AccessWidth::Byte, 0xee);
    assert_eq!(bench.gpr(4), 0x1111_2222_3333_4444);
    bench.vcpu.bind().unwrap();
    assert_eq!(bench.gpr(4), 0x8765_43ee);
    bench.vcpu.set_gpr_rsp(X86AccessWidth::Word, 0x1);
    assert_eq!(bench.gpr(4), 0x8765_0001);
}

#[test]
fn registers_that_there_are_not_are_ignored() {
    let mut bench = bench();
    bench.vcpu.set_gpr(4, 1);
    bench.vcpu.set_gpr(16, 1);
    bench.vcpu.set_gpr(256, 1);
    bench.vcpu.set_gpr_word(usize::MAX, 1);
    assert_eq!(bench.fake(|fake| fake.gprs), [0; 16]);
    bench.vcpu.set_return_value(5);
    assert_eq!(bench.gpr(0), 5);
}

#[test]
fn string_elements_are_committed_whole() {
    let mut bench = bench();
    let raw = ffi::x86vcpu_port_io_string {
        port: 0x1f0,
        width: 1,
        direction: 1,
        has_count: 1,
        instruction_complete: 1,
        reserved: [0; 2],
        gpa: 0x1fff,
        gpa2: 0x8000,
        updated_index: 0x2001,
        updated_count: 0,
        next_rip: 0x7c02,
    };
    let string = exit(ffi::X86VCPU_EXIT_PORT_IO_STRING, |u| u.port_io_string = raw);
    let X86VmExit::PortIoString(element) = bench.exits(string) else {
        panic!()
    };
    assert_eq!(
        format!("{element:?}"),
        "X86PortIoStringExit { port: X86Port(0x1f0), width: Word, direction: Out, guest_paddr: GPA(0x1fff), \
         updated_index: 8193, updated_count: Some(0), instruction_complete: true, next_rip: 31746 }"
    );
    // axvm commits at its next bound entry; the second page, which the crate never had, goes back too.
    assert_eq!(
        bench.vcpu.complete_port_io_string(element),
        Err(X86VcpuError::BadState)
    );
    bench.vcpu.bind().unwrap();
    assert_eq!(bench.vcpu.complete_port_io_string(element), Ok(()));
    assert_eq!(bench.fake(|fake| fake.committed.unwrap().gpa2), 0x8000);
    assert_eq!(
        bench.vcpu.complete_port_io_string(element),
        Err(X86VcpuError::BadState)
    );
}

#[test]
fn setups_reach_the_library() {
    let mut bench = bench();
    let io_apic = (0xfec0_0000, 0x1000);
    let mut config = X86VcpuSetupConfig::default();
    config.add_intercepted_port_range(0x60, 5).unwrap();
    config.add_intercepted_port_range(0xffff, 1).unwrap();
    for page in 0..300 {
        config
            .add_intercepted_mmio_range((0xd000_0000 + page * 0x1000).into(), 0x1000)
            .unwrap();
    }
    config.intercepted_mmio.push(X86InterceptedMmioRange {
        base: 0x10.into(),
        size: 0,
    });
    config.intercepted_mmio.push(X86InterceptedMmioRange {
        base: (usize::MAX - 1).into(),
        size: 9,
    });
    for n in 0..200 {
        let gpa = X86GuestPhysAddr::from_usize(n << 32);
        config.guest_memory_regions.push(X86GuestMemoryRegion {
            gpa,
            hva: 0x1000.into(),
            size: 4096,
        });
    }
    bench.vcpu.setup(config).unwrap();
    let setup = bench.fake(|fake| fake.setup.clone().unwrap());
    assert_eq!(setup.ports, [(0x60, 5), (0xffff, 1)]);
    assert_eq!(
        setup.mmio,
        [(0xd000_0000, 300 * 0x1000), io_apic, (u64::MAX - 1, 2)]
    );
    assert_eq!(setup.memory.len(), 128);
    bench.vcpu.setup(X86VcpuSetupConfig::default()).unwrap();
    assert_eq!(bench.fake(|fake| fake.setup.clone().unwrap()).mmio, [io_apic]);
}

#[test]
fn binding_is_forgiving_where_the_crate_was() {
    let mut bench = bench();
    assert_eq!(bench.vcpu.unbind(), Ok(()));
    assert_eq!(bench.vcpu.bind(), Ok(()));
    assert_eq!(bench.vcpu.bind(), Ok(()));
    assert_eq!(bench.vcpu.setup(X86VcpuSetupConfig::default()), Ok(()));
    assert_eq!(bench.fake(|fake| fake.bound), Some(0));
    CPU.set(1);
    assert_eq!(bench.vcpu.bind(), Err(X86VcpuError::ResourceBusy));
    assert_eq!(bench.vcpu.unbind(), Err(X86VcpuError::BadState));
    assert_eq!(
        bench.vcpu.setup(X86VcpuSetupConfig::default()),
        Err(X86VcpuError::ResourceBusy)
    );
    assert!(matches!(bench.vcpu.run(), Err(X86VcpuError::BadState)));
    CPU.set(0);
    assert_eq!(bench.vcpu.unbind(), Ok(()));
}

#[test]
fn events() {
    let mut bench = bench();
    assert_eq!(bench.vcpu.inject_interrupt(0), Err(X86VcpuError::InvalidInput));
    assert_eq!(bench.vcpu.inject_interrupt(256), Err(X86VcpuError::InvalidInput));
    assert_eq!(
        bench.vcpu.inject_interrupt(1 << 40),
        Err(X86VcpuError::InvalidInput)
    );
    bench.fake(|fake| fake.interrupts.clear());
    bench.vcpu.inject_interrupt(0x30).unwrap();
    bench.vcpu.inject_interrupt_with_trigger(0xff, true).unwrap();
    assert_eq!(bench.fake(|fake| fake.interrupts.clone()), [(0x30, 0), (0xff, 1)]);
    assert!(!bench.vcpu.has_pending_event());
    bench.fake(|fake| fake.pending = 1);
    assert!(bench.vcpu.has_pending_event());
    assert_eq!(bench.vcpu.handle_eoi(), None);
    bench.fake(|fake| fake.eoi = 0x51);
    assert_eq!(bench.vcpu.handle_eoi(), Some(0x51));
}

#[test]
fn bad_arguments_are_errors() {
    let mut bench = bench();
    let new = |vcpu_id| X86Vcpu::<Host>::new_with_config(0, vcpu_id, X86VcpuCreateConfig).map(drop);
    assert_eq!(new(63), Ok(()));
    assert_eq!(new(64), Err(X86VcpuError::InvalidInput));
    assert_eq!(new(1 << 32), Err(X86VcpuError::InvalidInput));
    assert_eq!(
        bench.vcpu.set_entry(0x10000.into()),
        Err(X86VcpuError::InvalidInput)
    );
    let three = X86NestedPagingConfig::new(0x9000.into(), 3, 39, 0);
    assert_eq!(
        bench.vcpu.set_nested_page_table(three),
        Err(X86VcpuError::InvalidInput)
    );
}

#[test]
fn vcpus_of_one_host_are_one_machine() {
    let bench = bench();
    assert_eq!(bench.fake(|fake| fake.id), (3, 1));
    let machine = bench.fake(|fake| fake.machine);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(|| {
                let vcpu = X86Vcpu::<Host>::new_with_config(3, 2, X86VcpuCreateConfig).unwrap();
                std::mem::forget(vcpu);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    world(|world| {
        for fake in world.vcpus.values().filter(|fake| fake.id == (3, 2)) {
            assert_eq!(fake.machine, machine);
        }
        world.vcpus.retain(|_, fake| fake.id != (3, 2));
        world.machines.get_mut(&machine).unwrap().vcpus = 1;
    });
    let other = X86Vcpu::<OtherHost>::new_with_config(3, 1, X86VcpuCreateConfig).unwrap();
    let others = vcpu(newest() as *const _, |fake| fake.machine);
    assert_ne!(others, machine);
    drop(other);
    world(|world| assert!(!world.machines.contains_key(&others) && world.machines.contains_key(&machine)));
    let another = X86Vcpu::<Host>::new_with_config(4, 1, X86VcpuCreateConfig).unwrap();
    assert_ne!(vcpu(newest() as *const _, |fake| fake.machine), machine);
    drop(another);
}

#[test]
fn drops_are_safe() {
    let bench_count = || world(|world| world.vcpus.len());
    let mut bench = bench();
    let before = bench_count();
    // Bound here: released first.
    bench.vcpu.bind().unwrap();
    let moved = Box::new(bench.vcpu);
    drop(moved);
    assert_eq!(bench_count(), before - 1);
    // Bound elsewhere: kept.
    let mut vcpu = X86Vcpu::<Host>::new_with_config(0, 0, X86VcpuCreateConfig).unwrap();
    vcpu.setup(X86VcpuSetupConfig::default()).unwrap();
    vcpu.bind().unwrap();
    CPU.set(1);
    drop(vcpu);
    assert_eq!(bench_count(), before);
    world(|world| world.leaked += 1);
}

#[test]
fn cpus() {
    let _alone = alone();
    let count = || world(|world| world.percpu.len());
    let before = count();
    let mut state = X86PerCpuState::<Host>::new(0).unwrap();
    assert!(!state.is_enabled());
    assert_eq!(state.hardware_disable(), Err(X86VcpuError::BadState));
    state.hardware_enable().unwrap();
    assert!(state.is_enabled());
    assert_eq!(state.hardware_enable(), Err(X86VcpuError::ResourceBusy));
    // Dropped while enabled: turned off here, kept for ever elsewhere.
    drop(state);
    assert_eq!(count(), before);
    let mut state = X86PerCpuState::<Host>::new(1).unwrap();
    CPU.set(1);
    state.hardware_enable().unwrap();
    CPU.set(0);
    drop(state);
    assert_eq!(count(), before + 1);
    // A CPU with another extension.
    EXTENSION.store(ffi::X86VCPU_EXTENSION_VMX.into(), Ordering::Relaxed);
    assert_eq!(initialize_hardware_support(), Err(X86VcpuError::BadState));
    assert_eq!(
        X86PerCpuState::<Host>::new(2).map(drop),
        Err(X86VcpuError::BadState)
    );
    EXTENSION.store(ffi::X86VCPU_EXTENSION_NONE.into(), Ordering::Relaxed);
    assert!(!has_hardware_support());
    assert_eq!(initialize_hardware_support(), Err(X86VcpuError::Unsupported));
    EXTENSION.store(ffi::X86VCPU_EXTENSION_SVM.into(), Ordering::Relaxed);
    assert!(has_hardware_support());
    assert_eq!(selected_nested_paging_format(), Ok(X86NestedPagingFormat::Npt));
    assert_eq!(requires_apic_access_page(), Ok(false));
    assert_eq!(apic_access_page_gpa(), Err(X86VcpuError::Unsupported));
    assert_eq!(apic_access_page_addr::<Host>(), Err(X86VcpuError::Unsupported));
}

#[test]
fn debug_shows_the_state_bound_or_not() {
    let mut bench = bench();
    let text = |vcpu: &X86Vcpu<Host>| format!("{vcpu:?}");
    let expected = |rflags, on| {
        format!(
            "SvmVcpu {{ entry: Some(GPA(0x7c00)), npt_root: Some(HPA(0x9000)), vmcb: HPA(0x5000), launched: false, \
             rip: 31744, rflags: {rflags}, rflags_if: {on} }}"
        )
    };
    // At reset.
    assert_eq!(text(&bench.vcpu), expected(2, false));
    bench.vcpu.bind().unwrap();
    assert_eq!(text(&bench.vcpu), expected(514, true));
    bench.vcpu.unbind().unwrap();
    assert_eq!(text(&bench.vcpu), expected(514, true));
    let new = X86Vcpu::<Host>::new_with_config(0, 0, X86VcpuCreateConfig).unwrap();
    assert_eq!(
        text(&new),
        "SvmVcpu { entry: None, npt_root: None, vmcb: HPA(0x5000), launched: false, rip: 0, rflags: 0, rflags_if: false }"
    );
}

#[test]
fn an_8259a_s_interrupt_ends_at_the_local_apic_too() {
    let mut bench = bench();
    let write = |port, data| {
        exit(ffi::X86VCPU_EXIT_PORT_IO_WRITE, |u| {
            u.port_io = ffi::x86vcpu_port_io {
                port,
                data,
                ..unsafe { zeroed() }
            }
        })
    };
    bench.vcpu.inject_interrupt(0x30).unwrap();
    bench.vcpu.inject_interrupt_with_trigger(0x31, true).unwrap();
    // What is in service, what the guest writes, what stays in service.
    let cases: [(&[u8], u16, u64, &[u8]); 9] = [
        (&[0x30], 0x20, 0x20, &[]),
        (&[0x30], 0x20, 0x60, &[]),
        (&[0x20, 0x30], 0x20, 0xa0, &[0x20]),
        // Not injected, or not edge-triggered.
        (&[0x32], 0x20, 0x20, &[0x32]),
        (&[0x30, 0x31], 0x20, 0x20, &[0x30, 0x31]),
        // Other commands, other ports.
        (&[0x30], 0x20, 0x11, &[0x30]),
        (&[0x30], 0x20, 0x0b, &[0x30]),
        (&[0x30], 0x21, 0x20, &[0x30]),
        (&[0x30], 0xa0, 0x20, &[0x30]),
    ];
    for (before, port, data, after) in cases {
        bench.fake(|fake| fake.in_service = before.to_vec());
        bench.exits(write(port, data));
        assert_eq!(
            bench.fake(|fake| fake.in_service.clone()),
            after,
            "{port:#x} {data:#x}"
        );
    }
    // A setup begins anew.
    bench.vcpu.setup(X86VcpuSetupConfig::default()).unwrap();
    bench.fake(|fake| fake.in_service = vec![0x30]);
    bench.exits(write(0x20, 0x20));
    assert_eq!(bench.fake(|fake| fake.in_service.clone()), [0x30]);
}
