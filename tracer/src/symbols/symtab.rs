//! Names by address out of ELF symbol tables.

use crate::files::Elf;
use crate::files::source::text;
use object::elf::{SHT_DYNSYM, SHT_SYMTAB, STB_LOCAL, STT_NOTYPE, SectionType};
use std::cmp::Reverse;
use std::ops::Range;

/// Longest name that is read; longer ones are cut.
const MAX_NAME: usize = 64 << 10;
/// How many symbols that begin nearer to an address are passed over in search
/// of one whose size covers it (labels inside a function).
const NEARER: usize = 32;

/// Functions of a file, sorted by address, one name for each.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    symbols: Vec<SortedSymbol>,
    strings: [Vec<u8>; 2],
    code: Vec<Range<u64>>,
}

#[derive(Clone, Copy, Debug)]
struct SortedSymbol {
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

    fn add(&mut self, elf: &Elf, table: usize, kind: SectionType) -> Option<()> {
        let found = elf.symbol_table(kind)?;
        let code = found.symbols().filter(|symbol| symbol.is_code());
        let named = code.filter(|symbol| !found.name(symbol).is_empty());
        self.symbols.extend(named.map(|symbol| SortedSymbol {
            name: symbol.name,
            kind: symbol.kind,
            binding: symbol.binding,
            address: symbol.address,
            size: symbol.size,
            table: table as u8,
        }));
        self.strings[table] = found.into_strings();
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
                symbol.kind == STT_NOTYPE.0,
                underscores,
                Reverse(symbol.binding != STB_LOCAL.0),
                name.len(),
                (name.first().copied(), symbol.table, symbol.name),
            )
        });
        symbols.dedup_by_key(|symbol| symbol.address);
        self.symbols = symbols;
    }

    /// A symbol's name, without the version that linkers append in `.symtab`
    /// (`malloc@@GLIBC_2.2.5`).
    fn bytes(&self, symbol: &SortedSymbol) -> &[u8] {
        let strings = &self.strings[symbol.table as usize];
        let name = text(strings, symbol.name.into(), MAX_NAME);
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
        let covers = |s: &SortedSymbol| address - s.address < s.size;
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
