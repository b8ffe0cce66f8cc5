// SPDX-License-Identifier: Apache-2.0
//! Compiles the model.
use std::{env, path::PathBuf};

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap())
        .join("../../..")
        .canonicalize()
        .unwrap();
    let model = root.join("tests/model");
    let mut build = cc::Build::new();
    build
        .std("gnu11")
        .opt_level(2)
        .warnings(true)
        .extra_warnings(true)
        .debug(true);
    build
        .include(&model)
        .include(root.join("c/include"))
        .include(root.join("c/src"));
    for file in std::fs::read_dir(&model).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // seam.c is compiled with the library; tests are Check's.
        let test = ["seam.c", "fixture.c", "fixture.h"].contains(&name.as_str()) || name.starts_with("test_");
        if test {
            continue;
        }
        println!("cargo:rerun-if-changed={}", path.display());
        if name.ends_with(".c") {
            build.file(path);
        }
    }
    build.compile("model");
}
