//! Kinds of probes, as stacks are counted by.

use crate::events::Body;

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
            Body::Resident { .. } | Body::Written { .. } => Self::Fault,
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
