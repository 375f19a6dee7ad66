//! Unwind tables, from a file's `.eh_frame` to the rows that the BPF programs search, and the walk
//! by them in user space.
//!
//! - [`info`] finds the sections, reading nothing else of the file;
//! - [`rule`] turns one row of CFI into a rule that fits 24 bytes;
//! - `cfi` sorts and merges a file's rows into a [`table`];
//! - `derive` makes rules of instructions where a file has no CFI;
//! - `build` makes a table of both;
//! - [`pack`] lays them out as [`tracer_ebpf::tables`] says;
//! - [`cache`] keeps tables on disk for the next run;
//! - [`known`] keeps them in memory, and [`mod@walk`] walks by them what came before
//!   the programs had them;
//! - `lookup` finds single rules of large files, whose tables take a while to be made;
//! - [`coverage`] says what of a file they cover.
//!
//! Bytes in, tables out: `probes::unwinding` gives them to the programs.

mod build;
pub mod cache;
mod cfi;
pub mod coverage;
mod derive;
pub mod info;
pub mod known;
pub(crate) mod lookup;
pub mod pack;
pub mod rule;
pub mod table;
pub mod walk;

#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use coverage::Coverage;
pub use info::UnwindInfo;
pub use known::Known;
pub use lookup::Found;
pub use table::Table;
pub use walk::{StackCopy, walk};

/// Why a file has no table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be opened or read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is not an ELF file of this machine, or one that can't be read.
    #[error("{0}")]
    Elf(#[from] crate::files::elf::Error),
    /// It is larger than any file's unwind information should be.
    #[error("{what} has {size} bytes, more than {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        size: u64,
        /// Bytes that are allowed.
        limit: u64,
    },
}
