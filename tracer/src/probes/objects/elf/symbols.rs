//! Functions by name. They are looked up as the dynamic linker does it, through
//! the hash table: a few reads, however large the file.

use super::{Elf, read, u16_at, u32_at, u64_at};
use crate::probes::objects::ObjectError;

const DT_HASH: u64 = 4;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
const SHT_SYMTAB: u32 = 2;
const SHT_DYNSYM: u32 = 11;
const STB_LOCAL: u8 = 0;
const SYMBOL_BYTES: usize = 24;
/// Links of a hash chain that are followed.
const MAX_CHAIN: usize = 1 << 16;
/// Largest symbol or string table that is read whole.
const MAX_TABLE: u64 = 256 << 20;

/// A defined function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::probes::objects) struct Symbol {
    /// Its address, as linked.
    pub(in crate::probes::objects) address: u64,
    /// Whether the address is that of a resolver (STT_GNU_IFUNC).
    pub(in crate::probes::objects) indirect: bool,
}

impl Elf {
    /// All definitions of a function in the dynamic symbol table (one for each
    /// of its versions), or, where `all` asks for it, in the static one.
    pub(in crate::probes::objects) fn define(
        &self,
        name: &str,
        all: bool,
    ) -> Result<Vec<Symbol>, ObjectError> {
        let name = name.as_bytes();
        let found = match (self.tags(DT_GNU_HASH).next(), self.tags(DT_HASH).next()) {
            (Some(table), _) => self.gnu_lookup(table, name)?,
            (None, Some(table)) => self.sysv_lookup(table, name)?,
            (None, None) => Vec::new(),
        };
        match found.is_empty() && all {
            true => self.scan(name),
            false => Ok(found),
        }
    }

    /// `DT_GNU_HASH`, whose layout is that of glibc's elf/dl-lookup.c.
    fn gnu_lookup(&self, table: u64, name: &[u8]) -> Result<Vec<Symbol>, ObjectError> {
        let hash = name.iter().fold(5381_u32, |hash, &byte| {
            hash.wrapping_mul(33).wrapping_add(byte.into())
        });
        let table = self.loaded(table)?;
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
                found.extend(self.symbol(index, name)?);
            }
            if value & 1 == 1 {
                break;
            }
            index = index.wrapping_add(1);
        }
        Ok(found)
    }

    /// `DT_HASH`, of the System V ABI.
    fn sysv_lookup(&self, table: u64, name: &[u8]) -> Result<Vec<Symbol>, ObjectError> {
        let hash = name.iter().fold(0_u32, |hash, &byte| {
            let hash = (hash << 4).wrapping_add(byte.into());
            let high = hash & 0xf000_0000;
            (hash ^ (high >> 24)) & !high
        });
        let table = self.loaded(table)?;
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
            found.extend(self.symbol(index, name)?);
            let link = u64::from(buckets) + u64::from(index);
            [index] = self.words(table + 8 + link * 4)?;
        }
        Ok(found)
    }

    /// An entry of the dynamic symbol table, if it defines this function.
    fn symbol(&self, index: u32, name: &[u8]) -> Result<Option<Symbol>, ObjectError> {
        let Some(table) = self.tags(DT_SYMTAB).next() else {
            return Ok(None);
        };
        let offset = self.loaded(table)? + u64::from(index) * SYMBOL_BYTES as u64;
        let entry: [u8; SYMBOL_BYTES] = read(&self.file, offset)?;
        match function(&entry) {
            Some(symbol) if self.name(u32_at(&entry, 0).into()).as_deref() == Some(name) => {
                Ok(Some(symbol))
            }
            _ => Ok(None),
        }
    }

    /// Every definition of a function in the section tables. A local one is
    /// taken only in a static program, where linking makes hidden ones local
    /// (`malloc` in glibc's static-pie).
    fn scan(&self, name: &[u8]) -> Result<Vec<Symbol>, ObjectError> {
        let is_static = self.is_static();
        let (offset, size, count) = self.sections;
        if size != 64 || count == 0 {
            return Ok(Vec::new());
        }
        let headers = self.bytes(offset, usize::from(count) * 64)?;
        let mut found = Vec::new();
        for header in headers.chunks_exact(64) {
            let kind = u32_at(header, 4);
            let link = u32_at(header, 40) as usize;
            let strings = headers.chunks_exact(64).nth(link);
            if let (SHT_SYMTAB | SHT_DYNSYM, Some(strings)) = (kind, strings) {
                let strings = self.section(strings)?;
                let symbols = self.section(header)?;
                found.extend(symbols.chunks_exact(SYMBOL_BYTES).filter_map(|entry| {
                    let start = u32_at(entry, 0) as usize;
                    let text = strings.get(start..start.checked_add(name.len() + 1)?)?;
                    let same = text.split_last() == Some((&0, name));
                    let visible = entry[4] >> 4 != STB_LOCAL || is_static;
                    (same && visible).then(|| function(entry))?
                }));
            }
        }
        Ok(found)
    }

    fn section(&self, header: &[u8]) -> Result<Vec<u8>, ObjectError> {
        let size = u64_at(header, 32);
        if size > MAX_TABLE {
            return Err(ObjectError::Malformed("symbol table too large"));
        }
        self.bytes(u64_at(header, 24), size as usize)
    }
}

/// What a symbol table entry defines, if it is a function.
fn function(entry: &[u8]) -> Option<Symbol> {
    const SHN_UNDEF: u16 = 0;
    let kind = entry[4] & 15;
    let address = u64_at(entry, 8);
    let defined = u16_at(entry, 6) != SHN_UNDEF && address != 0;
    // NOTYPE (hand-written assembly), FUNC, GNU_IFUNC.
    (defined && matches!(kind, 0 | 2 | 10)).then_some(Symbol {
        address,
        indirect: kind == 10,
    })
}
