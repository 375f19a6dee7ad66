//! The Python that the workload's tests compare with: TileDB-SOMA in a virtual environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::libtiledb::target_directory;
use crate::packages::{self, For};

/// What is installed.
const REQUIREMENTS: &str = include_str!("../../workload/tests/python/requirements.txt");
/// What is installed beside it for `cargo xtask bench soma`.
const MEMRAY: &str = include_str!("../python/memray.txt");

/// Prints where the interpreter is, installed if need be.
pub(crate) fn run() -> Result<()> {
    packages::ensure(&[For::Python])?;
    println!("{}", ensure()?.display());
    Ok(())
}

/// The interpreter of `target/python`, made and filled through pip the first time, and again when
/// the requirements change.
pub(crate) fn ensure() -> Result<PathBuf> {
    install(&target_directory()?.join("python"), REQUIREMENTS, || {
        eprintln!("Installing TileDB-SOMA for the tests to compare with (some 1.5 GB) …");
    })
}

/// The interpreter of `target/memray`, which has memray beside all that [`ensure()`] installs. Only a
/// benchmark asks for it.
pub(crate) fn ensure_memray() -> Result<PathBuf> {
    let (base, directory) = (ensure()?, target_directory()?.join("memray"));
    let interpreter = install(&directory, MEMRAY, || eprintln!("Installing memray …"))?;
    let (below, own) = (site_packages(&base)?, site_packages(&interpreter)?);
    fs::write(own.join("tiledbsoma.pth"), format!("{}\n", below.display()))?;
    Ok(interpreter)
}

/// Where an interpreter's packages lie.
fn site_packages(interpreter: &Path) -> Result<PathBuf> {
    let asked = [
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
    ];
    let output = Command::new(interpreter).args(asked).output()?;
    ensure!(output.status.success(), "{} fails", interpreter.display());
    Ok(String::from_utf8(output.stdout)?.trim_end().into())
}

/// The interpreter of a virtual environment with these packages, made and filled if it isn't yet.
fn install(directory: &Path, requirements: &str, say: impl FnOnce()) -> Result<PathBuf> {
    let (interpreter, done) = (
        directory.join("bin/python"),
        directory.join("requirements.txt"),
    );
    if fs::read_to_string(&done).is_ok_and(|installed| installed == requirements) {
        return Ok(interpreter);
    }
    say();
    call("python3", &["-m", "venv"], directory).context("no virtual environment")?;
    let wanted = directory.join("wanted.txt");
    fs::write(&wanted, requirements)?;
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
