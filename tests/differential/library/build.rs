// SPDX-License-Identifier: Apache-2.0
//! Compiles the C library: with tests/model/seam.h in place of cpu/insn.h, or as kernels have it.
//! DIFFERENTIAL_TREE names another c/ to take.
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn sources(folder: &Path, kinds: &[&str], found: &mut Vec<PathBuf>) {
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, kinds, found);
        } else if path
            .extension()
            .is_some_and(|e| kinds.iter().any(|kind| e == *kind))
        {
            found.push(path);
        }
    }
}

/// The sources on the model.
fn build_seam(root: &Path, tree: &Path) {
    let mut files = Vec::new();
    sources(&tree.join("src"), &["c"], &mut files);
    let model = root.join("tests/model");
    for name in ["seam.c", "seam.h", "model.h"] {
        println!("cargo:rerun-if-changed={}", model.join(name).display());
    }
    compiler(tree)
        .flag("-fno-strict-aliasing")
        .include(&model)
        .flag("-include")
        .flag(model.join("seam.h"))
        .files(files)
        .file(model.join("seam.c"))
        .compile("x86vcpu");
}

fn compiler(tree: &Path) -> cc::Build {
    let mut build = cc::Build::new();
    build.std("gnu11").opt_level(2).debug(true).warnings(false);
    build.include(tree.join("include")).include(tree.join("src"));
    build
}

/// What ffi/build.rs and c/CMakeLists.txt compile kernels' objects with.
const FREESTANDING: &[&str] = &[
    "-ffreestanding",
    "-fno-stack-protector",
    "-mno-red-zone",
    "-mgeneral-regs-only",
    "-fcf-protection=none",
    "-fno-asynchronous-unwind-tables",
    "-fno-strict-aliasing",
    "-fno-common",
    "-fPIE",
    "-fvisibility=hidden",
];

/// Instructions that don't fault in user mode, or that must not happen to the process.
const QUIET: &[&str] = &[
    "cpuid",
    "xgetbv",
    "rdtsc",
    "sgdt",
    "sidt",
    "sldt",
    "str",
    "pushf",
    "xsave64",
    "xrstor64",
    "fxsave64",
    "fxrstor64",
];

fn is_quiet(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or("");
    let operands = words.collect::<String>();
    let is_segment = |operand: &str| ["%ds", "%es", "%fs", "%gs", "%cs", "%ss"].contains(&operand);
    QUIET.contains(&name) || (name == "mov" && operands.split(',').any(is_segment))
}

fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The objects as they are, in one; and where in their text the quiet instructions are.
fn build_production(tree: &Path) {
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    let mut files = Vec::new();
    sources(&tree.join("src"), &["c", "S"], &mut files);
    let mut build = compiler(tree);
    build.pic(false);
    for flag in FREESTANDING {
        build.flag(flag);
    }
    let objects = build.files(files).compile_intermediates();
    let (script, whole) = (out.join("one.ld"), out.join("production.o"));
    std::fs::write(
        &script,
        "SECTIONS { .text : { production_text = .; *(.text .text.*) } }\n",
    )
    .unwrap();
    output(
        Command::new("ld")
            .arg("-r")
            .arg("-T")
            .arg(&script)
            .arg("-o")
            .arg(&whole)
            .args(&objects),
    );
    let mut sites = Vec::new();
    for line in output(
        Command::new("objdump")
            .args(["-d", "-j", ".text", "--no-show-raw-insn"])
            .arg(&whole),
    )
    .lines()
    {
        let Some((address, text)) = line.trim().split_once(":\t") else {
            continue;
        };
        if is_quiet(text) {
            sites.push(u64::from_str_radix(address, 16).expect("an offset"));
        }
    }
    assert!(
        sites.len() > 10,
        "objdump shows too few of the instructions: {sites:?}"
    );
    std::fs::write(out.join("sites.rs"), format!("&{sites:?}")).unwrap();
    cc::Build::new().pic(false).object(&whole).compile("x86vcpu");
}

fn main() {
    println!("cargo:rerun-if-env-changed=DIFFERENTIAL_TREE");
    println!("cargo:rerun-if-env-changed=DIFFERENTIAL_BUILD");
    println!("cargo:rustc-check-cfg=cfg(production)");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap())
        .join("../../..")
        .canonicalize()
        .unwrap();
    let tree = env::var("DIFFERENTIAL_TREE").map_or(root.join("c"), PathBuf::from);
    if env::var("DIFFERENTIAL_BUILD").is_ok_and(|build| build == "production") {
        println!("cargo:rustc-cfg=production");
        build_production(&tree);
    } else {
        build_seam(&root, &tree);
    }
}
