//! The table of a file: of its unwind information, and of its instructions where it has none.

use super::info::UnwindInfo;
use super::{Error, Table, cfi, derive};
use crate::files::{Elf, Source};

impl Table {
    /// Makes the table of a file from its unwind information, and from its
    /// instructions where it has none.
    #[must_use]
    pub fn build(image: &UnwindInfo<'_>) -> Self {
        let mut table = cfi::table(image);
        table.fill(image);
        table
    }

    /// Makes what the file leaves out.
    pub(super) fn fill(&mut self, image: &UnwindInfo<'_>) {
        derive::fill(self, image);
    }

    /// Opens a file and makes its table.
    ///
    /// # Errors
    ///
    /// If it can't be read, or is no x86-64 ELF file.
    pub fn of_file(file: std::fs::File) -> Result<Self, Error> {
        let elf = Elf::parse(Source::of(file)?)?;
        Ok(Self::build(&UnwindInfo::of(&elf)?))
    }
}
