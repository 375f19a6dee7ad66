//! `cargo xtask test`: every test, unit and live.

use crate::command::{cargo, command, root, run, succeeds};
use crate::root::Root;
use crate::{census, libtiledb};
use anyhow::{Result, bail};
use std::path::PathBuf;

/// What the Python side of the tests uses, by exact version.
const PYTHON_PACKAGES: [&str; 1] = ["pyarrow==21.0.0"];

/// Prepares what the tests need, then runs them all; live ones run as root.
pub(crate) fn test() -> Result<()> {
    let become_root = Root::find()?;
    let tiledb = libtiledb::ensure()?;
    census::ensure_default()?;
    let python = python()?;

    run(cargo().args([
        "build",
        "--release",
        "--workspace",
        "--exclude",
        "tracer-ebpf",
    ]))?;
    let mut tests = cargo();
    tests
        .args(["test", "--release", "--workspace"])
        .env("TILEDB_LIB", tiledb)
        .env("TRACER_PYTHON", python)
        .env("TRACER_LIVE", "1");
    if become_root == Root::Sudo {
        println!("live tests attach probes: test binaries run through sudo");
        tests.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "sudo -E");
    }
    run(&mut tests)
}

/// An interpreter with [`PYTHON_PACKAGES`], in `target/venv`.
fn python() -> Result<PathBuf> {
    let venv = root().join("target/venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        run(command("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    if !succeeds(command(&python).args(["-c", "import pyarrow"])) {
        run(command(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(PYTHON_PACKAGES))?;
    }
    if !succeeds(command(&python).args(["-c", "import pyarrow"])) {
        bail!("{} can't import pyarrow", python.display());
    }
    Ok(python)
}
