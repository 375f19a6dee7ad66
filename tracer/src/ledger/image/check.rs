//! What `/proc/PID/pagemap` says, against what the events said.
//!
//! Events don't show which pages reclaim takes, khugepaged collapses, `mlockall` brings, or
//! what the kernel touched before the first event. A check does: it begins, the runs of
//! present pages follow, it ends. Then
//!
//! ```text
//! P' = (P \ absent) ∪ present
//! absent   in no run of its backing, and resident since before the check began
//! present  in a run, and not in P, where nothing was taken away since the check began
//! ```
//!
//! so that what happens while the pages are read contradicts nothing. The events had said
//! *how many* pages came or went, *when*, and by which stack; a page that a check finds takes
//! its birth and its toucher from the first growth that found no place (`owed`), a page that
//! is gone ended when the kernel counted a page less than the ledger had (`gone`): the ones that
//! came first went first, as reclaim has it. A page that was only put in the wrong place moves. A
//! check that comes after a peak so still corrects the peak.

mod gone;
mod owed;

use self::gone::Gone;
use self::owed::{Debts, Owed};
use super::Image;
use crate::events::RssCounter;
use crate::ledger::history::{Moment, Now};
use crate::ledger::mappings::{A_PAGE, END, PAGE, page_range};
use crate::ledger::residency::{Backing, Page};
use crate::ledger::slot::Slot;
use crate::ledger::stacks::StackIndex;
use crate::units::{Address, Bytes};
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
pub(in crate::ledger) struct Checks {
    open: Option<Box<Check>>,
    owed: Debts,
    gone: [Gone; Backing::ALL.len()],
    last: Moment,
}

/// A check under way.
#[derive(Clone, Debug)]
struct Check {
    since: Moment,
    void: bool,
    runs: Vec<(Range<Address>, Backing)>,
    taken: Vec<Range<Address>>,
}

/// What a check says of one backing.
#[derive(Default)]
struct Found {
    /// Slots of pages that are there.
    present: Vec<Range<Slot>>,
    /// Pages that are not.
    absent: Vec<Page>,
}

impl Checks {
    /// A counter grew, at the birth of a page, by pages for which no place is known.
    pub(in crate::ledger) fn owe(&mut self, page: Page, pages: u64) {
        self.owed.add(Owed::new(page, pages));
    }

    /// The ledger has so many pages of that backing more than the kernel counts.
    pub(in crate::ledger) fn note(&mut self, backing: Backing, surplus: u64, now: &Now) {
        self.gone[backing as usize].set(surplus, now.moment);
    }

    /// When a page of that backing went which has come back: the first that did.
    pub(in crate::ledger) fn came_back(&mut self, backing: Backing) -> Option<Moment> {
        let (at, _) = self.gone[backing as usize].take(1)?;
        Some(at)
    }

    /// Addresses from which something is being taken.
    pub(in crate::ledger) fn taken(&mut self, range: &Range<Address>) {
        if let Some(check) = &mut self.open {
            check.void |= check.taken.len() >= RUNS;
            if !check.void {
                check.taken.push(range.clone());
            }
        }
    }

    /// Pages are on their way: a check can't tell where they are.
    pub(in crate::ledger) fn moving(&mut self) {
        if let Some(check) = &mut self.open {
            check.void = true;
        }
    }

    /// The next run of present pages.
    pub(in crate::ledger) fn present(
        &mut self,
        address: Address,
        length: Bytes,
        member: RssCounter,
    ) {
        let Some(check) = &mut self.open else {
            return;
        };
        let backing = Backing::of(member);
        let end = check.runs.last().map_or(Address(0), |(last, _)| last.end);
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
    fn believed(mut self) -> Vec<(Range<Address>, Backing)> {
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
    pub(in crate::ledger) fn begin_check(&mut self, now: &Now) {
        self.checks.open = Some(Box::new(Check {
            since: now.moment,
            void: self.is_moving(),
            runs: Vec::new(),
            taken: self.being_taken(),
        }));
    }

    /// It has said all: see the module.
    pub(in crate::ledger) fn end_check(&mut self, now: &Now) {
        let Some(check) = self.checks.open.take().filter(|check| !check.void) else {
            return;
        };
        let since = check.since;
        let regions = self.regions(&check.believed(), since);
        let mut found = Backing::ALL.map(|_| Found::default());
        for (slots, runs, younger) in regions {
            for backing in Backing::ALL {
                let found = &mut found[backing as usize];
                let mine = runs.iter().filter(|(_, of)| *of == backing);
                let runs: Vec<_> = mine.map(|(run, _)| run.clone()).collect();
                if !younger {
                    self.pages
                        .outside(&slots, &runs, backing, since, &mut found.absent);
                }
                found.present.extend(runs);
            }
        }
        self.note_surplus(now);
        // What is absent goes first: at its place may be a page of another backing.
        let moved = Backing::ALL.map(|backing| {
            let found = &mut found[backing as usize];
            self.take_absent(now, backing, found)
        });
        for (backing, moved) in Backing::ALL.into_iter().zip(moved) {
            let mut owed = self.settle(now, backing, &found[backing as usize].present, moved);
            // What came while the pages were read may lie where the reader had been before: the
            // next check finds it.
            owed.retain(|owed| since < owed.born && owed.born < now.moment);
            self.checks.owed.put_back(backing, owed);
            self.checks.gone[backing as usize].settle(since);
        }
        self.note_surplus(now);
        self.checks.last = now.moment;
    }

    /// Of each backing: how many pages the ledger has that the kernel does not count.
    pub(in crate::ledger) fn note_surplus(&mut self, now: &Now) {
        for backing in Backing::ALL {
            let counted = self.counts[backing.member() as usize] / PAGE;
            let surplus = self.pages.count(backing).saturating_sub(counted);
            self.checks.note(backing, surplus, now);
        }
    }

    /// Slots of each mapping, and of what lies between mappings, with the runs in them; and whether
    /// the mapping is younger than the check, which then knows nothing of its pages: they came
    /// before it was known where.
    #[allow(clippy::type_complexity)]
    fn regions(
        &self,
        runs: &[(Range<Address>, Backing)],
        since: Moment,
    ) -> Vec<(Range<Slot>, Vec<(Range<Slot>, Backing)>, bool)> {
        let (mut regions, mut gaps) = (Vec::new(), Vec::new());
        let mut runs = runs.iter().cloned().collect::<VecDeque<_>>();
        for piece in self.mappings.parts(&(Address(0)..END)) {
            let end = piece.end.page_end(A_PAGE);
            let mut inside = Vec::new();
            while let Some((run, backing)) = runs.pop_front() {
                if run.start >= end {
                    runs.push_front((run, backing));
                    break;
                }
                if run.start < piece.start {
                    let gap = run.start..run.end.min(piece.start);
                    gaps.push((Slot::all_of(&gap), backing));
                }
                let part = run.start.max(piece.start)..run.end.min(end);
                if part.start < part.end {
                    let slots = piece.slot_of(part.start)..piece.slot_of(part.end);
                    inside.push((slots, backing));
                }
                if run.end > end {
                    runs.push_front((end..run.end, backing));
                    break;
                }
            }
            regions.push((piece.slots(), inside, piece.born > since));
        }
        let rest = runs.into_iter();
        gaps.extend(rest.map(|(run, backing)| (Slot::all_of(&run), backing)));
        regions.push((Slot(0)..Slot::FIRST, gaps, false));
        regions
    }

    /// Takes away what is absent, of one backing. Returns what lay elsewhere all the time: the
    /// others are gone.
    fn take_absent(&mut self, now: &Now, backing: Backing, found: &mut Found) -> Vec<Owed> {
        let vacant = self.vacant(&found.present);
        let counted = self.counts[backing.member() as usize] / PAGE;
        let surplus = self.pages.count(backing).saturating_sub(counted);
        let misplaced = (found.absent.len() as u64)
            .saturating_sub(surplus)
            .min(vacant.saturating_sub(self.checks.owed.pages(backing)));
        let absent = &mut found.absent;
        // The last to come are the likeliest to lie elsewhere.
        absent.sort_unstable_by_key(|page| (page.born, page.slot));
        let moved = absent.split_off(absent.len() - misplaced as usize);
        let mut left = &absent[..];
        while !left.is_empty() {
            let departure = self.checks.gone[backing as usize].take(left.len() as u64);
            let (ended, pages) = departure.unwrap_or((now.moment, left.len() as u64));
            let (these, others) = left.split_at(pages as usize);
            self.end_pages(&now.as_of(ended), these);
            left = others;
        }
        self.end_pages(&now.as_of(Moment(0)), &moved);
        moved.iter().map(|page| Owed::new(*page, 1)).collect()
    }

    /// `P' = P \ pages`, neighbours at once.
    fn end_pages(&mut self, now: &Now, pages: &[Page]) {
        for run in pages.chunk_by(|a, b| a.slot + 1 == b.slot) {
            if let [first, .., last] | [first @ last] = run {
                self.pages.remove(now, &(first.slot..last.slot + 1));
            }
        }
    }

    /// How many pages the runs have that are not known.
    fn vacant(&self, runs: &[Range<Slot>]) -> u64 {
        runs.iter().map(|run| self.pages.vacant(run)).sum()
    }

    /// Fills what is vacant, of one backing, with what is owed and what has moved. Returns what
    /// found no place.
    fn settle(
        &mut self,
        now: &Now,
        backing: Backing,
        present: &[Range<Slot>],
        moved: Vec<Owed>,
    ) -> VecDeque<Owed> {
        let counted = self.counts[backing.member() as usize] / PAGE;
        let mut sources = self.checks.owed.take(backing);
        sources.extend(moved);
        let known = sources.iter().map(|owed| owed.pages).sum::<u64>();
        let deficit = counted.saturating_sub(self.pages.count(backing));
        let events = now.moment.0.saturating_sub(self.checks.last.0);
        let most = UNKNOWN.saturating_add(events.saturating_mul(UNKNOWN_EACH));
        sources.push_back(Owed {
            born: now.moment,
            toucher: StackIndex::FOUND,
            backing,
            pages: deficit.saturating_sub(known).min(most),
        });
        for run in present {
            self.occupy(run.clone(), &mut sources);
        }
        sources
    }

    /// Fills slots, from one source after the other.
    fn occupy(&mut self, mut slots: Range<Slot>, sources: &mut VecDeque<Owed>) {
        while let Some(source) = sources.front_mut()
            && !slots.is_empty()
        {
            let page = Page {
                slot: Slot(0),
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
