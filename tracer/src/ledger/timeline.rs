//! Totals over time, thinned as it grows.

use super::account::Point;
use super::totals::Sums;
use crate::units::{Bytes, Nanos};

/// Points at most, without the two peaks.
const POINTS: usize = 4096;

/// Distance of points at first: a microsecond.
const STEP: u64 = 1000;

/// The state at the end of each step; the step doubles when there are too many.
#[derive(Debug)]
pub(super) struct Timeline {
    points: Vec<Point>,
    step: u64,
    /// End of the current step.
    due: u64,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self {
            points: Vec::new(),
            step: STEP,
            due: 0,
        }
    }

    /// An event at `time` is about to change `sums`.
    pub(super) fn before(&mut self, time: Nanos, last: Nanos, sums: &Sums) {
        if time.0 < self.due {
            return;
        }
        if self.points.len() == POINTS {
            self.thin();
        }
        self.due = (time.0 / self.step)
            .saturating_add(1)
            .saturating_mul(self.step);
        self.points.push(point(last, sums));
    }

    /// Every second point goes.
    fn thin(&mut self) {
        let mut keep = false;
        self.points.retain(|_| {
            keep = !keep;
            keep
        });
        self.step = self.step.saturating_mul(2);
    }

    /// All points in order, the given ones included.
    pub(super) fn finish(mut self, more: impl IntoIterator<Item = Point>) -> Vec<Point> {
        self.points.extend(more);
        self.points.sort_by_key(|point| point.at);
        self.points.dedup();
        self.points
    }
}

pub(super) fn point(at: Nanos, sums: &Sums) -> Point {
    Point {
        at,
        reserved: Bytes(sums.reserved()),
        anon: Bytes(sums.anon),
        file: Bytes(sums.file),
        shmem: Bytes(sums.shmem),
    }
}
