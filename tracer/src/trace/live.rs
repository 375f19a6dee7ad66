//! A ledger beside the recording: what a trace comes to while it runs.

use super::consumer::Consumer;
use crate::events::{Event, Lost};
use crate::ledger::Ledger;
use crate::units::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How far a trace is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Reserved now.
    pub reserved: Bytes,
    /// Resident now.
    pub resident: Bytes,
    /// Events until now.
    pub events: u64,
    /// What was lost until now, all causes together.
    pub lost: u64,
}

/// Keeps the ledger, and shows how far it is.
pub struct Live {
    ledger: Ledger,
    events: u64,
    lost: u64,
    /// How often losses are read, and when they were last: each time costs system calls.
    every: Duration,
    lost_at: Instant,
    shown: Arc<Mutex<Progress>>,
}

/// What another thread sees of it.
#[derive(Clone, Default)]
pub struct View(Arc<Mutex<Progress>>);

impl Live {
    /// An empty ledger, whose losses are as old as `every` at most.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self {
            ledger: Ledger::new(),
            events: 0,
            lost: 0,
            every,
            lost_at: Instant::now(),
            shown: Arc::default(),
        }
    }

    /// For another thread to look at.
    #[must_use]
    pub fn view(&self) -> View {
        View(self.shown.clone())
    }
}

impl Consumer for Live {
    fn event(&mut self, event: &Event) {
        self.events += 1;
        self.ledger.apply(event);
    }

    fn told(&mut self, lost: &dyn Fn() -> Option<Vec<Lost>>) {
        if self.lost_at.elapsed() >= self.every {
            self.lost_at = Instant::now();
            // Where it can't be read, the end of the run says so.
            if let Some(lost) = lost() {
                self.lost = lost.iter().map(|lost| lost.count).sum();
            }
        }
        let totals = self.ledger.totals();
        *held(&self.shown) = Progress {
            reserved: totals.reserved,
            resident: totals.resident,
            events: self.events,
            lost: self.lost,
        };
    }
}

impl View {
    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *held(&self.0)
    }
}

/// A number that was written half is none: each is written at once.
fn held(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
