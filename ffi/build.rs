// SPDX-License-Identifier: Apache-2.0
//! Builds the C library, or finds an installed one.
//!
//! A crate that depends on this one gets the folder of the C headers in DEP_X86VCPU_INCLUDE.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    assert!(arch == "x86_64", "x86vcpu runs on x86_64; the target is {arch}");
    #[cfg(feature = "system")]
    system::link();
    #[cfg(not(feature = "system"))]
    bundled::build();
}

fn tell_include(folder: &str) {
    println!("cargo:include={folder}");
}

#[cfg(feature = "system")]
mod system {
    use super::*;

    /// The installed library holds freestanding code for x86-64, whatever the target's system is, so
    /// pkg-config's fear of cross compilation is unfounded.
    pub fn link() {
        // SAFETY: a build script has one thread here.
        unsafe { env::set_var("PKG_CONFIG_ALLOW_CROSS", "1") };
        let wanted = env::var("CARGO_PKG_VERSION").expect("set by Cargo");
        let next = format!(
            "{}.{}",
            env::var("CARGO_PKG_VERSION_MAJOR").expect("set by Cargo"),
            env::var("CARGO_PKG_VERSION_MINOR")
                .expect("set by Cargo")
                .parse::<u32>()
                .expect("a number")
                + 1
        );
        let library = pkg_config::Config::new()
            .statik(true)
            .range_version(wanted.as_str()..next.as_str())
            .probe("x86vcpu")
            .unwrap_or_else(|error| {
                panic!(
                    "feature `system` needs x86vcpu {wanted} installed (cmake --install) and \
                     PKG_CONFIG_PATH set to the folder of x86vcpu.pc: {error}"
                )
            });
        let include = library.include_paths.first().map(PathBuf::as_path);
        tell_include(
            &include
                .expect("x86vcpu.pc names its headers")
                .display()
                .to_string(),
        );
    }
}

#[cfg(not(feature = "system"))]
mod bundled {
    use super::*;
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    /// What a kernel needs whatever the target is called: no libc, no red zone (interrupts use the
    /// stack), no FPU registers. Neither gcc nor the cc crate derives them from a bare-metal target.
    const FLAGS: &[&str] = &[
        "-std=gnu11",
        "-ffreestanding",
        "-fno-stack-protector",
        "-mno-red-zone",
        "-mgeneral-regs-only",
        "-fcf-protection=none",
        "-fno-asynchronous-unwind-tables",
        "-fno-strict-aliasing",
        "-fno-common",
        // Position-independent, and every name within the library reached without a GOT: links into
        // PIE, static PIE and at the top of the address space alike.
        "-fPIE",
        "-fvisibility=hidden",
    ];

    pub fn build() {
        let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("set by Cargo")).join("c");
        let out = PathBuf::from(env::var("OUT_DIR").expect("set by Cargo"));
        println!("cargo:rerun-if-changed={}", root.display());
        let mut sources = Vec::new();
        collect(&root.join("src"), &mut sources);
        sources.sort();
        assert!(!sources.is_empty(), "no C sources in {}", root.display());

        let objects = compiler(&root).files(&sources).compile_intermediates();
        let library = out.join("x86vcpu.o");
        link_one_object(&objects, &library);
        cc::Build::new()
            .cargo_metadata(true)
            .pic(false)
            .object(&library)
            .compile("x86vcpu");
        tell_include(&root.join("include").display().to_string());
    }

    fn compiler(root: &Path) -> cc::Build {
        let mut build = cc::Build::new();
        build.include(root.join("include")).include(root.join("src"));
        // Custom targets, of which the cc crate knows nothing, get what bare metal gets.
        let target = env::var("TARGET").expect("set by Cargo");
        if target != "x86_64-unknown-linux-gnu" {
            build.target("x86_64-unknown-none");
        }
        // Not what Cargo's profile says: -O0 would leave calls in code that must not have any.
        build.opt_level(2).pic(false).warnings(false).cargo_warnings(true);
        for flag in FLAGS {
            build.flag(flag);
        }
        build
    }

    fn collect(folder: &Path, sources: &mut Vec<PathBuf>) {
        println!("cargo:rerun-if-changed={}", folder.display());
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                collect(&path, sources);
            } else if path.extension().is_some_and(|e| e == "c" || e == "S") {
                sources.push(path);
            }
        }
    }

    /// One relocatable object, in which only the public names are global: the library's internal names
    /// cannot clash with the kernel's.
    fn link_one_object(objects: &[PathBuf], library: &Path) {
        let partial = library.with_extension("partial.o");
        let mut link = tool("LD", "ld");
        link.args(["-r", "-o"]).arg(&partial).args(objects);
        run(
            link,
            "link the library's objects into one (ld is in binutils, or set LD)",
        );

        let mut localize = tool("OBJCOPY", "objcopy");
        localize
            .args(["--wildcard", "--keep-global-symbol=x86vcpu_*"])
            .arg(&partial)
            .arg(library);
        run(
            localize,
            "make the library's internal names local (objcopy is in binutils, or set OBJCOPY)",
        );
    }

    /// The program that environment variable `variable` names, or `default`.
    fn tool(variable: &str, default: &str) -> Command {
        println!("cargo:rerun-if-env-changed={variable}");
        Command::new(env::var(variable).unwrap_or_else(|_| default.into()))
    }

    fn run(mut command: Command, what: &str) {
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => panic!("cannot {what}: {command:?} ended with {status}"),
            Err(error) => panic!("cannot {what}: {command:?}: {error}"),
        }
    }
}
