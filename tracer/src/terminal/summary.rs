//! Where the summary goes. Standard output is the command's own, so a trace's goes to standard
//! error unless it is asked for elsewhere.

use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::{Write, stderr, stdout};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use tracer::reports::{Owner, Style};

/// Whoever is to read it.
#[derive(Debug)]
pub(crate) enum Summary {
    /// Nobody.
    None,
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, opened before the command ran.
    File(File, PathBuf),
}

impl Summary {
    /// Of a trace. A file is made as the user who called sudo, and emptied only when there is
    /// something to write.
    pub(crate) fn of_trace(asked: Option<&Path>, quiet: bool) -> Result<Self> {
        match asked {
            None if quiet => Ok(Self::None),
            None => Ok(Self::Stderr),
            Some(path) if path == Path::new("-") => Ok(Self::Stdout),
            Some(path) => {
                let open = || {
                    let mut options = OpenOptions::new();
                    options.write(true).create(true).truncate(false).open(path)
                };
                let file = match Owner::from_sudo() {
                    Some(owner) => owner.act(open),
                    None => open(),
                };
                let what = || format!("can't write the summary to {}", path.display());
                Ok(Self::File(file.with_context(what)?, path.to_owned()))
            }
        }
    }

    /// How it is to be laid out.
    pub(crate) fn style(&self) -> Style {
        match self {
            Self::None | Self::File(..) => Style::PLAIN,
            Self::Stderr => Style::of(stderr().as_fd()),
            Self::Stdout => Style::of(stdout().as_fd()),
        }
    }

    /// Whether it has to be made at all.
    pub(crate) fn is_wanted(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Writes it. A reader of a stream who has seen enough and closed it is no failure.
    pub(crate) fn write(&mut self, text: &str) -> Result<()> {
        match self {
            Self::None => {}
            Self::Stderr => drop(stderr().lock().write_all(text.as_bytes())),
            Self::Stdout => drop(stdout().lock().write_all(text.as_bytes())),
            Self::File(file, path) => {
                // What is no regular file has no length to be cut.
                let _ = file.set_len(0);
                let what = || format!("can't write the summary to {}", path.display());
                file.write_all(text.as_bytes()).with_context(what)?;
            }
        }
        Ok(())
    }
}
