// SPDX-License-Identifier: Apache-2.0
//! The crate's source serves two releases of upstream's interface.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cfg=x86_vcpu_0_6");
}
