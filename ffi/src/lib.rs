// SPDX-License-Identifier: Apache-2.0
#![doc = include_str!("../README.md")]
#![no_std]
#![allow(non_camel_case_types)]

pub mod apic;
pub mod debug;
pub mod exit;
pub mod host;
pub mod machine;
pub mod mitigation;
pub mod msr;
pub mod nested;
pub mod percpu;
pub mod regs;
pub mod save;
pub mod status;
pub mod svm;
pub mod vcpu;
pub mod version;
pub mod vmx;

pub use apic::*;
pub use debug::*;
pub use exit::*;
pub use host::*;
pub use machine::*;
pub use mitigation::*;
pub use msr::*;
pub use nested::*;
pub use percpu::*;
pub use regs::*;
pub use save::*;
pub use status::*;
pub use svm::*;
pub use vcpu::*;
pub use version::*;
pub use vmx::*;

// What the headers promise of their sizes.
const _: () = {
    assert!(size_of::<x86vcpu_regs>() == 128);
    assert!(size_of::<x86vcpu_exit>() == 128);
    assert!(size_of::<x86vcpu_timer>() == 16);
};
