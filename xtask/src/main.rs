//! The one door for people who work on the project.

mod bench;
mod census;
mod ci;
mod command;
mod demo;
mod dist;
mod ebpf;
mod fuzz;
mod install;
mod libtiledb;
mod packages;
mod portable;
mod python;
mod root;
mod test;
mod vm;

use std::path::PathBuf;
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
    /// Do the main job: build, fetch what is missing, trace three runs, name the pictures
    Demo,
    /// Run every test, unit and live (live ones as root)
    Test,
    /// Put tracer, workload, libtiledb and a small Census where `sudo tracer -- workload` finds them
    Install {
        /// Folder that gets bin/, lib/tracer/ and share/tracer/
        #[arg(long, default_value = "/usr/local")]
        prefix: PathBuf,
    },
    /// Run what CI runs: formatting, lints, docs, the eBPF object, every test
    Ci,
    /// Measure what a part costs
    Bench {
        #[command(subcommand)]
        what: bench::What,
    },
    /// Write a synthetic Census
    Census(census::Args),
    /// Make the tarball and the Debian package of one static program, in target/dist
    Dist(dist::Args),
    /// Build the BPF programs into the committed object
    Ebpf(ebpf::Args),
    /// Fuzz what reads files and records that others wrote (needs cargo-fuzz)
    Fuzz(fuzz::Args),
    /// Fetch libtiledb into target/, and print where it is
    Libtiledb(libtiledb::Args),
    /// Install the Python packages that the tests compare with into target/, and print where
    Python,
    /// Run the tracer under other kernels, in virtual machines
    Vm(vm::Args),
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
        Command::Demo => demo::demo(),
        Command::Dist(args) => dist::run(&args),
        Command::Test => test::test(),
        Command::Install { prefix } => install::install(&prefix),
        Command::Ci => ci::ci(),
        Command::Bench { what } => bench::run(&what),
        Command::Census(args) => census::run(&args),
        Command::Ebpf(args) => ebpf::run(&args),
        Command::Fuzz(args) => fuzz::fuzz(&args),
        Command::Libtiledb(args) => libtiledb::run(&args),
        Command::Python => python::run(),
        Command::Vm(args) => vm::run(&args),
    }
}
