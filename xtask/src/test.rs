//! `cargo xtask test`: every test, unit and live.

use crate::command::{cargo, run};
use crate::root::Root;
use crate::{census, libtiledb, python};
use anyhow::Result;

/// What proptest takes the cases of random tests from.
const SEED: &str = "PROPTEST_RNG_SEED";

/// Prepares what the tests need, then runs them all; live ones run as root.
pub(crate) fn test() -> Result<()> {
    let become_root = Root::find()?;
    let tiledb = libtiledb::ensure()?;
    census::ensure_default()?;
    libtiledb::ensure_older()?;
    let python = python::ensure()?;

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
    // The same cases for everybody: a commit passes or fails, and not at times.
    if std::env::var_os(SEED).is_none() {
        tests.env(SEED, "1");
    }
    if become_root == Root::Sudo {
        println!("live tests attach probes: test binaries run through sudo");
        tests.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "sudo -E");
    }
    run(&mut tests)
}
