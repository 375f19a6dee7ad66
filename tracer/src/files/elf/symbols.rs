//! Symbol tables, whole.

use super::{Elf, LE, pod};
use crate::files::source::text;
use object::LittleEndian;
use object::elf::{SectionType, Sym64};
use std::borrow::Cow;

/// Longest name that is read; longer ones are cut.
const MAX_NAME: usize = 64 << 10;

/// Symbols of one table that are looked at.
const MAX_SYMBOLS: usize = 64 << 20;

const SIZE: usize = size_of::<Sym64<LittleEndian>>();

/// `.symtab` or `.dynsym`, and its strings.
#[derive(Debug)]
pub struct SymbolTable<'a> {
    entries: Cow<'a, [u8]>,
    strings: Cow<'a, [u8]>,
}

/// An entry of a symbol table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its value: an address, as linked.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Offset of its name in the table's strings.
    pub name: u32,
    /// `STT_*`
    pub kind: u8,
    /// `STB_*`
    pub binding: u8,
    /// Whether this file defines it, at an address.
    pub is_defined: bool,
}

impl Symbol {
    pub(super) fn of(entry: &[u8]) -> Option<Self> {
        let entry: Sym64<LittleEndian> = pod(entry)?;
        // Section index 0: defined elsewhere; from 0xff00 on: no address.
        let section = entry.st_shndx.get(LE).0;
        Some(Self {
            address: entry.st_value.get(LE),
            size: entry.st_size.get(LE),
            name: entry.st_name.get(LE),
            kind: entry.st_type().0,
            binding: entry.st_bind().0,
            is_defined: (1..0xff00).contains(&section),
        })
    }

    /// Whether it may be code: a function, one that is chosen at run time, or a label of assembly,
    /// which has no type.
    #[must_use]
    pub fn is_code(&self) -> bool {
        const NOTYPE: u8 = object::elf::STT_NOTYPE.0;
        const FUNC: u8 = object::elf::STT_FUNC.0;
        const IFUNC: u8 = object::elf::STT_GNU_IFUNC.0;
        self.is_defined && matches!(self.kind, NOTYPE | FUNC | IFUNC)
    }
}

impl SymbolTable<'_> {
    /// Its entries, in the order of the file.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> {
        let entries = self.entries.chunks_exact(SIZE).take(MAX_SYMBOLS);
        entries.filter_map(Symbol::of)
    }

    /// The name of a symbol of this table.
    #[must_use]
    pub fn name(&self, symbol: &Symbol) -> &[u8] {
        text(&self.strings, symbol.name.into(), MAX_NAME)
    }

    /// The strings, to keep.
    #[must_use]
    pub fn into_strings(self) -> Vec<u8> {
        self.strings.into_owned()
    }
}

impl Elf {
    /// A symbol table by its kind (`SHT_SYMTAB`, `SHT_DYNSYM`); nothing where there is none, or it
    /// is damaged.
    #[must_use]
    pub fn symbol_table(&self, kind: SectionType) -> Option<SymbolTable<'_>> {
        let section = self.section_of_kind(kind)?;
        let strings = self.sections().get(section.link as usize)?;
        Some(SymbolTable {
            strings: self.data(strings)?,
            entries: self.data(section)?,
        })
    }
}
