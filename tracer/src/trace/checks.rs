//! When the pages of a process are read, to check what its events said.
//!
//! A check is due when a counter moved for which no event tells the pages (reclaim, khugepaged,
//! `mlockall`, a hole punched into a file), and when resident memory has grown by a quarter since
//! the last one, or since it was lowest. Checks take at most a fiftieth of a processor, and come at
//! most every 20 ms, or every 5 ms where pages went: those are still said to be there.

mod unplaced;

use self::unplaced::Calls;
use crate::events::{Body, Event, Named as _, RssCounter};
use crate::probes::pagemap;
use crate::units::{Nanos, Pid, StackId, Tid};
use nix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Between the end of one check of a process and the next, at least.
const PAUSE: Duration = Duration::from_millis(20);

/// The same, where pages went.
const SHORT_PAUSE: Duration = Duration::from_millis(5);

/// What the checks of a process take of a processor, at most: this part of the time since it was
/// first seen, and so much at once. Time spent waiting for a processor does not count: where the
/// machine is busy, checks are not to come late as well.
const SHARE: u32 = 50;
const AT_ONCE: Duration = Duration::from_millis(10);

/// Growth that is always worth a check.
const GROWTH: u64 = 4 << 20;

/// The processes, as far as their counters tell.
#[derive(Default)]
pub(super) struct Checks {
    processes: HashMap<Pid, Watched>,
    any_due: bool,
    finding: Option<Finding>,
}

/// What was read, until the events from before its end have all been taken.
struct Finding {
    pid: Pid,
    until: Nanos,
    runs: Vec<pagemap::Run>,
}

struct Watched {
    counts: [u64; RssCounter::ALL.len()],
    /// Resident bytes at the last check, or the fewest since.
    checked: u64,
    calls: Calls,
    due: bool,
    /// Whether pages went since the last check.
    went: bool,
    /// When it was first seen, and when its last check ended.
    began: Instant,
    last: Option<Instant>,
    /// What its checks have taken.
    spent: Duration,
}

impl Checks {
    /// Looks at an event that is about to be written.
    pub(super) fn note(&mut self, event: &Event) {
        match event.body {
            Body::Resident { .. } | Body::Advise { .. } => {
                let process = self.processes.entry(event.pid).or_insert_with(Watched::new);
                process.note(event);
                self.any_due |= process.due;
            }
            Body::Exec { .. } | Body::Exit { .. } => {
                self.processes.remove(&event.pid);
            }
            _ => {}
        }
    }

    /// A process whose pages are to be read now.
    pub(super) fn due(&mut self) -> Option<Pid> {
        if !self.any_due || self.finding.is_some() {
            return None;
        }
        let now = Instant::now();
        let mut due = self.processes.iter().filter(|(_, process)| process.due);
        self.any_due = due.clone().next().is_some();
        let found = due.find(|(_, process)| process.may_be_read(now));
        found.map(|(&pid, _)| pid)
    }

    /// Reads the pages of a process. What it gives is to be written before.
    pub(super) fn read(&mut self, pid: Pid) {
        let began = worked();
        // A process that has just ended has no pages to check.
        let runs = pagemap::present(pid).ok();
        let took = worked().saturating_sub(began);
        if let Some(process) = self.processes.get_mut(&pid) {
            process.due = false;
            process.went = false;
            process.checked = process.resident();
            process.last = Some(Instant::now());
            process.spent += took;
        }
        self.finding = runs.map(|runs| Finding {
            pid,
            until: Nanos::now(),
            runs,
        });
    }

    /// What a check found, as events: once an event from after it comes (`None`: there is no
    /// more to come).
    pub(super) fn found(&mut self, next: Option<Nanos>) -> Vec<Event> {
        let ripe = |finding: &mut Finding| next.is_none_or(|next| next > finding.until);
        let Some(finding) = self.finding.take_if(ripe) else {
            return Vec::new();
        };
        let present = finding.runs.iter().map(|run| Body::Present {
            address: run.address,
            length: run.length,
            member: run.member,
        });
        present
            .chain([Body::CheckEnd])
            .map(|body| own(finding.pid, finding.until, body))
            .collect()
    }
}

/// The event with which a check begins.
pub(super) fn begin(pid: Pid) -> Event {
    own(pid, Nanos::now(), Body::CheckBegin)
}

fn own(pid: Pid, time: Nanos, body: Body) -> Event {
    Event {
        time,
        pid,
        tid: Tid(pid.0),
        stack: StackId(0),
        in_allocator: false,
        body,
    }
}

impl Watched {
    fn new() -> Self {
        Self {
            counts: [0; RssCounter::ALL.len()],
            checked: 0,
            calls: Calls::default(),
            due: false,
            went: false,
            began: Instant::now(),
            last: None,
            spent: Duration::ZERO,
        }
    }

    fn resident(&self) -> u64 {
        let [file, anon, _, shmem, _] = self.counts;
        file.saturating_add(anon).saturating_add(shmem)
    }

    /// Looks at a change of a counter, or at a call that will cause one.
    fn note(&mut self, event: &Event) {
        if let Body::Resident { member, size, .. } = event.body {
            let before = std::mem::replace(&mut self.counts[member as usize], size.0);
            let resident = self.resident();
            self.checked = self.checked.min(resident);
            let allowed = self.checked.saturating_add(self.checked / 4 + GROWTH);
            let unplaced = self.calls.is_unplaced(event, before);
            self.went |= unplaced && size.0 < before;
            self.due |= resident > allowed || unplaced;
        } else {
            self.calls.note(event);
        }
    }
}

impl Watched {
    /// Whether a check may come again, and take more.
    fn may_be_read(&self, now: Instant) -> bool {
        let pause = if self.went { SHORT_PAUSE } else { PAUSE };
        let rested = |last: Instant| now.saturating_duration_since(last) >= pause;
        let allowed = AT_ONCE + now.saturating_duration_since(self.began) / SHARE;
        self.last.is_none_or(rested) && self.spent <= allowed
    }
}

/// Processor time of this thread.
fn worked() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
