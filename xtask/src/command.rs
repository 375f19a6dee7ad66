//! Running other programs, with errors that name the whole command line.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the work tree.
pub(crate) fn root() -> PathBuf {
    // Asked for when it runs: a copy of the work tree, built files and all, is another one.
    let of_cargo = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let found = of_cargo.and_then(|package| Some(package.parent()?.to_owned()));
    found.unwrap_or_else(|| work_tree_above(&std::env::current_dir().unwrap_or_default()))
}

/// Where a program that cargo did not start finds the work tree: above where it stands.
fn work_tree_above(here: &Path) -> PathBuf {
    let mut above = here.ancestors();
    let is_root = |folder: &&Path| folder.join("xtask/Cargo.toml").is_file();
    above.find(is_root).unwrap_or(here).to_owned()
}

/// A command that runs in the root of the work tree.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs it to its end; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("can't run {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Builds packages of the workspace, for release.
pub(crate) fn build(packages: &[&str]) -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["build", "--release"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    run(&mut cargo)
}

/// Whether it can be run and succeeds; its output is not shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command line as one would type it.
pub(crate) fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
