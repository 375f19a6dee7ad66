//! Functions by name. They are looked up as the dynamic linker does it, through the hash table: a
//! few reads, however large the file. Those that it does not have are found in the symbol tables,
//! which are read once for all of them.

use super::{Elf, Error, Symbol, outside};
use crate::files::source::number;
use object::elf::{
    DT_GNU_HASH, DT_HASH, DT_NEEDED, DT_SYMTAB, PT_INTERP, SHT_DYNSYM, SHT_SYMTAB, STB_LOCAL,
    STT_GNU_IFUNC,
};
use rustc_hash::FxHashMap;

const SYMBOL: u64 = 24;

/// Links of a hash chain that are followed.
const MAX_CHAIN: usize = 1 << 16;

/// A defined function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its address, as linked.
    pub address: u64,
    /// Whether the address is that of a resolver (STT_GNU_IFUNC).
    pub indirect: bool,
}

impl Function {
    fn of(symbol: &Symbol) -> Option<Self> {
        (symbol.is_code() && symbol.address != 0).then_some(Self {
            address: symbol.address,
            indirect: symbol.kind == STT_GNU_IFUNC.0,
        })
    }
}

impl Elf {
    /// Whether it is run without a dynamic linker.
    ///
    /// # Errors
    /// Where its dynamic section can't be read.
    pub fn is_static(&self) -> Result<bool, Error> {
        let needs = self.dynamic()?.first(DT_NEEDED).is_some();
        Ok(self.segment_of_kind(PT_INTERP).is_none() && !needs)
    }

    /// All definitions of functions, a list for each name (a function may have several versions):
    /// from the dynamic symbol table, or, where `all` asks for it, from the static one.
    ///
    /// # Errors
    /// Where a table contradicts itself.
    pub fn define(&self, names: &[&str], all: bool) -> Result<Vec<Vec<Function>>, Error> {
        let by_hash = |name: &&str| self.by_hash(name.as_bytes());
        let mut found: Vec<_> = names.iter().map(by_hash).collect::<Result<_, _>>()?;
        if all && found.iter().any(Vec::is_empty) {
            let missing = |(number, list): (usize, &Vec<Function>)| {
                list.is_empty().then(|| (names[number].as_bytes(), number))
            };
            let missing = found.iter().enumerate().filter_map(missing).collect();
            for (number, function) in self.scan(&missing)? {
                found[number].push(function);
            }
        }
        Ok(found)
    }

    fn by_hash(&self, name: &[u8]) -> Result<Vec<Function>, Error> {
        let dynamic = self.dynamic()?;
        match (dynamic.first(DT_GNU_HASH), dynamic.first(DT_HASH)) {
            (Some(table), _) => self.by_gnu_hash(table, name),
            (None, Some(table)) => self.by_old_hash(table, name),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// `DT_GNU_HASH`, whose layout is that of glibc's elf/dl-lookup.c.
    fn by_gnu_hash(&self, table: u64, name: &[u8]) -> Result<Vec<Function>, Error> {
        let hash = name.iter().fold(5381_u32, |hash, &byte| {
            hash.wrapping_mul(33).wrapping_add(byte.into())
        });
        let table = self.file_offset(table)?;
        let [buckets, first, bloom, _] = self.words(table)?;
        if buckets == 0 {
            return Ok(Vec::new());
        }
        let bucket = table + 16 + u64::from(bloom) * 8;
        let chains = bucket + u64::from(buckets) * 4;
        let [mut index] = self.words(bucket + u64::from(hash % buckets) * 4)?;
        let mut found = Vec::new();
        for _ in 0..MAX_CHAIN {
            let Some(link) = index.checked_sub(first) else {
                break;
            };
            let [value] = self.words(chains + u64::from(link) * 4)?;
            if value | 1 == hash | 1 {
                found.extend(self.dynamic_symbol(index, name)?);
            }
            if value & 1 != 0 {
                break;
            }
            index = index.saturating_add(1);
        }
        Ok(found)
    }

    /// `DT_HASH`, as in the System V ABI.
    fn by_old_hash(&self, table: u64, name: &[u8]) -> Result<Vec<Function>, Error> {
        let hash = name.iter().fold(0_u32, |hash, &byte| {
            let hash = (hash << 4).wrapping_add(byte.into());
            let high = hash & 0xf000_0000;
            (hash ^ (high >> 24)) & !high
        });
        let table = self.file_offset(table)?;
        let [buckets, chains] = self.words(table)?;
        if buckets == 0 {
            return Ok(Vec::new());
        }
        let [mut index] = self.words(table + 8 + u64::from(hash % buckets) * 4)?;
        let mut found = Vec::new();
        for _ in 0..MAX_CHAIN {
            if index == 0 || index >= chains {
                break;
            }
            found.extend(self.dynamic_symbol(index, name)?);
            let link = u64::from(buckets) + u64::from(index);
            [index] = self.words(table + 8 + link * 4)?;
        }
        Ok(found)
    }

    /// An entry of the dynamic symbol table, if it defines this function.
    fn dynamic_symbol(&self, index: u32, name: &[u8]) -> Result<Option<Function>, Error> {
        let Some(table) = self.dynamic()?.first(DT_SYMTAB) else {
            return Ok(None);
        };
        let offset = self.file_offset(table)? + u64::from(index) * SYMBOL;
        let entry = self.bytes(offset, SYMBOL)?;
        let Some(symbol) = Symbol::of(&entry).filter(Symbol::is_code) else {
            return Ok(None);
        };
        // A name that can't be read is not the one that is looked for.
        let own = self.dynamic_string(symbol.name.into()).ok();
        Ok(Function::of(&symbol).filter(|_| own.as_deref() == Some(name)))
    }

    /// Every definition of some functions in the section tables, with the number of its name. A
    /// local one is taken only in a static program, where linking makes hidden ones local
    /// (`malloc` in glibc's static-pie).
    fn scan(&self, names: &FxHashMap<&[u8], usize>) -> Result<Vec<(usize, Function)>, Error> {
        let is_static = self.is_static()?;
        let mut found = Vec::new();
        for kind in [SHT_SYMTAB, SHT_DYNSYM] {
            let Some(table) = self.symbol_table(kind) else {
                continue;
            };
            found.extend(table.symbols().filter_map(|symbol| {
                let visible = symbol.binding != STB_LOCAL.0 || is_static;
                let function = Function::of(&symbol).filter(|_| visible)?;
                Some((*names.get(table.name(&symbol))?, function))
            }));
        }
        Ok(found)
    }

    fn words<const N: usize>(&self, offset: u64) -> Result<[u32; N], Error> {
        let bytes = self.source.read(offset, N as u64 * 4).map_err(outside)?;
        let word = |at| number::<4>(&bytes, at * 4).unwrap_or_default() as u32;
        Ok(std::array::from_fn(word))
    }
}
