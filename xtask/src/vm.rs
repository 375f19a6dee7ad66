//! `cargo xtask vm`: the real tracer on kernels that are not this machine's.

mod compiler;
mod disk;
mod guest;
mod kernels;
mod tools;

use crate::command::{build, root};
use crate::libtiledb::target_directory;
use anyhow::{Context, Result, bail};
use disk::Tree;
use guest::{End, Guest, Machine};
use kernels::Kernel;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which kernels, and what to do there.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernels by short names: 6.1, 6.12, 6.1-rt, 6.12-rt, 6.1-generic, 6.12-generic
    #[arg(value_name = "KERNEL", default_values = ["6.1", "6.12"])]
    kernels: Vec<String>,
    /// Run one shell command in each guest instead of the checks, print what it prints, and fail
    /// if it fails
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
    /// The tracer to bring along [default: the release build of this work tree, built if need be]
    #[arg(long, value_name = "FILE")]
    tracer: Option<PathBuf>,
    /// Processors of the guest that runs one command
    #[arg(long, value_name = "N", default_value_t = 2, requires = "run")]
    cpus: u32,
}

/// `cargo xtask vm`
pub(crate) fn run(args: &Args) -> Result<()> {
    tools::ensure()?;
    let directory = target_directory()?.join("vm");
    fs::create_dir_all(&directory)?;
    let kernels = args
        .kernels
        .iter()
        .map(|name| kernels::ensure(name, &directory))
        .collect::<Result<Vec<_>>>()?;
    let tracer = tracer(args)?;
    // Its own for each run: another may be under way.
    let place = tempfile::tempdir_in(&directory)?;
    let disk = place.path().join("disk");
    make_disk(place.path(), &disk, &tracer)?;
    match &args.run {
        Some(line) => run_one(&kernels, line, args.cpus, &directory, &disk),
        None => bail!("nothing to run"),
    }
}

/// The tracer to run: the one named, or this work tree's.
fn tracer(args: &Args) -> Result<PathBuf> {
    if let Some(file) = &args.tracer {
        return fs::canonicalize(file).with_context(|| file.display().to_string());
    }
    build(&["tracer"])?;
    Ok(root().join("target/release/tracer"))
}

/// Makes the disk that every guest starts from.
fn make_disk(directory: &Path, disk: &Path, tracer: &Path) -> Result<()> {
    let mut tree = Tree::new(directory)?;
    tree.add(tracer)?;
    symlink(tracer, tree.at("usr/local/bin/tracer"))?;
    tree.write("/vm/agent", include_str!("vm/agent.sh"), 0o755)?;
    for driver in compiler::DRIVERS {
        tree.write(
            &format!("/usr/local/bin/{driver}"),
            include_str!("vm/cc.sh"),
            0o755,
        )?;
    }
    tree.into_disk(disk)
}

/// Runs a command in a guest of each kernel, one after the other.
fn run_one(kernels: &[Kernel], line: &str, cpus: u32, directory: &Path, disk: &Path) -> Result<()> {
    let mut failed = Vec::new();
    for kernel in kernels {
        eprintln!("── {} ({})", kernel.name, kernel.package);
        let console = directory.join(format!("{}.console", kernel.name));
        let machine = Machine {
            cpus,
            ..Machine::default()
        };
        let mut guest = Guest::boot(kernel, &machine, disk, &console)?;
        let end = guest.run(line, Duration::from_secs(1800), |line| println!("{line}"))?;
        if end != End::Status(0) {
            failed.push(format!("{}: {}", kernel.name, end.in_words()));
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

impl End {
    fn in_words(&self) -> String {
        match self {
            Self::Status(status) => format!("exit status {status}"),
            Self::TimedOut => "ended by its time limit".to_owned(),
            Self::Lost(words) => format!("the guest is gone; its console:\n{words}"),
        }
    }
}
