//! From addresses to names.
//!
//! A [`Symbolizer`] finds the [`ResolvedAddress`](crate::recording::ResolvedAddress) of every
//! [`CodeAddress`](crate::recording::CodeAddress) that the captured stacks point to: its frames,
//! innermost first, inlined ones included. They are stored in the recording, so that reports made
//! on another machine print the same names. A [`SymbolTable`] joins them with the stacks again.
//!
//! # Why not a whole symbolizer from the shelf
//! The walk over DWARF is done here, on top of `gimli`'s bounded readers, `rustc-demangle` and
//! `cpp_demangle`, with a limit on everything that grows: what does not fit a limit loses detail (a
//! line, an inlined frame), never a byte of anybody's account. `docs/names.md` has the figures beside
//! `blazesym`, which leaves out what split DWARF and DWZ moved elsewhere. Either way a file is read by
//! a process that may do nothing else (`reader`).
//!
//! # Files are read, not mapped
//! A mapped file that its owner truncates kills the reader by SIGBUS. Sections
//! are read by `pread` instead, and only those that are needed.

mod debug_files;
mod debuginfod;
mod demangle;
mod dwarf;
mod fde;
mod file_names;
mod files;
mod modules;
mod pass_through;
mod perf_map;
mod places;
mod reader;
mod reason;
mod resolve;
mod short;
mod symtab;
mod table;
#[cfg(test)]
mod tests;

pub use crate::recording::Frame;
pub(crate) use demangle::escape;
pub use modules::AddressSpaces;
pub use pass_through::{location, toucher};
pub use perf_map::PerfMap;
pub use reader::serve;
pub use reason::Reason;
pub use resolve::{Naming, Symbolizer};
pub use short::short_name;
pub use table::SymbolTable;
