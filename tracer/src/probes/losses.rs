//! Reads how much was lost on the kernel side, by cause and kind of event.

use super::bpf;
use crate::events::{LossCause, Lost, Named as _};
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
        for &cause in Loss::ALL {
            for &kind in Kind::ALL {
                let index = cause as u32 * KINDS + kind as u32;
                let count = self.counts.get(&index, 0)?.iter().sum();
                push(&mut lost, LossCause::Program(cause), kind, count);
            }
        }
        // The kernel runs one classic tracepoint program at a time on a CPU, and
        // skips it where another one, or a map operation, was interrupted.
        let skipped = bpf::misses(self.rss_stat.as_fd())?;
        push(&mut lost, LossCause::Skipped, Kind::Resident, skipped);
        Ok(lost)
    }
}

fn push(lost: &mut Vec<Lost>, cause: LossCause, kind: Kind, count: u64) {
    if count > 0 {
        lost.push(Lost {
            cause,
            probe: kind.name().to_owned(),
            count,
        });
    }
}
