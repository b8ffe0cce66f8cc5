// SPDX-License-Identifier: Apache-2.0
//! Builds the C library, or finds an installed one.
//!
//! A crate that depends on this one gets the folder of the C headers in DEP_X86VCPU_INCLUDE.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    refuse_targets_that_cannot_work();
    #[cfg(feature = "system")]
    system::link();
    #[cfg(not(feature = "system"))]
    bundled::build();
}

/// Says early what would fail at the last link: the library is ELF code for the System V calling convention.
fn refuse_targets_that_cannot_work() {
    let cfg = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let (arch, os, width) = (cfg("ARCH"), cfg("OS"), cfg("POINTER_WIDTH"));
    assert!(arch == "x86_64", "x86vcpu runs on x86_64; the target is {arch}");
    assert!(
        width == "64",
        "x86vcpu needs 64-bit pointers; the target has {width}-bit ones (x32?)"
    );
    assert!(
        !["uefi", "windows", "cygwin"].contains(&os.as_str()) && cfg("VENDOR") != "apple",
        "x86vcpu is ELF code with the System V calling convention, which the target ({os}) does not link; build the \
         hypervisor for an ELF target such as x86_64-unknown-none"
    );
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

    /// Of these, too, whatever the target is called. Neither gcc nor the cc crate derives them from a bare-metal
    /// target. PIE, and every name within the library reached without a GOT: the library links into PIE, static PIE
    /// and at the top of the address space alike.
    const FLAGS: &[&str] = &["-std=gnu11", "-fPIE", "-fvisibility=hidden"];

    /// The lines of c/flags.txt that apply to every build, for the kind of compiler.
    fn common_flags(root: &Path, compiler: &str) -> Vec<String> {
        let path = root.join("flags.txt");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut flags = Vec::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if words.next() == Some("always")
                && words.next().is_some_and(|kind| [compiler, "all"].contains(&kind))
            {
                flags.extend(words.map(String::from));
            }
        }
        assert!(!flags.is_empty(), "no flags in {}", path.display());
        flags
    }

    /// Keeps the flags of other programs out: the cc crate adds them after ours, and a library that uses SSE registers, a
    /// red zone or a stack canary corrupts or faults in ring 0.
    fn forget_foreign_flags() {
        let target = env::var("TARGET").expect("set by Cargo");
        let names = [
            "CFLAGS".into(),
            "TARGET_CFLAGS".into(),
            "HOST_CFLAGS".into(),
            format!("CFLAGS_{target}"),
            format!("CFLAGS_{}", target.replace('-', "_")),
            "CFLAGS_x86_64-unknown-none".into(),
            "CFLAGS_x86_64_unknown_none".into(),
        ];
        for name in names {
            // SAFETY: a build script has one thread here.
            unsafe { env::remove_var(name) };
        }
    }

    pub fn build() {
        let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("set by Cargo")).join("c");
        let out = PathBuf::from(env::var("OUT_DIR").expect("set by Cargo"));
        println!("cargo:rerun-if-changed={}", root.display());
        let mut sources = Vec::new();
        collect(&root.join("src"), &mut sources);
        sources.sort();
        assert!(!sources.is_empty(), "no C sources in {}", root.display());

        forget_foreign_flags();
        let objects = compiler(&root).files(&sources).compile_intermediates();
        let library = out.join("x86vcpu.o");
        link_one_object(&objects, &library);
        check_object(&library);
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
        if let Some(compiler) = cross_compiler() {
            build.compiler(compiler);
        }
        // Not what Cargo's profile says: the cost of an exit does not depend on it.
        build.opt_level(2).pic(false).warnings(false).cargo_warnings(true);
        let kind = if build.get_compiler().is_like_clang() {
            "clang"
        } else {
            "gcc"
        };
        for flag in FLAGS
            .iter()
            .copied()
            .map(String::from)
            .chain(common_flags(root, kind))
        {
            build.flag(flag);
        }
        build
    }

    fn host_is_x86_64() -> bool {
        env::var("HOST").expect("set by Cargo").starts_with("x86_64-")
    }

    /// On a host that is not x86-64, `cc` makes code for the host.
    fn cross_compiler() -> Option<PathBuf> {
        let target = env::var("TARGET").expect("set by Cargo");
        let variables = [
            "CC".into(),
            "TARGET_CC".into(),
            format!("CC_{target}"),
            format!("CC_{}", target.replace('-', "_")),
        ];
        if host_is_x86_64() || variables.iter().any(|name| env::var_os(name).is_some()) {
            return None;
        }
        let names = ["x86_64-linux-gnu-gcc", "x86_64-elf-gcc", "clang"];
        let found = names.iter().find_map(|name| find(name));
        Some(found.unwrap_or_else(|| {
            panic!(
                "no C compiler for x86-64 on this host: install one of {}, or set CC, LD and OBJCOPY",
                names.join(", ")
            )
        }))
    }

    fn find(name: &str) -> Option<PathBuf> {
        let path = env::var_os("PATH")?;
        env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|candidate| candidate.is_file())
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

    /// What must not be in the object, by the disassembler's text, and why.
    const FORBIDDEN: &[(&[&str], &str)] = &[
        (
            &["%xmm", "%ymm", "%zmm", "%mm0", "%st("],
            "uses FPU registers, which hold the guest's values",
        ),
        (&["%fs:", "%gs:"], "uses a stack canary or thread-local storage"),
    ];

    /// Reads what the compiler made: flags may also come from a wrapper or from the compiler's own configuration.
    fn check_object(object: &Path) {
        let mut dump = tool("OBJDUMP", "objdump");
        dump.args(["-d", "--no-show-raw-insn", "-t"]).arg(object);
        let Ok(output) = dump.output() else {
            println!(
                "cargo:warning=the library's code is not checked: no objdump (in binutils, or set OBJDUMP)"
            );
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let complain = |what: &str, line: &str| -> ! {
            panic!(
                "the C compiler was told to make code that {what}; look at CC and its configuration: {}",
                line.trim()
            )
        };
        for line in text.lines() {
            for (marks, what) in FORBIDDEN {
                if marks.iter().any(|mark| line.contains(mark)) {
                    complain(what, line);
                }
            }
            if uses_red_zone(line) {
                complain("uses a red zone, which interrupts overwrite", line);
            }
            if let Some(name) = undefined(line) {
                let allowed = ["memcpy", "memmove", "memset", "memcmp", "_GLOBAL_OFFSET_TABLE_"];
                if !allowed.contains(&name) {
                    complain("calls a function that is not there", line);
                }
            }
        }
        if !text.contains("<x86vcpu_run>:") {
            complain(
                "is none yet (link-time optimization?)",
                &object.display().to_string(),
            );
        }
    }

    /// An access below RSP.
    fn uses_red_zone(line: &str) -> bool {
        line.contains("(%rsp)") && line.contains("-0x") && !line.contains("lea")
    }

    /// The name of an undefined symbol, from a line of the symbol table.
    fn undefined(line: &str) -> Option<&str> {
        let name = line.split_whitespace().next_back()?;
        (line.contains("*UND*") && name != "*UND*").then_some(name)
    }

    /// The program that environment variable `variable` names, with the arguments that follow it there, or `default`, in its
    /// form for x86-64 on another host.
    fn tool(variable: &str, default: &str) -> Command {
        println!("cargo:rerun-if-env-changed={variable}");
        let Ok(value) = env::var(variable) else {
            let cross = ["x86_64-linux-gnu-", "x86_64-elf-"].map(|prefix| format!("{prefix}{default}"));
            let found = cross
                .iter()
                .find_map(|name| find(name))
                .filter(|_| !host_is_x86_64());
            return Command::new(found.unwrap_or_else(|| default.into()));
        };
        if Path::new(&value).is_file() {
            return Command::new(value); // a path with spaces
        }
        let mut words = value.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or(default));
        command.args(words);
        command
    }

    fn run(mut command: Command, what: &str) {
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => panic!("cannot {what}: {command:?} ended with {status}"),
            Err(error) => panic!("cannot {what}: {command:?}: {error}"),
        }
    }
}
