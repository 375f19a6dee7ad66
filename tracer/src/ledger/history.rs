//! How the state at a past peak is kept without copying it.
//!
//! A true maximum can follow every event, so a snapshot can't be taken at each.
//! Instead every block, mapping and page carries the moment it was born, and
//! whoever ends one that existed at the last peak puts it on a log. Then, at any
//! later time,
//!
//! ```text
//! state at the peak = {living, born ≤ peak} ∪ log
//! ```
//!
//! A new peak makes the log void. Each thing is logged at most once a peak, so
//! the log never holds more than was alive at it, and the cost of an event stays
//! constant. One pass over the events is enough, also while they arrive.

/// Number of an event, from 1; 0 is before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) u64);

/// Which of the two peaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Of the reserved total.
    Reserved,
    /// Of the resident total.
    Resident,
}

/// The event that is being applied, and the peaks before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Now {
    /// This event.
    pub(super) moment: Moment,
    /// The last peaks, by [`Which`]; 0 where there was none.
    pub(super) peaks: [Moment; 2],
}

impl Now {
    /// The same, for what ended at an earlier moment: peaks from then on did not have it.
    pub(super) fn as_of(&self, ended: Moment) -> Self {
        let peaks = self.peaks;
        let peaks = peaks.map(|peak| if peak >= ended { Moment(0) } else { peak });
        Self { peaks, ..*self }
    }
}

/// What existed at a peak and has ended since, for both peaks.
#[derive(Clone, Debug)]
pub(super) struct Ended<T>([Log<T>; 2]);

#[derive(Clone, Debug)]
struct Log<T> {
    /// The peak that the items belong to; those of an older one are void.
    peak: Moment,
    items: Vec<T>,
}

impl<T> Default for Ended<T> {
    fn default() -> Self {
        let log = || Log {
            peak: Moment(0),
            items: Vec::new(),
        };
        Self([log(), log()])
    }
}

impl<T: Clone> Ended<T> {
    /// `item`, born at `born`, ends now.
    pub(super) fn note(&mut self, now: &Now, born: Moment, item: &T) {
        for (log, &peak) in self.0.iter_mut().zip(&now.peaks) {
            if born > peak {
                continue;
            }
            if log.peak != peak {
                log.items.clear();
                log.peak = peak;
            }
            log.items.push(item.clone());
        }
    }

    /// What has ended since that peak.
    pub(super) fn since(&self, which: Which, peak: Moment) -> &[T] {
        let log = &self.0[which as usize];
        if log.peak == peak { &log.items } else { &[] }
    }
}
