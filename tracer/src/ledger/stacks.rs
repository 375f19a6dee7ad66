//! Stack ids as small numbers, and what each stack did over the run.

use super::account::StackTotals;
use super::hash::Map;
use super::probe::Probe;
use crate::events::Body;
use crate::units::StackId;

/// A stack by the order of its appearance; 0 is "no stack was taken".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StackIndex(pub(super) u32);

impl StackIndex {
    /// Of [`StackId::KERNEL`].
    pub(super) const KERNEL: Self = Self(1);
    /// Of [`StackId::ANOTHER`].
    pub(super) const ANOTHER: Self = Self(2);
    /// Of [`StackId::FOUND`].
    pub(super) const FOUND: Self = Self(3);
}

/// A stack that was named by an event.
#[derive(Debug, Default)]
struct Entry {
    id: StackId,
    totals: StackTotals,
    /// Events that named it, by probe.
    uses: [u64; Probe::ALL.len()],
}

/// All of them.
#[derive(Debug)]
pub(super) struct Stacks {
    index: Map<u64, StackIndex>,
    entries: Vec<Entry>,
}

impl Stacks {
    pub(super) fn new() -> Self {
        let mut stacks = Self {
            index: Map::default(),
            entries: Vec::new(),
        };
        // In the order of their numbers.
        for id in [
            StackId(0),
            StackId::KERNEL,
            StackId::ANOTHER,
            StackId::FOUND,
        ] {
            stacks.index(id);
        }
        stacks
    }

    /// The number of the stack that an event names.
    pub(super) fn named(&mut self, id: StackId, by: &Body) -> StackIndex {
        let index = self.index(id);
        self.entries[index.0 as usize].uses[Probe::of(by) as usize] += 1;
        index
    }

    fn index(&mut self, id: StackId) -> StackIndex {
        if id == StackId(0) && !self.entries.is_empty() {
            return StackIndex(0);
        }
        let entries = &mut self.entries;
        *self.index.entry(id.0).or_insert_with(|| {
            let next = StackIndex(entries.len() as u32);
            entries.push(Entry {
                id,
                ..Entry::default()
            });
            next
        })
    }

    pub(super) fn id(&self, index: StackIndex) -> StackId {
        self.entries[index.0 as usize].id
    }

    pub(super) fn totals(&mut self, index: StackIndex) -> &mut StackTotals {
        &mut self.entries[index.0 as usize].totals
    }

    /// Forgets what they did.
    pub(super) fn begin_anew(&mut self) {
        for entry in &mut self.entries {
            entry.totals = StackTotals::default();
            entry.uses = [0; Probe::ALL.len()];
        }
    }

    /// Stacks that did anything, by id.
    pub(super) fn all_totals(&self) -> Vec<(StackId, StackTotals)> {
        let mut all: Vec<_> = self.entries.iter().map(|e| (e.id, e.totals)).collect();
        all.retain(|(_, totals)| *totals != StackTotals::default());
        all.sort_unstable_by_key(|&(id, _)| id);
        all
    }

    /// Events by stack and probe, in order. One that names no stack is none.
    pub(super) fn all_uses(&self) -> Vec<(StackId, Probe, u64)> {
        let each = |entry: &Entry| {
            let (id, uses) = (entry.id, entry.uses);
            let probes = Probe::ALL.into_iter().zip(uses);
            probes.map(move |(probe, count)| (id, probe, count))
        };
        let mut all: Vec<_> = self.entries.iter().flat_map(each).collect();
        all.retain(|&(id, _, count)| id > StackId::FOUND && count > 0);
        all.sort_unstable();
        all
    }
}
