//! A part of a run that is counted alone.

use super::Ledger;
use super::account::Oddities;
use super::calls::Calls;
use super::history::Moment;
use super::hugetlb::HugeTlb;
use super::image::Image;
use super::peak::Peak;
use super::process::{Memory, Process};
use super::stacks::Stacks;
use super::timeline::Timeline;
use crate::events::{Body, Event, KernelCounts};
use crate::units::{Bytes, Nanos};

/// Which events of a run count: those after a moment, up to and with another.
///
/// What was reserved and resident at the first moment is there, and part of the peaks. Numbers of
/// calls and what was never given back are of the blocks that were made within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Events after it count.
    pub after: Nanos,
    /// Events after it don't.
    pub until: Nanos,
}

impl Window {
    /// The whole run.
    pub const WHOLE: Self = Self {
        after: Nanos(0),
        until: Nanos(u64::MAX),
    };
}

/// How far a ledger is with its window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    window: Window,
    /// The moment after which events count, once it is there.
    since: Option<Moment>,
}

impl Progress {
    pub(super) fn new(window: Window) -> Self {
        let since = (window.after == Window::WHOLE.after).then_some(Moment(0));
        Self { window, since }
    }

    /// Whether all of the run counts.
    pub(super) fn is_whole(&self) -> bool {
        self.window == Window::WHOLE
    }

    /// The moment after which blocks are the window's own.
    pub(super) fn since(&self) -> Moment {
        self.since.unwrap_or_default()
    }
}

impl Ledger {
    /// Whether an event is to be applied at all; begins the count anew where it is the first within.
    pub(super) fn admits(&mut self, event: &Event) -> bool {
        if self.progress.is_whole() {
            return true;
        }
        let Window { after, until } = self.progress.window;
        if event.time > until {
            self.note_end(event);
            return false;
        }
        if self.progress.since.is_none() && event.time > after {
            self.begin_anew(after);
        }
        // Of the command as a whole.
        !matches!(event.body, Body::Usage { .. })
    }

    /// How a process ended is told, though it did so after the window.
    fn note_end(&mut self, event: &Event) {
        if let Body::Exit { status, .. } = event.body
            && let Some(&process) = self.by_pid.get(&event.pid)
        {
            self.processes[process].account.status = Some(status);
        }
    }

    /// Forgets all but what is there now.
    fn begin_anew(&mut self, at: Nanos) {
        self.progress.since = Some(self.moment);
        (self.began, self.ended) = (at, at);
        let (moment, sums) = (self.moment, self.sums);
        self.peaks = [Peak { moment, at, sums }; 2];
        self.timeline = Timeline::new();
        self.stacks.begin_anew();
        (self.allocs, self.alloc_bytes, self.frees) = (0, Bytes::ZERO, 0);
        self.calls = Calls::default();
        self.hugetlb = HugeTlb::default();
        self.hugetlb.raise(sums.hugetlb);
        self.oddities = Oddities::default();
        self.processes.iter_mut().for_each(Process::begin_anew);
    }

    /// What is there at the end of a window, made within, was not given back within.
    pub(super) fn end_window(&mut self) {
        let Window { after, until } = self.progress.window;
        if self.progress.since.is_none() {
            // Nothing came after its beginning.
            self.begin_anew(after);
        }
        if until == Window::WHOLE.until {
            return;
        }
        self.ended = self.ended.max(until);
        let since = self.progress.since();
        for process in &self.processes {
            if let Memory::Own(image) = &process.memory {
                leak(&mut self.stacks, image, since);
            }
        }
    }
}

/// Counts the blocks of an image that were made after `since` as never given back. A forked child
/// does not answer for what its parent had allocated.
pub(super) fn leak(stacks: &mut Stacks, image: &Image, since: Moment) {
    let own = image.born.max(since);
    for (_, block) in image.heap.blocks().filter(|(_, block)| block.born > own) {
        let totals = stacks.totals(block.stack);
        totals.leaked += block.size;
        totals.leaked_allocs += 1;
    }
}

impl Process {
    /// Forgets all but what its image has now.
    fn begin_anew(&mut self) {
        self.has_gone = matches!(self.memory, Memory::Ended);
        let account = &mut self.account;
        account.allocs = 0;
        account.kernel = KernelCounts::default();
        (account.reserved_peak, account.resident_peak) = (Bytes::ZERO, Bytes::ZERO);
        account.mapped_peak = Bytes::ZERO;
        if let Memory::Own(image) = &self.memory {
            let (sums, mapped) = (image.sums(), Bytes(image.mappings.virtual_bytes()));
            self.raise(&sums, mapped);
        }
    }
}
