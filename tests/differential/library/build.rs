// SPDX-License-Identifier: Apache-2.0
//! Compiles the C library: with tests/model/seam.h in place of cpu/insn.h, or as kernels have it.
//! DIFFERENTIAL_TREE names another c/ to take.
use std::{
    env,
    path::{Path, PathBuf},
};

fn sources(folder: &Path, kinds: &[&str], found: &mut Vec<PathBuf>) {
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, kinds, found);
        } else if path.extension().is_some_and(|e| kinds.iter().any(|kind| e == *kind)) {
            found.push(path);
        }
    }
}

fn main() {
    println!("cargo:rerun-if-env-changed=DIFFERENTIAL_TREE");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../..").canonicalize().unwrap();
    let tree = env::var("DIFFERENTIAL_TREE").map_or(root.join("c"), PathBuf::from);
    let mut build = cc::Build::new();
    build.std("gnu11").opt_level(2).debug(true).warnings(false).flag("-fno-strict-aliasing");
    build.include(tree.join("include")).include(tree.join("src"));
    let mut files = Vec::new();
    sources(&tree.join("src"), &["c"], &mut files);
    let model = root.join("tests/model");
    println!("cargo:rerun-if-changed={}", model.display());
    build.include(&model).flag("-include").flag(model.join("seam.h"));
    build.files(files).file(model.join("seam.c")).compile("x86vcpu");
}
