//! `cargo xtask vm`: the real tracer on kernels that are not this machine's.

mod cases;
mod compiler;
mod disk;
mod guest;
mod kernels;
mod matrix;
mod table;
mod tests;

use crate::command::{command, root};
use crate::libtiledb::{release, target_directory};
use crate::packages;
use anyhow::{Context, Result, bail, ensure};
use disk::Tree;
use guest::{End, Guest, Machine};
use kernels::Kernel;
use matrix::{Done, Outcome};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The kernels that are tried where none is named: Debian's current ones.
const KERNELS: [&str; 2] = ["6.1", "6.12"];
/// The kernels of the whole matrix.
const ALL_KERNELS: [&str; 4] = ["6.1", "6.12", "6.1-rt", "6.12-rt"];
/// Longest that a command given by hand may take.
const BY_HAND: Duration = Duration::from_secs(3600);

/// Which kernels, and what to do there.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Kernels by short names: 6.1, 6.12, 6.1-rt, 6.12-rt, 6.1-generic, 6.12-generic
    /// [default: 6.1 6.12; with --all the first four]
    #[arg(value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Run every case, not only the core that CI runs
    #[arg(long)]
    all: bool,
    /// How often to run what may differ from time to time [default: 1; with --all 3]
    #[arg(long, value_name = "N")]
    runs: Option<u32>,
    /// Run only the cases whose name contains this; may be given several times
    #[arg(long = "case", value_name = "WORDS")]
    cases: Vec<String>,
    /// List the cases
    #[arg(long)]
    list: bool,
    /// Write the results to docs/kernels.md
    #[arg(long, requires = "all")]
    write: bool,
    /// How many guests run at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    guests: usize,
    /// Run one shell command in each guest instead of the cases, print what it prints, and fail
    /// if it fails
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
    /// Bring this tracer for --run [default: the one of this work tree, built if need be]
    #[arg(long, value_name = "FILE", requires = "run")]
    tracer: Option<PathBuf>,
    /// Processors of the guests of --run
    #[arg(long, value_name = "N", default_value_t = 2, requires = "run")]
    cpus: u32,
    /// More words for the kernel's command line of --run
    #[arg(long, value_name = "WORDS", default_value = "", requires = "run")]
    append: String,
    /// Bring this file or folder for --run, to the same path; may be given several times
    #[arg(long = "bring", value_name = "PATH", requires = "run")]
    brought: Vec<PathBuf>,
}

/// `cargo xtask vm`
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.list {
        for case in &cases::CASES {
            println!("{}{}", case.name, if case.core { "" } else { " (--all)" });
        }
        return Ok(());
    }
    ensure!(
        packages::find("apt-get").is_some(),
        "the kernels come from Debian's packages, through apt-get, which is not here"
    );
    packages::ensure(&[packages::For::Vm])?;
    let directory = target_directory()?.join("vm");
    fs::create_dir_all(&directory)?;
    let kernels = kernel_names(args)
        .into_iter()
        .map(|name| kernels::ensure(name, &directory))
        .collect::<Result<Vec<_>>>()?;
    match &args.run {
        Some(line) => run_one(args, &kernels, line, &directory),
        None => run_cases(args, &kernels, &directory),
    }
}

/// The core set under Debian's current kernels, as CI runs it.
pub(crate) fn core() -> Result<()> {
    run(&Args {
        guests: 2,
        ..Args::default()
    })
}

fn kernel_names(args: &Args) -> Vec<&str> {
    if !args.kernels.is_empty() {
        args.kernels.iter().map(String::as_str).collect()
    } else if args.all {
        ALL_KERNELS.to_vec()
    } else {
        KERNELS.to_vec()
    }
}

/// What every guest's disk has.
fn tree(place: &Path, tracer: &Path) -> Result<Tree> {
    let mut tree = Tree::new(place)?;
    tree.add(tracer)?;
    symlink(tracer, tree.at("usr/local/bin/tracer"))?;
    tree.write("/vm/agent", include_str!("vm/agent.sh"), 0o755)?;
    tests::bring_compiler(&tree)?;
    Ok(tree)
}

/// Runs the chosen cases, and fails if one of them does.
fn run_cases(args: &Args, kernels: &[Kernel], directory: &Path) -> Result<()> {
    let tests = tests::build()?;
    // Its own for each run: another may be under way.
    let place = tempfile::tempdir_in(directory)?;
    let disk = place.path().join("disk");
    let mut tree = tree(place.path(), &release("tracer")?)?;
    let runs = args.runs.unwrap_or(if args.all { 3 } else { 1 });
    tests::bring(&mut tree, &tests, runs)?;
    tree.into_disk(&disk)?;
    let chosen = |case: &cases::Case| match &args.cases[..] {
        [] => args.all || case.core,
        names => names.iter().any(|name| case.name.contains(name)),
    };
    let found = matrix::Place {
        disk: &disk,
        logs: &directory.join("logs"),
    };
    let done = matrix::run(kernels, chosen, args.guests, &found)?;
    print!("{}", table::table(kernels, &done));
    if args.write {
        let page = table::page(kernels, &done, runs, &today()?);
        fs::write(root().join("docs/kernels.md"), page)?;
    }
    verdict(&done)
}

/// An error if a case failed, or if there was none.
fn verdict(done: &[Done]) -> Result<()> {
    let failed = |one: &&Done| matches!(one.outcome, Outcome::Failed(_));
    let failed: Vec<_> = done
        .iter()
        .filter(failed)
        .map(|one| format!("{} under {}", one.case, one.kernel))
        .collect();
    if done.is_empty() {
        bail!("no case has such a name: --list names them");
    }
    if !failed.is_empty() {
        bail!(
            "{} of {} failed: {}",
            failed.len(),
            done.len(),
            failed.join("; ")
        );
    }
    Ok(())
}

fn today() -> Result<String> {
    let date = command("date").arg("+%Y-%m-%d").output()?;
    Ok(String::from_utf8_lossy(&date.stdout).trim_end().to_owned())
}

/// Runs a command in a guest of each kernel, one after the other.
fn run_one(args: &Args, kernels: &[Kernel], line: &str, directory: &Path) -> Result<()> {
    let tracer = match &args.tracer {
        Some(file) => fs::canonicalize(file).with_context(|| file.display().to_string())?,
        None => {
            crate::command::build(&["tracer"])?;
            release("tracer")?
        }
    };
    let place = tempfile::tempdir_in(directory)?;
    let disk = place.path().join("disk");
    let mut tree = tree(place.path(), &tracer)?;
    for path in &args.brought {
        let path = std::path::absolute(path)?;
        if path.is_dir() {
            tree.add_tree(&path)?;
        } else {
            tree.add(&path)?;
        }
    }
    tree.into_disk(&disk)?;
    let machine = Machine {
        cpus: args.cpus,
        kernel: args.append.clone().into(),
        ..Machine::default()
    };
    let mut failed = Vec::new();
    for kernel in kernels {
        eprintln!("── {} ({})", kernel.name, kernel.package);
        let console = directory.join(format!("{}.console", kernel.name));
        let mut guest = Guest::boot(kernel, &machine, &disk, &console)?;
        let end = guest.run(line, BY_HAND, |line| println!("{line}"))?;
        if end != End::Status(0) {
            failed.push(format!("{}: {}", kernel.name, in_words(&end)));
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

fn in_words(end: &End) -> String {
    match end {
        End::Status(status) => format!("exit status {status}"),
        End::TimedOut => "ended by its time limit".to_owned(),
        End::Lost(words) => format!("the guest is gone; its console:\n{words}"),
    }
}
