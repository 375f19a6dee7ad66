//! Stack ids as small numbers, and what each stack did over the run.

use super::account::StackTotals;
use super::hash::Map;
use crate::units::StackId;

/// A stack by the order of its appearance; 0 is "no stack was taken".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StackIndex(pub(super) u32);

/// All stacks that were named by an event.
#[derive(Debug)]
pub(super) struct Stacks {
    index: Map<u64, StackIndex>,
    entries: Vec<(StackId, StackTotals)>,
}

impl Stacks {
    pub(super) fn new() -> Self {
        let mut stacks = Self {
            index: Map::default(),
            entries: Vec::new(),
        };
        stacks.index(StackId(0));
        stacks
    }

    /// The number of a stack.
    pub(super) fn index(&mut self, id: StackId) -> StackIndex {
        if id == StackId(0) && !self.entries.is_empty() {
            return StackIndex(0);
        }
        let entries = &mut self.entries;
        *self.index.entry(id.0).or_insert_with(|| {
            let next = StackIndex(entries.len() as u32);
            entries.push((id, StackTotals::default()));
            next
        })
    }

    pub(super) fn id(&self, index: StackIndex) -> StackId {
        self.entries[index.0 as usize].0
    }

    pub(super) fn totals(&mut self, index: StackIndex) -> &mut StackTotals {
        &mut self.entries[index.0 as usize].1
    }

    /// Stacks that did anything, by id.
    pub(super) fn into_totals(self) -> Vec<(StackId, StackTotals)> {
        let mut entries = self.entries;
        entries.retain(|(_, totals)| *totals != StackTotals::default());
        entries.sort_unstable_by_key(|&(id, _)| id);
        entries
    }
}
