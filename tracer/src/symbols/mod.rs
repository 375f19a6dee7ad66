//! From addresses to names.
//!
//! A [`Symbolizer`] finds the [`Symbol`](crate::recording::Symbol) of every
//! [`Place`](crate::recording::Place) that the captured stacks point to: its frames, innermost first, inlined ones included. They
//! are stored in the recording, so that reports made on another machine print
//! the same names. A [`SymbolTable`] joins them with the stacks again.
//!
//! # Why not a whole symbolizer from the shelf
//! A tracer runs as root and reads files that the traced program's owner
//! wrote. `addr2line` (and so `blazesym`, which is built on the same crates)
//! descends into nested inlined functions by recursion and copies a range list
//! once for every entry that names it: a file of a few megabytes can overflow
//! its stack or fill the memory. So ELF and the walk over DWARF are done here,
//! on top of `gimli`'s bounded readers, `rustc-demangle` and `cpp_demangle`,
//! with a limit on everything that grows. What does not fit a limit loses
//! detail (a line, an inlined frame), never a byte of anybody's account.
//!
//! # Files are read, not mapped
//! A mapped file that its owner truncates kills the reader by SIGBUS. Sections
//! are read by `pread` instead, and only those that are needed.

mod debug_files;
mod demangle;
mod dwarf;
mod elf;
mod files;
mod image;
mod lines;
mod modules;
mod names;
mod places;
mod plumbing;
mod reason;
mod resolve;
mod scopes;
mod short;
mod source;
mod symtab;
mod table;
#[cfg(test)]
mod tests;
mod units;

pub(crate) use demangle::escape;
pub use elf::build_id;
pub use plumbing::location;
pub use reason::Reason;
pub use resolve::Symbolizer;
pub use short::short_name;
pub use table::SymbolTable;

/// One frame of a stack, as reports show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Frame {
    /// Demangled function, or the [`Reason`] in brackets why there is none.
    /// Control characters are escaped.
    pub function: Option<String>,
    /// Source file.
    pub file: Option<String>,
    /// Line in it, from 1.
    pub line: Option<u32>,
    /// File name of the module, without its directories.
    pub module: Option<String>,
    /// Where in the module: the address as the file itself counts them (what
    /// `addr2line` takes) of the instruction that was running or that made the
    /// call; the offset in the file where that is all that is known.
    pub offset: u64,
    /// Whether the compiler inlined it into the next frame.
    pub inlined: bool,
}

impl Frame {
    /// Whether the function is a [`Reason`] or category rather than a name.
    #[must_use]
    pub fn is_bracketed(&self) -> bool {
        let bracketed = |name: &String| name.starts_with('[') && name.ends_with(']');
        self.function.as_ref().is_some_and(bracketed)
    }

    /// `function`, or `libfoo.so+0x1234`, or `[reason]`: the name without its place.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.function, &self.module) {
            (Some(function), _) => function.clone(),
            (None, Some(module)) => format!("{module}+{:#x}", self.offset),
            (None, None) => "[unknown]".to_owned(),
        }
    }
}

impl std::fmt::Display for Frame {
    /// `function:/path/file.rs:12`, or `function`, or `libfoo.so+0x1234`, or `[reason]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.function, &self.file, &self.line, &self.module) {
            (Some(function), Some(file), Some(line), _) => write!(f, "{function}:{file}:{line}"),
            (Some(function), Some(file), None, _) => write!(f, "{function}:{file}"),
            (Some(function), None, ..) => f.write_str(function),
            (None, _, _, Some(module)) => write!(f, "{module}+{:#x}", self.offset),
            (None, _, _, None) => f.write_str("[unknown]"),
        }
    }
}
