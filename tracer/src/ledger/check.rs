//! What `/proc/PID/pagemap` says, against what the events said.
//!
//! Events don't show which pages reclaim takes, khugepaged collapses, `mlockall` brings, or
//! what the kernel touched before the first event. A check does: it begins, the runs of
//! present pages follow, it ends. Then
//!
//! ```text
//! P' = (P \ absent) ∪ present
//! absent   in no run, and resident since before the check began
//! present  in a run, and not in P, where nothing was taken away since the check began
//! ```
//!
//! so that what happens while the pages are read contradicts nothing. The events had said
//! *how many* pages came or went, *when*, and by which stack; a page that a check finds takes
//! its birth and its toucher from the first growth that found no place (`owed`), a page that
//! is gone ended when the kernel began to count fewer pages than the ledger (`surplus`). A
//! page that was only put in the wrong place moves. A check that comes after a peak so still
//! corrects the peak.

mod owed;

use self::owed::{Debts, Owed};
use super::history::{Moment, Now};
use super::image::Image;
use super::mappings::{ADDRESSES, PAGE, page_range};
use super::residency::{Backing, Page};
use super::stacks::StackIndex;
use crate::events::Member;
use std::collections::VecDeque;
use std::ops::Range;

/// Runs and takings of one check: one with more is not believed.
const RUNS: usize = 1 << 21;

/// Pages without any growth behind them that a check may bring: as many, and those that the
/// events since the last one could have brought.
const UNKNOWN: u64 = 4096;
const UNKNOWN_EACH: u64 = 512;

/// What checks know of an image.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    open: Option<Box<Check>>,
    owed: Debts,
    surplus: [Option<Moment>; 3],
    last: Moment,
}

/// A check under way.
#[derive(Clone, Debug)]
struct Check {
    since: Moment,
    void: bool,
    runs: Vec<(Range<u64>, Backing)>,
    taken: Vec<Range<u64>>,
}

/// Slots of one mapping (or of the gaps between them) that are to be filled.
struct Vacancy {
    slots: Range<u64>,
    backing: Backing,
}

impl Checks {
    /// A counter grew by pages for which no place is known.
    pub(super) fn owe(&mut self, page: Page, pages: u64) {
        self.owed.add(Owed::new(page, pages));
    }

    /// The ledger has more pages of that backing than the kernel counts, or has not.
    pub(super) fn note(&mut self, backing: Backing, too_many: bool, now: &Now) {
        let surplus = &mut self.surplus[backing as usize];
        *surplus = too_many.then(|| surplus.unwrap_or(now.moment));
    }

    /// Addresses from which something is being taken.
    pub(super) fn taken(&mut self, range: &Range<u64>) {
        if let Some(check) = &mut self.open {
            check.void |= check.taken.len() >= RUNS;
            if !check.void {
                check.taken.push(range.clone());
            }
        }
    }

    /// Pages are on their way: a check can't tell where they are.
    pub(super) fn moving(&mut self) {
        if let Some(check) = &mut self.open {
            check.void = true;
        }
    }

    /// The next run of present pages.
    pub(super) fn present(&mut self, address: u64, length: u64, member: Member) {
        let Some(check) = &mut self.open else {
            return;
        };
        let backing = Backing::of(member);
        let end = check.runs.last().map_or(0, |(last, _)| last.end);
        match (page_range(address, length), backing) {
            (Some(range), Some(backing)) if range.start >= end && check.runs.len() < RUNS => {
                check.runs.push((range, backing));
            }
            _ => check.void = true,
        }
    }
}

impl Check {
    /// The runs without what was taken meanwhile, in order.
    fn believed(mut self) -> Vec<(Range<u64>, Backing)> {
        self.taken.sort_unstable_by_key(|range| range.start);
        let mut believed = Vec::with_capacity(self.runs.len());
        let mut first = 0;
        for (run, backing) in self.runs {
            while self.taken.get(first).is_some_and(|t| t.end <= run.start) {
                first += 1;
            }
            let mut start = run.start;
            let overlapping = self.taken[first..].iter();
            for taken in overlapping.take_while(|taken| taken.start < run.end) {
                if start < taken.start {
                    believed.push((start..taken.start, backing));
                }
                start = start.max(taken.end);
            }
            if start < run.end {
                believed.push((start..run.end, backing));
            }
        }
        believed
    }
}

impl Image {
    /// Somebody begins to look which pages are present. Calls that are under way may be
    /// taking some.
    pub(super) fn begin_check(&mut self, now: &Now) {
        self.checks.open = Some(Box::new(Check {
            since: now.moment,
            void: self.is_moving(),
            runs: Vec::new(),
            taken: self.being_taken(),
        }));
    }

    /// It has said all: see the module.
    pub(super) fn end_check(&mut self, now: &Now) {
        let Some(check) = self.checks.open.take().filter(|check| !check.void) else {
            return;
        };
        let since = check.since;
        let believed = check.believed();
        let (mut vacant, mut absent) = (Vec::new(), Vec::new());
        for (slots, runs) in self.regions(&believed) {
            let covered: Vec<_> = runs.iter().map(|(run, _)| run.clone()).collect();
            self.pages.outside(&slots, &covered, since, &mut absent);
            let vacancy = |(slots, backing)| Vacancy { slots, backing };
            vacant.extend(runs.into_iter().map(vacancy));
        }
        for backing in Backing::ALL {
            let mut owed = self.settle(now, backing, &vacant, &absent);
            // What came while the pages were read may lie where the reader had been before: the
            // next check finds it.
            owed.retain(|owed| since < owed.born && owed.born < now.moment);
            self.checks.owed.put_back(backing, owed);
        }
        self.checks.last = now.moment;
    }

    /// Slots of each mapping, and of what lies between mappings, with the runs in them.
    #[allow(clippy::type_complexity)]
    fn regions(
        &self,
        runs: &[(Range<u64>, Backing)],
    ) -> Vec<(Range<u64>, Vec<(Range<u64>, Backing)>)> {
        let (mut regions, mut gaps) = (Vec::new(), Vec::new());
        let mut runs = runs.iter().cloned().collect::<VecDeque<_>>();
        for piece in self.mappings.parts(&(0..ADDRESSES)) {
            let end = piece.end.next_multiple_of(PAGE);
            let mut inside = Vec::new();
            while let Some((run, backing)) = runs.pop_front() {
                if run.start >= end {
                    runs.push_front((run, backing));
                    break;
                }
                if run.start < piece.start {
                    let gap = run.start..run.end.min(piece.start);
                    gaps.push((gap.start / PAGE..gap.end / PAGE, backing));
                }
                let part = run.start.max(piece.start)..run.end.min(end);
                if part.start < part.end {
                    let slot = |at: u64| piece.slot + (at - piece.start) / PAGE;
                    inside.push((slot(part.start)..slot(part.end), backing));
                }
                if run.end > end {
                    runs.push_front((end..run.end, backing));
                    break;
                }
            }
            regions.push((piece.slots(), inside));
        }
        let rest = runs.into_iter();
        gaps.extend(rest.map(|(run, backing)| (run.start / PAGE..run.end / PAGE, backing)));
        regions.push((0..ADDRESSES / PAGE, gaps));
        regions
    }

    /// Takes away what is absent and fills what is vacant, of one backing. Returns what found no
    /// place.
    fn settle(
        &mut self,
        now: &Now,
        backing: Backing,
        vacant: &[Vacancy],
        absent: &[Page],
    ) -> VecDeque<Owed> {
        let vacant: Vec<_> = vacant.iter().filter(|v| v.backing == backing).collect();
        let absent: Vec<_> = absent.iter().filter(|p| p.backing == backing).collect();
        let wanted = vacant
            .iter()
            .map(|v| self.pages.vacant(&v.slots))
            .sum::<u64>();
        let counted = self.counts[backing.member() as usize] / PAGE;
        let surplus = self.pages.count(backing).saturating_sub(counted);
        let mut sources = self.checks.owed.take(backing);
        let owed = sources.iter().map(|owed| owed.pages).sum::<u64>();
        // What is gone is gone; of the others some lay elsewhere all the time.
        let misplaced = (absent.len() as u64)
            .saturating_sub(surplus)
            .min(wanted.saturating_sub(owed));
        let ended = self.checks.surplus[backing as usize].unwrap_or(now.moment);
        for (page, number) in absent.iter().zip(0..) {
            let moves = number < misplaced;
            let since = if moves { Moment(0) } else { ended };
            let slots = page.slot..page.slot + 1;
            self.pages.remove(&now.as_of(since), &slots);
            if moves {
                sources.push_back(Owed::new(**page, 1));
            }
        }
        let deficit = counted.saturating_sub(self.pages.count(backing));
        let events = now.moment.0.saturating_sub(self.checks.last.0);
        let most = UNKNOWN.saturating_add(events.saturating_mul(UNKNOWN_EACH));
        let known = owed.saturating_add(misplaced);
        sources.push_back(Owed {
            born: now.moment,
            toucher: StackIndex(0),
            backing,
            pages: deficit.saturating_sub(known).min(most),
        });
        for vacancy in vacant {
            self.occupy(vacancy.slots.clone(), &mut sources);
        }
        sources
    }

    /// Fills slots, from one source after the other.
    fn occupy(&mut self, mut slots: Range<u64>, sources: &mut VecDeque<Owed>) {
        while let Some(source) = sources.front_mut()
            && !slots.is_empty()
        {
            let page = Page {
                slot: 0,
                backing: source.backing,
                toucher: source.toucher,
                born: source.born,
            };
            let (filled, next) = self.pages.fill(slots.clone(), source.pages, page);
            source.pages -= filled;
            slots.start = next;
            if source.pages == 0 {
                sources.pop_front();
            }
        }
    }
}
