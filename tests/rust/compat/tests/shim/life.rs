// SPDX-License-Identifier: Apache-2.0
//! CPUs, and vCPUs from creation to their end.

use super::*;

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
        "machine_create 7\ncreate 3 of 7\nset_entry 0x7c00\nset_nested_page_table 0x5000 4 48 0\nsetup\nbind\nunbind\n\
         destroy\nmachine_destroy\n"
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
    assert_eq!(journal(), "unbind\ndestroy\nmachine_destroy\n");
    assert_eq!(FRAMES.load(Ordering::SeqCst), before);

    // A machine of its own, because it stays.
    let mut elsewhere = Vcpu::new_with_config(70, 3, X86VcpuCreateConfig).unwrap();
    elsewhere.bind().unwrap();
    journal();
    unsafe { fake_elsewhere = 1 };
    drop(elsewhere);
    assert_eq!(journal(), "");
    assert_eq!(FRAMES.load(Ordering::SeqCst), before + 3, "memory in use is kept");
    assert!(lock(&LOG).last().unwrap().starts_with("ERROR"));
}

#[test]
fn vcpus_of_one_host_type_and_number_are_one_machine() {
    let _alone = alone();
    let first = vcpu();
    journal();
    let second = Vcpu::new_with_config(7, 4, X86VcpuCreateConfig).unwrap();
    assert_eq!(journal(), "create 4 of 7\n");
    let other = X86Vcpu::<Host<1>>::new_with_config(7, 4, X86VcpuCreateConfig).unwrap();
    assert_eq!(journal(), "machine_create 7\ncreate 4 of 7\n");
    drop(first);
    assert_eq!(journal(), "destroy\n");
    drop(second);
    assert_eq!(journal(), "destroy\nmachine_destroy\n");
    drop(other);
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
