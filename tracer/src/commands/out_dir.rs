//! The folder for the results.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tracer::reports::{OutDir, Owner};
use tracer::target::Capabilities;

/// Makes the folder, and sees to it that files can be created in it, before anything runs.
/// Under sudo it belongs to the user who called it.
pub(crate) fn prepare(dir: &Path) -> Result<OutDir> {
    OutDir::create(dir, Owner::from_sudo()).with_context(|| {
        format!(
            "can't write results to {} (name another folder with -o)",
            dir.display()
        )
    })
}

/// What it takes to write to the folder: to act as its owner, or, as root in a folder of
/// somebody else, to pass over its permissions.
pub(crate) fn capabilities(out: &OutDir) -> Capabilities {
    match (out.is_for_another(), out.is_ours()) {
        (true, _) => Capabilities::SETUID | Capabilities::SETGID,
        (false, true) => Capabilities::NONE,
        (false, false) => Capabilities::DAC_OVERRIDE,
    }
}

/// The folder of the recording within.
pub(crate) fn recording(out: &OutDir) -> PathBuf {
    out.path().join("recording")
}

/// Removes the folder where there is nothing in it: nothing ran, and an empty one would look
/// like a result.
pub(crate) fn abandon(out: &OutDir) {
    // One that has something in it stays.
    let _ = out.act(|| std::fs::remove_dir(out.path()));
}

/// The words of a command, as text.
pub(crate) fn words(command: &[OsString]) -> Vec<String> {
    command
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}
