//! What is less exact on this machine, by names that the summary, `stats.json`, recordings and
//! `tracer doctor` share.

use crate::events::Degraded;
use crate::units::Bytes;

/// Something that works less well than it does elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Degradation {
    /// Uprobes are perf events.
    PerfUprobes,
    /// There is no `PAGEMAP_SCAN`.
    PlainPagemap,
    /// The same, and the page frames are hidden.
    ZeroPages,
    /// Counters of resident memory come in batches.
    RssBatches,
    /// There is no `kmem:rss_stat`.
    NoRssStat,
    /// The kernel's account of a process is gone when its end is seen.
    NoPeaks,
    /// `/proc/PID/map_files` is closed.
    NoMapFiles,
    /// Memory is short: this much room for events.
    SmallerRing(Bytes),
}

impl Degradation {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerfUprobes => "perf_uprobes",
            Self::PlainPagemap => "plain_pagemap",
            Self::ZeroPages => "zero_pages",
            Self::RssBatches => "rss_batches",
            Self::NoRssStat => "no_rss_stat",
            Self::NoPeaks => "no_peaks",
            Self::NoMapFiles => "no_map_files",
            Self::SmallerRing(_) => "smaller_ring",
        }
    }

    /// What is less exact, and by how much.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::PerfUprobes => "probes are perf events: no figure is less exact, but taking \
                 them off lasts a second or two after the end (uprobe_multi with a filter by \
                 process: Linux 6.10)"
                .into(),
            Self::PlainPagemap => "pages are read one by one (PAGEMAP_SCAN: Linux 6.7): checks \
                 of large processes come more rarely, and none above 64 GiB of mappings"
                .into(),
            Self::ZeroPages => "page frames are hidden (CAP_SYS_ADMIN shows them): memory that \
                 was only read can count as resident"
                .into(),
            Self::RssBatches => {
                "before Linux 6.2 threads count their pages by themselves: they are \
                 told of at the thread's next fault or memory call, where threads fault at the \
                 same time up to 64 pages of each may be late for a moment, and how long faults \
                 took is not known"
                    .into()
            }
            Self::NoRssStat => "the tracepoint kmem:rss_stat can't be had: resident memory is \
                 not followed, and every figure of it but VmHWM is 0; reserved memory is exact"
                .into(),
            Self::NoPeaks => "VmHWM and VmPeak can't be read at the end of a process and are 0; \
                 the peaks that the tracer counts are not touched by it"
                .into(),
            Self::NoMapFiles => "/proc/PID/map_files is closed (CAP_CHECKPOINT_RESTORE opens \
                 it): files that were deleted or replaced while mapped have no names"
                .into(),
            Self::SmallerRing(bytes) => format!(
                "memory is short: the ring buffer has {bytes} instead of 128 MiB; what is lost, \
                 if anything, is told"
            ),
        }
    }

    /// As a recording keeps it.
    #[must_use]
    pub fn told(self) -> Degraded {
        Degraded {
            name: self.name().to_owned(),
            text: self.text(),
        }
    }
}
