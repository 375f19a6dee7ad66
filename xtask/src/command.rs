//! Running other programs, with errors that name the whole command line.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the work tree that this command was called in: not that of the tree that it was
/// built in, of which this one may be a copy.
pub(crate) fn root() -> PathBuf {
    // Cargo sets it for what it runs; who starts us otherwise does so somewhere in the tree.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let starts = package.into_iter().chain(std::env::current_dir());
    starts
        .filter_map(|start| above(&start))
        .next()
        .expect("cargo xtask is called in the work tree")
}

/// The innermost folder above `start` that has this package.
fn above(start: &Path) -> Option<PathBuf> {
    let is_root = |folder: &&Path| folder.join("xtask/Cargo.toml").is_file();
    start.ancestors().find(is_root).map(Path::to_owned)
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

#[cfg(test)]
mod tests {
    use super::{above, root};

    #[test]
    fn the_root_is_that_of_the_folder_one_is_in() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("tree/xtask/src");
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(above(&deep), None);
        std::fs::write(folder.path().join("tree/xtask/Cargo.toml"), "").unwrap();
        assert_eq!(above(&deep), Some(folder.path().join("tree")));
        assert!(root().join("xtask/src/command.rs").is_file());
    }
}
