// SPDX-License-Identifier: Apache-2.0
//! The library that was built is the one that is declared.

use std::ffi::CStr;
use std::ptr;

use x86_vcpu_sys::*;

fn text(pointer: *const std::ffi::c_char) -> &'static str {
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap()
}

#[test]
fn one_version_everywhere() {
    let declared = format!("{X86VCPU_VERSION_MAJOR}.{X86VCPU_VERSION_MINOR}.{X86VCPU_VERSION_PATCH}");
    assert_eq!(declared, env!("CARGO_PKG_VERSION"));
    let linked = unsafe { x86vcpu_version() };
    assert_eq!(
        linked,
        X86VCPU_VERSION_MAJOR << 16 | X86VCPU_VERSION_MINOR << 8 | X86VCPU_VERSION_PATCH
    );
}

#[test]
fn texts_cross() {
    unsafe {
        assert_eq!(text(x86vcpu_regs_name(4)), "rsp");
        assert_eq!(text(x86vcpu_exit_name(X86VCPU_EXIT_HALT)), "HALT");
        assert_eq!(text(x86vcpu_msr_name(X86VCPU_MSR_IA32_EFER)), "IA32_EFER");
        assert_eq!(text(x86vcpu_extension_name(X86VCPU_EXTENSION_SVM)), "SVM");
    }
}

#[test]
fn structures_cross() {
    let before: x86vcpu_regs = unsafe { std::mem::zeroed() };
    let after = x86vcpu_regs {
        rbx: 1,
        r15: 2,
        unused_rsp: 3,
        ..before
    };
    assert_eq!(unsafe { x86vcpu_regs_diff(&before, &after) }, 1 << 3 | 1 << 15);
    let mut value = 0;
    assert_eq!(unsafe { x86vcpu_regs_get(&after, 15, &mut value) }, X86VCPU_OK);
    assert_eq!(value, 2);
}

#[test]
fn a_table_of_another_abi_is_refused() {
    let mut ops: x86vcpu_host_ops = unsafe { std::mem::zeroed() };
    let mut percpu = ptr::null_mut();
    let mut create =
        |ops: &x86vcpu_host_ops| unsafe { x86vcpu_percpu_create(ops, ptr::null_mut(), 0, &mut percpu) };
    assert_eq!(create(&ops), X86VCPU_ERR_ABI_MISMATCH);
    ops.size = size_of_val(&ops) as u32;
    ops.abi_version = X86VCPU_ABI_VERSION + 1;
    assert_eq!(create(&ops), X86VCPU_ERR_ABI_MISMATCH);
    ops.abi_version = X86VCPU_ABI_VERSION;
    assert_eq!(
        create(&ops),
        X86VCPU_ERR_INVALID_INPUT,
        "complete, but for its slots"
    );
}
