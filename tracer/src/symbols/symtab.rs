//! Names by address out of ELF symbol tables.

use super::elf::{Elf, bytes_at};
use super::source::number;
use std::cmp::Reverse;
use std::ops::Range;

const SHT_SYMTAB: u64 = 2;
const SHT_DYNSYM: u64 = 11;
const STT_NOTYPE: u8 = 0;
const STT_FUNC: u8 = 2;
const STT_GNU_IFUNC: u8 = 10;
const STB_LOCAL: u8 = 0;
/// Longest name that is read; longer ones are cut.
const MAX_NAME: usize = 64 << 10;
/// How many symbols that begin nearer to an address are passed over in search
/// of one whose size covers it (labels inside a function).
const NEARER: usize = 32;

/// Functions of a file, sorted by address, one name for each.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    symbols: Vec<Symbol>,
    strings: [Vec<u8>; 2],
    code: Vec<Range<u64>>,
}

#[derive(Clone, Copy, Debug)]
struct Symbol {
    address: u64,
    size: u64,
    name: u32,
    /// Index into `strings`.
    table: u8,
    kind: u8,
    binding: u8,
}

impl Symbols {
    /// Reads `.symtab` and `.dynsym` of a file; what is damaged is left out.
    pub(crate) fn read(elf: &Elf) -> Self {
        let mut all = Self {
            code: elf.code(),
            ..Self::default()
        };
        for (table, kind) in [SHT_SYMTAB, SHT_DYNSYM].into_iter().enumerate() {
            // Nothing to report: a file without names is no failure.
            let _ = all.add(elf, table, kind);
        }
        all.sort();
        all
    }

    fn add(&mut self, elf: &Elf, table: usize, kind: u64) -> Option<()> {
        let section = elf.section_of_kind(kind)?;
        let strings = elf.data(elf.section_at(section.link)?)?;
        let entries = elf.data(section)?;
        self.symbols
            .extend(entries.chunks_exact(24).filter_map(|entry| {
                let info = number::<1>(entry, 4)? as u8;
                let symbol = Symbol {
                    name: number::<4>(entry, 0)? as u32,
                    kind: info & 0xf,
                    binding: info >> 4,
                    address: number::<8>(entry, 8)?,
                    size: number::<8>(entry, 16)?,
                    table: table as u8,
                };
                // Section index 0: defined elsewhere; from 0xff00 on: no address.
                let defined = (1..0xff00).contains(&number::<2>(entry, 6)?);
                let code = matches!(symbol.kind, STT_NOTYPE | STT_FUNC | STT_GNU_IFUNC);
                let named = strings.get(symbol.name as usize).is_some_and(|&b| b != 0);
                (defined && code && named).then_some(symbol)
            }));
        self.strings[table] = strings;
        Some(())
    }

    /// Sorts by address and keeps the best of several names of one address:
    /// a sized one, a function, one without leading underscores (`malloc`
    /// rather than `__libc_malloc`), a public one, the shortest, the first.
    fn sort(&mut self) {
        let mut symbols = std::mem::take(&mut self.symbols);
        symbols.sort_by_cached_key(|symbol| {
            let name = self.bytes(symbol);
            let underscores = name.iter().take_while(|&&b| b == b'_').count();
            (
                symbol.address,
                symbol.size == 0,
                symbol.kind == STT_NOTYPE,
                underscores,
                Reverse(symbol.binding != STB_LOCAL),
                name.len(),
                (name.first().copied(), symbol.table, symbol.name),
            )
        });
        symbols.dedup_by_key(|symbol| symbol.address);
        self.symbols = symbols;
    }

    /// A symbol's name, without the version that linkers append in `.symtab`
    /// (`malloc@@GLIBC_2.2.5`).
    fn bytes(&self, symbol: &Symbol) -> &[u8] {
        let strings = &self.strings[symbol.table as usize];
        let name = bytes_at(strings, symbol.name.into(), MAX_NAME);
        match name.iter().position(|&byte| byte == b'@') {
            Some(end) if end > 0 => &name[..end],
            _ => name,
        }
    }

    /// Number of the function that holds an address: the nearest one before it
    /// whose size reaches it. One without a size (assembly) reaches up to the
    /// next symbol or the end of its section.
    pub(crate) fn find(&self, address: u64) -> Option<usize> {
        let after = self.symbols.partition_point(|s| s.address <= address);
        let covers = |s: &Symbol| address - s.address < s.size;
        let near = after.saturating_sub(NEARER)..after;
        if let Some(index) = near.rev().find(|&i| covers(&self.symbols[i])) {
            return Some(index);
        }
        let nearest = after.checked_sub(1)?;
        let symbol = &self.symbols[nearest];
        let section = self.code.iter().find(|range| range.contains(&address));
        let reaches =
            symbol.size == 0 && section.is_some_and(|range| range.contains(&symbol.address));
        reaches.then_some(nearest)
    }

    /// Name of a function that [`Symbols::find`] found, as it stands in the file.
    pub(crate) fn name(&self, index: usize) -> &[u8] {
        self.bytes(&self.symbols[index])
    }
}
