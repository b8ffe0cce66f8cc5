// SPDX-License-Identifier: Apache-2.0
//! Versions: `x86vcpu/version.h`.

pub const X86VCPU_VERSION_MAJOR: u32 = 0;
pub const X86VCPU_VERSION_MINOR: u32 = 1;
pub const X86VCPU_VERSION_PATCH: u32 = 0;
pub const X86VCPU_ABI_VERSION: u32 = 1;

unsafe extern "C" {
    pub fn x86vcpu_version() -> u32;
}
