//! What is missing from a recording, and why.

use tracer_ebpf::{Loss, Named};

/// Why something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LossCause {
    /// The BPF programs counted it.
    Program(Loss),
    /// The kernel skipped a program, because it ran on this CPU already.
    Skipped,
    /// The target ran without its probes for a while.
    Unprobed,
    /// The bytes of the ring buffer were no event.
    Malformed,
    /// A write into the recording failed.
    NotWritten,
    /// The recording ends in the middle of a batch.
    Torn,
}

impl LossCause {
    /// A ring buffer was full: that of the events, or perf's of mapped files.
    pub const RING_FULL: Self = Self::Program(Loss::RingFull);

    /// Those that user space finds.
    const OWN: [Self; 5] = [
        Self::Skipped,
        Self::Unprobed,
        Self::Malformed,
        Self::NotWritten,
        Self::Torn,
    ];

    /// All causes, those of the BPF programs first.
    pub fn all() -> impl Iterator<Item = Self> {
        let programs = Loss::ALL.iter().map(|&loss| Self::Program(loss));
        programs.chain(Self::OWN)
    }

    /// Its name in snake case, as recordings and reports have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Program(loss) => loss.name(),
            Self::Skipped => "skipped",
            Self::Unprobed => "unprobed",
            Self::Malformed => "malformed",
            Self::NotWritten => "not_written",
            Self::Torn => "torn",
        }
    }

    /// The one of that name, if there is.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|cause| cause.name() == name)
    }
}

/// How many events were lost, why, and of which kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Why.
    pub cause: LossCause,
    /// Kind of event or name of the probe (`alloc`, `free`, `resident`, …).
    pub probe: String,
    /// Number of events that were lost.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_found_by_its_name() {
        for cause in LossCause::all() {
            assert_eq!(LossCause::from_name(cause.name()), Some(cause));
        }
        assert_eq!(LossCause::from_name("bad luck"), None);
    }
}
