//! Files of this machine, which nobody must trust: opening what a process has mapped, telling one
//! file from another, and reading ELF.
//!
//! - [`open`] opens regular files, and the file behind a mapping;
//! - [`identity`] tells files apart: device and inode, and the build-id of the linker;
//! - [`source`] reads their bytes, a bounded piece at a time;
//! - [`elf`] reads headers, sections, symbols and notes;
//! - [`mod@vdso`] is the one image that is no file.
//!
//! Probes look functions up here, unwinding looks for its tables, and symbols for names.

pub mod elf;
pub mod identity;
pub mod open;
pub mod source;
pub mod vdso;

pub use elf::Elf;
pub use identity::{BuildId, FileId, Identity};
pub use open::{Absent, Mapping, regular};
pub use source::Source;
pub use vdso::vdso;
