//! `cargo xtask ci`: every check that must be green before a change lands.

use crate::command::{cargo, run};
use crate::packages::{self, For};
use crate::{ebpf, test, vm};
use anyhow::Result;

/// Formatting, lints, docs, the committed eBPF object, every test, and the core of them under
/// older kernels.
pub(crate) fn ci() -> Result<()> {
    packages::ensure(&[For::Test, For::Vm])?;
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args([
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    run(cargo()
        .args(["doc", "--release", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings"))?;
    ebpf::check()?;
    test::test()?;
    vm::core()
}
