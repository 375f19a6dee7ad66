//! Growth for which no event tells a place, until a check finds one.

use crate::ledger::history::Moment;
use crate::ledger::residency::{Backing, Page};
use crate::ledger::stacks::StackIndex;
use std::collections::VecDeque;

/// Growths of one backing that are told apart. Where there are more, neighbours become one:
/// each is then some 1/4,000 of what came between two checks, and so is the error in a peak
/// that falls into one. `mlockall` grows by single pages, a million for 4 GiB.
const APART: usize = 1 << 14;

/// Pages that came to a place that no event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) born: Moment,
    pub(super) toucher: StackIndex,
    pub(super) backing: Backing,
    pub(super) pages: u64,
}

impl Owed {
    pub(super) fn new(page: Page, pages: u64) -> Self {
        Self {
            born: page.born,
            toucher: page.toucher,
            backing: page.backing,
            pages,
        }
    }
}

/// What is owed, the oldest first, by backing.
#[derive(Clone, Debug, Default)]
pub(super) struct Debts([VecDeque<Owed>; Backing::ALL.len()]);

impl Debts {
    /// Remembers a growth.
    pub(super) fn add(&mut self, owed: Owed) {
        let debts = &mut self.0[owed.backing as usize];
        if owed.pages == 0 {
            return;
        }
        if debts.len() >= APART {
            merge(debts);
        }
        debts.push_back(owed);
    }

    /// How many pages are owed of one backing.
    pub(super) fn pages(&self, backing: Backing) -> u64 {
        self.0[backing as usize].iter().map(|owed| owed.pages).sum()
    }

    /// What is owed of one backing, for a check to place.
    pub(super) fn take(&mut self, backing: Backing) -> VecDeque<Owed> {
        std::mem::take(&mut self.0[backing as usize])
    }

    /// What a check of one backing found no place for.
    pub(super) fn put_back(&mut self, backing: Backing, mut debts: VecDeque<Owed>) {
        debts
            .make_contiguous()
            .sort_unstable_by_key(|owed| owed.born);
        self.0[backing as usize] = debts;
    }
}

/// Makes one of each two neighbours: as old as the first, by the stack that brought more.
fn merge(debts: &mut VecDeque<Owed>) {
    let pairs = debts.make_contiguous().chunks(2);
    *debts = pairs
        .map(|pair| {
            let most = pair.iter().max_by_key(|owed| owed.pages);
            Owed {
                toucher: most.map_or(pair[0].toucher, |owed| owed.toucher),
                pages: pair.iter().map(|owed| owed.pages).sum(),
                ..pair[0]
            }
        })
        .collect();
}
