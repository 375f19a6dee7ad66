//! Pages that the kernel counts no more and the ledger still has, until a check tells which.

use crate::ledger::history::Moment;
use std::collections::VecDeque;

/// Departures of one backing that are told apart; see `owed`.
const APART: usize = 1 << 14;

/// When pages went, the oldest departure first.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone {
    departures: VecDeque<(Moment, u64)>,
    pages: u64,
}

impl Gone {
    /// `Σ departures' = surplus`, the number of pages that the ledger has too many. What came on
    /// top went now; where there are fewer, the last did not go.
    #[inline]
    pub(super) fn set(&mut self, surplus: u64, now: Moment) {
        if surplus != self.pages {
            self.change(surplus, now);
        }
    }

    #[cold]
    fn change(&mut self, surplus: u64, now: Moment) {
        if let Some(more) = surplus.checked_sub(self.pages) {
            if self.departures.len() >= APART {
                self.merge();
            }
            self.departures.push_back((now, more));
        }
        let mut fewer = self.pages.saturating_sub(surplus);
        while fewer > 0
            && let Some((_, pages)) = self.departures.back_mut()
        {
            let some = fewer.min(*pages);
            *pages -= some;
            fewer -= some;
            if *pages == 0 {
                self.departures.pop_back();
            }
        }
        self.pages = surplus;
    }

    /// `departures' = departures \ {the oldest}`, as far as it has no more than so many pages.
    /// Returns when they went, and how many.
    pub(super) fn take(&mut self, most: u64) -> Option<(Moment, u64)> {
        let (at, pages) = self.departures.front_mut()?;
        let taken = (*at, most.min(*pages));
        *pages -= taken.1;
        self.pages -= taken.1;
        if *pages == 0 {
            self.departures.pop_front();
        }
        Some(taken)
    }

    /// Forgets what went before a check began: it has found all of it.
    pub(super) fn settle(&mut self, since: Moment) {
        while let Some(&(at, pages)) = self.departures.front()
            && at < since
        {
            self.departures.pop_front();
            self.pages -= pages;
        }
    }

    /// Makes one of each two neighbours, as old as the first.
    fn merge(&mut self) {
        let pairs = self.departures.make_contiguous().chunks(2);
        self.departures = pairs
            .map(|pair| (pair[0].0, pair.iter().map(|(_, pages)| pages).sum()))
            .collect();
    }
}
