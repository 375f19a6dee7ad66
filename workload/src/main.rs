//! The `workload` command.

mod about;
mod cli;
mod fetch;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match fetch::run(&cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
