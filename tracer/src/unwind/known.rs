//! The tables that the programs have, as user space keeps them: for the stacks
//! that only it can walk.

use super::Table;
use super::lookup::{Found, Lookup};
use super::pack::{Packed, pack};
use crate::files::FileId;
use crate::units::FileOffset;
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard};
use tracer_ebpf::tables::{
    CHUNK_WORDS, FileKey, MAX_RULES, NO_RULE, PAGE_SHIFT, PAGES_PER_CHUNK, RULE_BITS, Rule, VDSO,
    cfa, row,
};

/// The vDSO, which is no file.
pub const VDSO_FILE: FileId = FileId {
    device: VDSO.device as u64,
    inode: VDSO.inode,
};

/// The file that the programs know by a key.
pub(crate) const fn file_of(key: &FileKey) -> FileId {
    FileId::of_kernel(key.device, key.inode)
}

/// The tables of files, shared with the thread that makes them.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    files: FxHashMap<FileId, Option<Arc<Packed>>>,
    rules: Vec<Rule>,
    /// What serves until a file's table is there.
    lookups: FxHashMap<FileId, Arc<Lookup>>,
    /// Files that were asked for; none once their table is being made.
    wanted: FxHashMap<FileId, Option<File>>,
}

impl Known {
    /// The rule at an offset in a file.
    #[must_use]
    pub fn find(&self, file: FileId, offset: FileOffset) -> Found {
        let tables = self.lock();
        let packed = match tables.files.get(&file) {
            None => {
                let lookup = tables.lookups.get(&file).cloned();
                drop(tables);
                return lookup.map_or(Found::NotReady, |lookup| lookup.find(offset));
            }
            Some(None) => return Found::NoRule,
            Some(Some(packed)) => packed,
        };
        match tables.rules.get(find(packed, offset) as usize) {
            Some(rule) if rule.cfa != cfa::NONE => Found::Rule(*rule),
            _ => Found::NoRule,
        }
    }

    /// Asks for the table of a file that its process took with it before anybody could open it
    /// there, so that the next process that maps it finds it. Asked twice, it is made once.
    pub fn want(&self, id: FileId, file: impl FnOnce() -> Option<File>) {
        let wanted = &mut self.lock().wanted;
        if let Entry::Vacant(place) = wanted.entry(id)
            && let Some(file) = file()
        {
            place.insert(Some(file));
        }
    }

    /// The files that were asked for since the last call.
    pub(crate) fn take_wanted(&self) -> Vec<File> {
        let wanted = &mut self.lock().wanted;
        wanted.values_mut().filter_map(Option::take).collect()
    }

    /// Makes the table of a file whose process ended before the programs could
    /// have it. Not while a thread prepares tables for them: both number rules.
    pub fn add(&self, id: FileId, file: File) {
        let table = Table::of_file(file).ok();
        let packed = table.and_then(|table| pack(&table, &self.number(&table.rules)));
        self.insert(id, packed.map(Arc::new));
    }

    /// The numbers of rules, old ones and new; those for which there is no room
    /// become "no unwind information".
    fn number(&self, rules: &[Rule]) -> Vec<u32> {
        let known = &mut self.lock().rules;
        if known.is_empty() {
            known.push(Rule::default());
        }
        let mut numbers: FxHashMap<Rule, u32> = known.iter().copied().zip(0..).collect();
        let mut number = |&rule: &Rule| {
            *numbers.entry(rule).or_insert_with(|| {
                if known.len() >= MAX_RULES as usize {
                    return 0;
                }
                known.push(rule);
                known.len() as u32 - 1
            })
        };
        rules.iter().map(&mut number).collect()
    }

    /// Keeps a file's table; `None`: it has none.
    pub(crate) fn insert(&self, file: FileId, table: Option<Arc<Packed>>) {
        let mut tables = self.lock();
        tables.files.insert(file, table);
        tables.lookups.remove(&file);
    }

    /// What single rules of a file can be found by, until its table is kept.
    pub(crate) fn look_up_meanwhile(&self, file: FileId, lookup: &Arc<Lookup>) {
        self.lock().lookups.insert(file, lookup.clone());
    }

    /// The table of a file that was kept before.
    pub(crate) fn get(&self, file: FileId) -> Option<Arc<Packed>> {
        self.lock().files.get(&file)?.clone()
    }

    /// Keeps a rule under its number.
    pub(crate) fn set_rule(&self, number: u32, rule: Rule) {
        let rules = &mut self.lock().rules;
        let number = number as usize;
        if rules.len() <= number {
            rules.resize(number + 1, Rule::default());
        }
        rules[number] = rule;
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner())
    }
}

/// The number of the rule at a file offset, as the BPF program finds it.
#[must_use]
pub fn find(packed: &Packed, offset: FileOffset) -> u32 {
    try_find(packed, offset).unwrap_or(NO_RULE)
}

fn try_find(packed: &Packed, FileOffset(offset): FileOffset) -> Option<u32> {
    let page = offset.checked_sub(packed.offset)? >> PAGE_SHIFT;
    let page = u32::try_from(page).ok().filter(|&p| p < packed.pages)?;
    let index = packed.chunks.get((page / PAGES_PER_CHUNK) as usize)?;
    let slot = (page % PAGES_PER_CHUNK) as usize * 2;
    let rows = packed.chunks.get(index[slot] as usize)?;
    let (first, count) = (index[slot + 1] & 0xffff, index[slot + 1] >> 16);
    let last = (first + count).min(CHUNK_WORDS as u32) as usize;
    let rows = rows.get(first as usize..last)?;
    let after = rows.partition_point(|&word| word <= row(offset as u32, u32::MAX));
    // The page's first row stands at its first byte.
    let word = rows.get(after.saturating_sub(1))?;
    Some(word & ((1 << RULE_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file that this test is.
    fn own() -> File {
        File::open("/proc/self/exe").expect("a program")
    }

    #[test]
    fn a_table_that_is_made_late_says_what_the_file_says() {
        let known = Known::default();
        // What the programs had before.
        let earlier = Rule {
            cfa_offset: 12_345,
            cfa: cfa::SP,
            ..Rule::default()
        };
        known.set_rule(1, earlier);
        let id = FileId {
            device: 7,
            inode: 8,
        };
        assert_eq!(known.find(id, FileOffset(0)), Found::NotReady);
        known.add(id, own());
        let table = Table::of_file(own()).expect("a table");
        let rule = |index: u32| match table.rules[index as usize] {
            rule if rule.cfa == cfa::NONE => Found::NoRule,
            rule => Found::Rule(rule),
        };
        assert!(table.rows.len() > 1000);
        for row in &table.rows {
            assert_eq!(
                known.find(id, FileOffset(row.offset.into())),
                rule(row.rule),
                "{:#x} of {:?}",
                row.offset,
                table
                    .rows
                    .iter()
                    .filter(|r| r.offset.abs_diff(row.offset) < 64)
                    .collect::<Vec<_>>()
            );
        }
        assert_eq!(known.lock().rules[1], earlier);
    }

    #[test]
    fn a_file_without_a_table_is_known_to_have_none() {
        let known = Known::default();
        let id = FileId {
            device: 7,
            inode: 8,
        };
        known.add(id, File::open("/dev/null").expect("opened"));
        assert_eq!(known.find(id, FileOffset(0)), Found::NoRule);
    }
}
