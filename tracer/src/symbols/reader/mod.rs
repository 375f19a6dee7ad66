//! Reads a file for its names: in this process, or, as the command does it, in one that may do
//! nothing else.
//!
//! A tracer runs as root, and DWARF is the most intricate of all that it reads and others write.
//! So what reads it has no capabilities, can open nothing, reach no network and start no program,
//! and has a limit on its memory and its time ([`sandbox`]): the files come to it opened, over a
//! socket ([`wire`]), and frames come back. If a file brings it down, that costs lines and inlined
//! frames of that file, then its names, and never the trace.

mod apart;
mod named;
mod sandbox;
mod serve;
mod wire;

use super::debug_files::DebugFiles;
use super::reason::Reason;
use crate::files::Source;
use apart::Apart;
pub(super) use named::{Named, Wanted};
pub use serve::serve;
use std::ffi::OsString;

/// Who reads.
#[derive(Debug, Default)]
pub(super) enum Reader {
    /// This process.
    #[default]
    Here,
    /// Another one.
    Apart(Apart),
}

impl Reader {
    /// A process that `program` and its arguments start.
    pub(super) fn apart(program: Vec<OsString>) -> Self {
        Self::Apart(Apart::new(program))
    }

    /// Names offsets of a file.
    pub(super) fn read(
        &mut self,
        source: Source,
        wanted: &Wanted,
        files: &mut dyn DebugFiles,
    ) -> Result<Named, Reason> {
        match self {
            Self::Here => wanted.read(source, files),
            Self::Apart(apart) => apart.read(&source, wanted, files),
        }
    }

    /// What went wrong, a line each.
    pub(super) fn warnings(&self) -> &[String] {
        match self {
            Self::Here => &[],
            Self::Apart(apart) => apart.warnings(),
        }
    }
}
