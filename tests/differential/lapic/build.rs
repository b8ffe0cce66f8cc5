// SPDX-License-Identifier: Apache-2.0
//! Builds the library's local APIC, and what it calls, with the shim that drives it.
//!
//! X86VCPU_C names another folder instead of the repository's c/: a copy with a planted fault.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-env-changed=X86VCPU_C");
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("set by Cargo"));
    let c = env::var("X86VCPU_C").map_or_else(|_| here.join("../../../c"), PathBuf::from);
    let mut build = cc::Build::new();
    build
        .include(c.join("include"))
        .include(c.join("src"))
        .opt_level(2)
        .warnings(true)
        .flag("-std=gnu11")
        .flag("-fno-strict-aliasing");
    for folder in ["src/lapic", "src/emul"] {
        for source in sources(&c.join(folder)) {
            build.file(source);
        }
    }
    println!("cargo:rerun-if-changed={}", c.display());
    println!("cargo:rerun-if-changed=shim/shim.c");
    build.file(here.join("shim/shim.c")).compile("lapicshim");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    files.sort();
    files
}
