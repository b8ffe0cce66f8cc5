// SPDX-License-Identifier: Apache-2.0
//! Registers, interrupts, and a vCPU as text.

use super::*;

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
