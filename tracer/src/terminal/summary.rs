//! Where the summary goes. Standard output is the command's own, so a trace's goes to standard
//! error unless it is asked for elsewhere.

use super::Named;
use anyhow::Result;
use std::io::{Write, stderr, stdout};
use std::os::fd::AsFd;
use std::path::Path;
use tracer::reports::Style;

/// What is written.
const WHAT: &str = "the summary";

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
    File(Named),
}

impl Summary {
    /// Of a trace. A file is made as the user who called sudo, and emptied only when there is
    /// something to write.
    pub(crate) fn of_trace(asked: Option<&Path>, quiet: bool) -> Result<Self> {
        match asked {
            None if quiet => Ok(Self::None),
            None => Ok(Self::Stderr),
            Some(path) if path == Path::new("-") => Ok(Self::Stdout),
            Some(path) => Ok(Self::File(Named::open(path, WHAT)?)),
        }
    }

    /// How it is to be laid out.
    pub(crate) fn style(&self) -> Style {
        match self {
            Self::None | Self::File(_) => Style::PLAIN,
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
            Self::File(file) => file.replace(text.as_bytes())?,
        }
        Ok(())
    }

    /// Writes a line behind it.
    pub(crate) fn add(&mut self, line: &str) -> Result<()> {
        let line = format!("{line}\n");
        match self {
            Self::File(file) => file.add(line.as_bytes()),
            stream => stream.write(&line),
        }
    }
}
