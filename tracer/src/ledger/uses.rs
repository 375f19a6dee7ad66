//! How often each stack was seen, and by which kind of probe.

use crate::events::{Body, Event};
use crate::units::StackId;
use rustc_hash::FxHashMap;

/// A kind of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Probe {
    /// The malloc family.
    Heap,
    /// System calls that make, move or release mappings.
    Mapping,
    /// Changes of resident memory: page faults, for the most part.
    Fault,
    /// Fork, exec and exit.
    Process,
}

impl Probe {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Heap, Self::Mapping, Self::Fault, Self::Process];

    /// The kind that an event comes from.
    #[must_use]
    pub const fn of(body: &Body) -> Self {
        match body {
            Body::Alloc { .. }
            | Body::Free { .. }
            | Body::ReallocEnter { .. }
            | Body::ReallocExit { .. } => Self::Heap,
            Body::Resident { .. } => Self::Fault,
            Body::Fork { .. } | Body::Exec { .. } | Body::Exit { .. } => Self::Process,
            _ => Self::Mapping,
        }
    }

    /// Its name, as `stats.json` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Mapping => "mapping",
            Self::Fault => "fault",
            Self::Process => "process",
        }
    }
}

/// Counts of events by stack and probe. An event that names no stack is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses {
    counts: FxHashMap<StackId, [u64; Probe::ALL.len()]>,
}

impl Uses {
    /// counts\[stack\]\[probe\] += 1
    pub(super) fn add(&mut self, event: &Event) {
        if event.stack != StackId(0) {
            self.counts.entry(event.stack).or_default()[Probe::of(&event.body) as usize] += 1;
        }
    }

    /// Every stack and probe that go together, in order.
    pub(super) fn into_sorted(self) -> Vec<(StackId, Probe, u64)> {
        let each = |(stack, counts): (StackId, [u64; 4])| {
            let probes = Probe::ALL.into_iter().zip(counts);
            probes.map(move |(probe, count)| (stack, probe, count))
        };
        let mut all: Vec<_> = self.counts.into_iter().flat_map(each).collect();
        all.retain(|&(.., count)| count > 0);
        all.sort_unstable();
        all
    }
}
