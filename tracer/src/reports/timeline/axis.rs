//! The axis of time, on which idle hours are short.

use crate::ledger::account::Account;
use crate::units::Nanos;

/// The part of all time that a pause has to be longer than to be one.
const PAUSE: f64 = 0.1;

/// The part of the axis that pauses take together, at most a third.
const PAUSES: f64 = 0.06;

/// Pauses are shortened where they take more of the time than this.
const WORTH_IT: f64 = 0.75;

/// Pieces of time, each with its piece of the axis (from 0 to 1), in order.
#[derive(Debug)]
pub(super) struct Axis(Vec<Stretch>);

#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: u64,
    to: u64,
    left: f64,
    right: f64,
    idle: bool,
}

impl Axis {
    /// From the first event to the last. Where nothing changed for most of the time, what
    /// did change gets the room.
    pub(super) fn new(account: &Account) -> Self {
        let (began, ended) = (account.began.0, account.ended.0.max(account.began.0));
        let length = (ended - began).max(1) as f64;
        let mut pauses = Vec::new();
        let mut last = began;
        let times = account.timeline.iter().map(|point| point.at.0);
        for time in times.chain([ended]) {
            let time = time.clamp(last, ended);
            if (time - last) as f64 > length * PAUSE {
                pauses.push((last, time));
            }
            last = time;
        }
        let idle: u64 = pauses.iter().map(|(from, to)| to - from).sum();
        if (idle as f64) < length * WORTH_IT || idle >= ended - began {
            pauses.clear();
        }
        Self::cut(began, ended, &pauses)
    }

    fn cut(began: u64, ended: u64, pauses: &[(u64, u64)]) -> Self {
        let idle: u64 = pauses.iter().map(|(from, to)| to - from).sum();
        let busy = (ended - began - idle).max(1) as f64;
        let pause = PAUSES.min(1.0 / 3.0 / pauses.len().max(1) as f64);
        let room = 1.0 - pause * pauses.len() as f64;
        let mut pieces = Vec::new();
        let (mut at, mut left) = (began, 0.0);
        let mut add = |to: u64, width: f64, idle: bool| {
            if to > at || idle {
                pieces.push(Stretch {
                    from: at,
                    to,
                    left,
                    right: left + width,
                    idle,
                });
                (at, left) = (to, left + width);
            }
            at
        };
        let mut from = began;
        for &(begin, end) in pauses {
            add(begin, (begin - from) as f64 / busy * room, false);
            from = add(end, pause, true);
        }
        add(ended, (ended - from) as f64 / busy * room, false);
        Self(pieces)
    }

    /// When it begins.
    pub(super) fn began(&self) -> Nanos {
        Nanos(self.0.first().map_or(0, |piece| piece.from))
    }

    /// Where a time is, from 0 to 1.
    pub(super) fn part(&self, at: Nanos) -> f64 {
        let after = self.0.partition_point(|piece| piece.to < at.0);
        let Some(piece) = self.0.get(after).or(self.0.last()) else {
            return 0.0;
        };
        let inside = at.0.clamp(piece.from, piece.to) - piece.from;
        let part = inside as f64 / (piece.to - piece.from).max(1) as f64;
        piece.left + part * (piece.right - piece.left)
    }

    /// The time that is there.
    pub(super) fn at(&self, part: f64) -> Nanos {
        let after = self.0.partition_point(|piece| piece.right < part);
        let Some(piece) = self.0.get(after).or(self.0.last()) else {
            return Nanos(0);
        };
        let width = (piece.right - piece.left).max(f64::MIN_POSITIVE);
        let inside = ((part - piece.left) / width).clamp(0.0, 1.0);
        Nanos(piece.from + (inside * (piece.to - piece.from) as f64) as u64)
    }

    /// The pauses that are shorter here than they were.
    pub(super) fn idle(&self) -> impl Iterator<Item = (Nanos, Nanos)> {
        let idle = self.0.iter().filter(|piece| piece.idle);
        idle.map(|piece| (Nanos(piece.from), Nanos(piece.to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::account::Point;

    fn axis(times: &[u64]) -> Axis {
        let point = |&at| Point {
            at: Nanos(at),
            ..Point::default()
        };
        Axis::new(&Account {
            began: Nanos(times[0]),
            ended: Nanos(times[times.len() - 1]),
            timeline: times.iter().map(point).collect(),
            ..Account::default()
        })
    }

    #[test]
    fn a_busy_run_is_drawn_as_long_as_it_was() {
        let times: Vec<u64> = (0..=100).collect();
        let axis = axis(&times);
        assert_eq!(axis.idle().count(), 0);
        for at in [0, 25, 50, 100] {
            assert!((axis.part(Nanos(at)) - at as f64 / 100.0).abs() < 1e-9);
            assert_eq!(axis.at(at as f64 / 100.0), Nanos(at));
        }
    }

    #[test]
    fn an_idle_hour_leaves_the_room_to_eight_busy_seconds() {
        let times: Vec<u64> = (0..8_000).chain([3_608_000]).collect();
        let axis = axis(&times);
        let idle: Vec<_> = axis.idle().collect();
        assert_eq!(idle, [(Nanos(7_999), Nanos(3_608_000))]);
        let busy = axis.part(Nanos(7_999));
        assert!((0.9..0.95).contains(&busy), "{busy}");
        assert!((axis.part(Nanos(3_608_000)) - 1.0).abs() < 1e-9);
        assert!(axis.part(Nanos(u64::MAX)) <= 1.0);
        for part in [0.1, 0.5, 0.93, 0.97] {
            assert!((axis.part(axis.at(part)) - part).abs() < 1e-3, "{part}");
        }
    }

    #[test]
    fn nothing_at_all_has_an_axis() {
        let axis = axis(&[5]);
        assert_eq!(axis.part(Nanos(5)), 0.0);
        assert_eq!(axis.at(1.0), Nanos(0));
    }
}
