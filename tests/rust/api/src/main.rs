// SPDX-License-Identifier: Apache-2.0
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: list-api RUSTDOC-JSON");
        return ExitCode::from(2);
    };
    match public_api::Builder::from_rustdoc_json(path).sorted(true).build() {
        Ok(api) => {
            print!("{api}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("list-api: {error}");
            ExitCode::FAILURE
        }
    }
}
