//! The Python that the workload's tests compare with: TileDB-SOMA in a virtual environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::libtiledb::target_directory;

/// What is installed.
const REQUIREMENTS: &str = include_str!("../../workload/tests/python/requirements.txt");

/// Prints where the interpreter is, installed if need be.
pub(crate) fn run() -> Result<()> {
    println!("{}", ensure()?.display());
    Ok(())
}

/// The interpreter of `target/python`, made and filled through pip the first time, and again when
/// the requirements change.
pub(crate) fn ensure() -> Result<PathBuf> {
    let directory = target_directory()?.join("python");
    let (interpreter, done) = (
        directory.join("bin/python"),
        directory.join("requirements.txt"),
    );
    if fs::read_to_string(&done).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(interpreter);
    }
    eprintln!("Installing TileDB-SOMA for the tests to compare with (some 1.5 GB) …");
    call("python3", &["-m", "venv"], &directory)
        .context("no virtual environment (on Debian: apt-get install python3-venv)")?;
    let wanted = directory.join("wanted.txt");
    fs::write(&wanted, REQUIREMENTS)?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--requirement",
    ];
    call(&interpreter, &pip, &wanted)?;
    fs::rename(&wanted, &done)?;
    Ok(interpreter)
}

fn call(program: impl AsRef<Path>, arguments: &[&str], last: &Path) -> Result<()> {
    let program = program.as_ref();
    let status = Command::new(program).args(arguments).arg(last).status();
    let status = status.with_context(|| format!("{} doesn't start", program.display()))?;
    ensure!(
        status.success(),
        "{} {} failed",
        program.display(),
        arguments.join(" ")
    );
    Ok(())
}
