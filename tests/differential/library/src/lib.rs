// SPDX-License-Identifier: Apache-2.0
//! The C library, and its declarations.
pub use cpu;
pub use x86_vcpu_sys::*;

/// Which build of it this is.
pub const BUILD: &str = if cfg!(production) { "production" } else { "seam" };

/// Once, before anything of the library is called.
#[cfg(not(production))]
pub fn prepare() {}

/// Instructions that would not fault are replaced by ones that do.
#[cfg(production)]
pub fn prepare() {
    const SITES: &[usize] = include!(concat!(env!("OUT_DIR"), "/sites.rs"));
    unsafe extern "C" {
        static production_text: u8;
    }
    for site in SITES {
        let address = &raw const production_text as usize + site;
        assert_eq!(
            unsafe { cpu::model_trap_replace(address) },
            0,
            "the text cannot be written"
        );
    }
}
