//! The one door for people who work on the project.

mod census;
mod ebpf;
mod libtiledb;
mod python;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The one door for people who work on the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a synthetic Census
    Census(census::Args),
    /// Build the BPF programs into the committed object
    Ebpf(ebpf::Args),
    /// Fetch libtiledb into target/, and print where it is
    Libtiledb,
    /// Install the Python packages that the tests compare with into target/, and print where
    Python,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Census(args) => census::run(&args),
        Command::Ebpf(args) => ebpf::run(&args),
        Command::Libtiledb => libtiledb::run(),
        Command::Python => python::run(),
    }
}
