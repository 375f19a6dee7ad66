//! A file that the user named for something to be written to.

use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use tracer::reports::Owner;

/// The file, opened before the command runs: better an error now than after an hour.
#[derive(Debug)]
pub(crate) struct Named {
    file: File,
    path: PathBuf,
    what: &'static str,
}

impl Named {
    /// Opens or makes it, as the user who called sudo; it is emptied only when there is something
    /// to write. `what` is what is to be written.
    pub(crate) fn open(path: &Path, what: &'static str) -> Result<Self> {
        let mut options = OpenOptions::new();
        Self::open_as(options.write(true).create(true).truncate(false), path, what)
    }

    /// Likewise, to write behind what is there.
    pub(crate) fn append_to(path: &Path, what: &'static str) -> Result<Self> {
        let mut options = OpenOptions::new();
        Self::open_as(options.append(true).create(true), path, what)
    }

    fn open_as(options: &OpenOptions, path: &Path, what: &'static str) -> Result<Self> {
        let open = || options.open(path);
        let file = match Owner::from_sudo() {
            Some(owner) => owner.act(open),
            None => open(),
        };
        let file = file.with_context(|| format!("can't write {what} to {}", path.display()))?;
        let path = path.to_owned();
        Ok(Self { file, path, what })
    }

    /// Writes it in place of what was there.
    pub(crate) fn replace(&mut self, bytes: &[u8]) -> Result<()> {
        // What is no regular file has no length to be cut.
        let _ = self.file.set_len(0);
        self.add(bytes)
    }

    /// Writes more of it.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let (what, path) = (self.what, &self.path);
        let told = || format!("can't write {what} to {}", path.display());
        self.file.write_all(bytes).with_context(told)
    }
}
