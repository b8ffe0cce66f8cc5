// SPDX-License-Identifier: Apache-2.0
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(crate_folder), Some(config)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: sys-header FOLDER-OF-THE-CRATE CBINDGEN-TOML");
        return ExitCode::from(2);
    };
    let config = cbindgen::Config::from_file(config).expect("a configuration of cbindgen");
    match cbindgen::Builder::new()
        .with_config(config)
        .with_crate(crate_folder)
        .generate()
    {
        Ok(header) => {
            header.write(std::io::stdout());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sys-header: {error}");
            ExitCode::FAILURE
        }
    }
}
