// SPDX-License-Identifier: Apache-2.0
//! The C library, and its declarations.
pub use cpu;
pub use x86_vcpu_sys::*;
