// SPDX-License-Identifier: Apache-2.0
//! With the C library itself, on a build host: a program in user mode, where nothing may touch hardware.
#![cfg(not(feature = "fake"))]

use std::sync::atomic::Ordering;

use compat_tests::{FRAMES, Host, NO_MEMORY, alone};
use x86_vcpu::host::PhysFrame;
use x86_vcpu::*;

#[test]
fn before_initialization_everything_is_a_bad_state() {
    let _alone = alone();
    let bad = Some(X86VcpuError::BadState);
    assert_eq!(selected_nested_paging_format().err(), bad);
    assert_eq!(requires_apic_access_page().err(), bad);
    assert_eq!(apic_access_page_gpa().err(), bad);
    assert_eq!(apic_access_page_addr::<Host>().err(), bad);
    assert_eq!(X86PerCpuState::<Host>::new(0).err(), bad);
    assert_eq!(
        X86Vcpu::<Host>::new_with_config(0, 0, X86VcpuCreateConfig).err(),
        bad
    );
    assert_eq!(FRAMES.load(Ordering::SeqCst), 0);
}

#[test]
fn detection_answers_what_cpuid_says() {
    let _alone = alone();
    let vmx = std::arch::x86_64::__cpuid(1).ecx & 1 << 5 != 0;
    let svm = std::arch::x86_64::__cpuid(0x8000_0000).eax > 0x8000_0000
        && std::arch::x86_64::__cpuid(0x8000_0001).ecx & 1 << 2 != 0;
    assert_eq!(has_hardware_support(), vmx != svm);
}

#[test]
fn frames_are_the_hosts() {
    let _alone = alone();
    {
        let mut frame = PhysFrame::<Host>::alloc_zero().unwrap();
        assert_eq!(FRAMES.load(Ordering::SeqCst), 1);
        assert_eq!(frame.as_mut_ptr() as usize, frame.start_paddr().as_usize());
        frame.fill(0xa5);
        let bytes = unsafe { std::slice::from_raw_parts(frame.as_mut_ptr(), 4096) };
        assert!(bytes.iter().all(|&byte| byte == 0xa5));
    }
    assert_eq!(FRAMES.load(Ordering::SeqCst), 0);
    NO_MEMORY.store(true, Ordering::SeqCst);
    assert_eq!(PhysFrame::<Host>::alloc().err(), Some(X86VcpuError::NoMemory));
}

#[test]
fn a_frame_that_is_none_does_no_harm() {
    let _alone = alone();
    let mut frame = unsafe { PhysFrame::<Host>::uninit() };
    frame.fill(1);
    assert!(frame.as_mut_ptr().is_null());
    assert_eq!(frame.start_paddr().as_usize(), 0);
}

#[test]
fn auto_traits() {
    fn send_sync<T: Send + Sync + Unpin>() {}
    send_sync::<X86PerCpuState<Host>>();
    send_sync::<PhysFrame<Host>>();
}
