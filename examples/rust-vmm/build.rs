// SPDX-License-Identifier: Apache-2.0
//! Compiles the bare machine (examples/platform, in C and assembly) that this VMM runs on, and links with its script.

use std::fs;
use std::path::Path;

const FLAGS: &[&str] = &[
    "-std=gnu11",
    "-ffreestanding",
    "-fno-stack-protector",
    "-mno-red-zone",
    "-mgeneral-regs-only",
    "-fcf-protection=none",
    "-fno-asynchronous-unwind-tables",
    "-fno-strict-aliasing",
    "-fno-pic",
    "-fno-pie",
    "-mcmodel=small",
];

fn main() {
    let platform = Path::new(env!("CARGO_MANIFEST_DIR")).join("../platform");
    let script = platform.join("link.ld");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", platform.display());
    println!("cargo:rustc-link-arg=-T{}", script.display());
    println!("cargo:rustc-link-arg=-zmax-page-size=4096");

    let mut build = cc::Build::new();
    for entry in fs::read_dir(&platform).expect("examples/platform") {
        let path = entry.expect("a readable folder").path();
        let is_stub = path.file_name().is_some_and(|name| name == "rom.S"); // wraps the finished image
        if path.extension().is_some_and(|e| e == "c" || e == "S") && !is_stub {
            build.file(path);
        }
    }
    build.include(&platform).include("../../c/include");
    for flag in FLAGS {
        build.flag(flag);
    }
    // The whole archive: nothing in Rust names the image's first instruction.
    build
        .opt_level(2)
        .pic(false)
        .cargo_metadata(false)
        .compile("platform");
    let out = std::env::var("OUT_DIR").expect("set by Cargo");
    println!("cargo:rustc-link-search=native={out}");
    println!("cargo:rustc-link-lib=static:+whole-archive=platform");
}
