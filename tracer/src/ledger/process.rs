//! One process: the image it runs, and what becomes of its images.

use super::account::ProcessAccount;
use super::image::Image;
use super::totals::Sums;
use crate::events::KernelCounts;
use crate::units::{Bytes, Pid};

/// Whose memory a process runs in.
#[derive(Debug)]
pub(super) enum Memory {
    /// Its own.
    Own(Box<Image>),
    /// That of the process with this index (vfork, until exec).
    Of(usize),
    /// None: it has ended.
    Ended,
}

/// A process, alive or ended.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) memory: Memory,
    pub(super) account: ProcessAccount,
    /// It ended before what is counted began.
    pub(super) has_gone: bool,
}

impl Process {
    pub(super) fn new(pid: Pid, parent: Pid, memory: Memory) -> Self {
        Self {
            memory,
            account: ProcessAccount {
                pid,
                parent,
                ..ProcessAccount::default()
            },
            has_gone: false,
        }
    }

    /// Raises the peaks of the process to what its image has now.
    pub(super) fn raise(&mut self, sums: &Sums, mapped: Bytes) {
        let account = &mut self.account;
        account.reserved_peak = account.reserved_peak.max(Bytes(sums.reserved()));
        account.resident_peak = account.resident_peak.max(Bytes(sums.resident()));
        account.mapped_peak = account.mapped_peak.max(mapped);
    }

    /// The kernel's account of an image that ended: of several, the largest counts.
    pub(super) fn kernel_said(&mut self, counts: KernelCounts) {
        if let Memory::Own(image) = &self.memory
            && counts.virtual_peak > self.account.kernel.virtual_peak
        {
            self.account.space = image.space(counts);
        }
        let kernel = &mut self.account.kernel;
        kernel.stack = kernel.stack.max(counts.stack);
        kernel.resident_peak = kernel.resident_peak.max(counts.resident_peak);
        kernel.virtual_peak = kernel.virtual_peak.max(counts.virtual_peak);
    }
}
