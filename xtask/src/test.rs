//! `cargo xtask test`: every test, unit and live.

use crate::command::{cargo, run};
use crate::packages::{self, For};
use crate::root::Root;
use crate::{census, libtiledb, python};
use anyhow::Result;
use std::process::Command;

/// What proptest takes the cases of random tests from.
const SEED: &str = "PROPTEST_RNG_SEED";
/// What cargo starts test binaries by.
const RUNNER: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER";
/// Takes the rights of root away.
const NO_CAPABILITIES: &str = "setpriv --bounding-set=-all --inh-caps=-all";

/// Prepares what the tests need, then runs them all: first, without the rights of root, what
/// `cargo test` runs everywhere; then, as root, what it leaves out (`#[ignore = "needs …"]`).
pub(crate) fn test() -> Result<()> {
    let become_root = Root::find()?;
    packages::ensure(&[For::Test])?;
    let tiledb = libtiledb::ensure()?;
    census::ensure_default()?;
    libtiledb::ensure_older()?;
    python::ensure()?;

    run(cargo().args([
        "build",
        "--release",
        "--workspace",
        "--exclude",
        "tracer-ebpf",
    ]))?;
    let mut everywhere = tests();
    if become_root == Root::Already {
        everywhere.env(RUNNER, NO_CAPABILITIES);
    }
    run(&mut everywhere)?;
    let mut left_out = tests();
    left_out.args(["--lib", "--bins", "--tests", "--", "--ignored"]);
    left_out.env("TILEDB_LIB", tiledb);
    if become_root == Root::Sudo {
        println!("the other tests need root: they run through sudo");
        left_out.env(RUNNER, "sudo -E");
    }
    run(&mut left_out)
}

/// `cargo test`, of everything.
fn tests() -> Command {
    let mut tests = cargo();
    tests.args(["test", "--release", "--workspace"]);
    // The same cases for everybody: a commit passes or fails, and not at times.
    if std::env::var_os(SEED).is_none() {
        tests.env(SEED, "1");
    }
    tests
}
