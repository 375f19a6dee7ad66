//! Reads how much was lost on the kernel side, by cause and kind of event.

use super::bpf;
use crate::events::Lost;
use aya::maps::{MapData, MapError, PerCpuArray};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tracer_ebpf::{KINDS, Kind, Loss};

/// The kernel side's counters of losses.
pub struct Losses {
    counts: PerCpuArray<MapData, u64>,
    rss_stat: OwnedFd,
}

/// Why losses can't be told.
#[derive(Debug, thiserror::Error)]
pub enum LossesError {
    /// The map.
    #[error("the table of losses can't be read: {0}")]
    Map(#[from] MapError),
    /// The program.
    #[error("the kernel does not say how often a program was skipped: {0}")]
    Program(#[from] io::Error),
}

impl Losses {
    pub(super) fn new(counts: PerCpuArray<MapData, u64>, rss_stat: OwnedFd) -> Self {
        Self { counts, rss_stat }
    }

    /// Everything lost so far; no entry where nothing was.
    ///
    /// # Errors
    /// [`LossesError`]: then nothing can be said about completeness.
    pub fn read(&self) -> Result<Vec<Lost>, LossesError> {
        let mut lost = Vec::new();
        for cause in Loss::ALL {
            for kind in Kind::ALL {
                let index = cause as u32 * KINDS + kind as u32;
                let count = self.counts.get(&index, 0)?.iter().sum();
                push(&mut lost, cause_name(cause), kind, count);
            }
        }
        // The kernel runs one classic tracepoint program at a time on a CPU, and
        // skips it where another one, or a map operation, was interrupted.
        let skipped = bpf::misses(self.rss_stat.as_fd())?;
        push(&mut lost, "skipped", Kind::Resident, skipped);
        Ok(lost)
    }
}

fn push(lost: &mut Vec<Lost>, cause: &str, kind: Kind, count: u64) {
    if count > 0 {
        lost.push(Lost {
            cause: cause.to_owned(),
            probe: kind_name(kind).to_owned(),
            count,
        });
    }
}

/// A cause in snake case.
#[must_use]
pub const fn cause_name(cause: Loss) -> &'static str {
    match cause {
        Loss::RingFull => "ring_full",
        Loss::ThreadsFull => "threads_full",
        Loss::NoReturn => "no_return",
        Loss::Compat => "compat",
        Loss::Unreadable => "unreadable",
        Loss::ProcessesFull => "processes_full",
        Loss::NoScratch => "no_scratch",
    }
}

/// A kind of event in snake case.
#[must_use]
pub const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Stack => "stack",
        Kind::Alloc => "alloc",
        Kind::Free => "free",
        Kind::ReallocEnter => "realloc_enter",
        Kind::ReallocExit => "realloc_exit",
        Kind::Map => "map",
        Kind::Unmap => "unmap",
        Kind::RemapEnter => "remap_enter",
        Kind::RemapExit => "remap_exit",
        Kind::Break => "break",
        Kind::Advise => "advise",
        Kind::ShmAttach => "shm_attach",
        Kind::ShmDetach => "shm_detach",
        Kind::Returned => "returned",
        Kind::Resident => "resident",
        Kind::Fork => "fork",
        Kind::Exec => "exec",
        Kind::Exit => "exit",
        Kind::Began => "began",
        Kind::CheckBegin => "check_begin",
        Kind::Present => "present",
        Kind::CheckEnd => "check_end",
        Kind::Usage => "usage",
        Kind::Written => "written",
    }
}
