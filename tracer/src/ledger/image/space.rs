//! The address space at its widest, by what it was for, to be held against VmPeak.
//!
//! ```text
//! seen   = what exec mapped + the growth of the first stack + Σ pieces, in whole pages
//! unseen = VmPeak − seen
//! ```
//!
//! Both the kernel's and the ledger's are maxima over the life of an image. Of several
//! images of a process the one with the highest VmPeak counts.

use super::Image;
use crate::events::KernelCounts;
use crate::ledger::account::Space;
use crate::ledger::mappings::Purpose;
use crate::units::Bytes;

/// The widest state so far of an image.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ledger) struct Widest {
    /// What exec had mapped, and of it the stack.
    began: (u64, u64),
    /// Pieces in whole pages: all, and by purpose.
    total: u64,
    pages: [u64; Purpose::COUNT],
    heap: u64,
}

impl Widest {
    /// The image is in place.
    pub(in crate::ledger) fn begin(&mut self, mapped: Bytes, stack: Bytes) {
        self.began = (mapped.0, stack.0.min(mapped.0));
    }

    /// This state, with a first stack of so many bytes.
    fn space(&self, program: u64, first_stack: u64, virtual_peak: u64) -> Space {
        let of = |purpose: Purpose| self.pages[purpose as usize];
        let seen = self
            .pages
            .iter()
            .fold(program, |sum, pages| sum.saturating_add(*pages))
            .saturating_add(first_stack);
        Space {
            kernel: Bytes(virtual_peak),
            heap: Bytes(self.heap),
            allocator: small(i128::from(of(Purpose::Arena)) - i128::from(self.heap)),
            direct: Bytes(of(Purpose::Direct)),
            stacks: Bytes(of(Purpose::Stack).saturating_add(first_stack)),
            files: Bytes(of(Purpose::File)),
            libraries: Bytes(of(Purpose::Image)),
            program: Bytes(program),
            unseen: small(i128::from(virtual_peak) - i128::from(seen)),
        }
    }

    /// A forked child's: it begins with its parent's program.
    pub(in crate::ledger) fn fork(&self) -> Self {
        Self {
            began: self.began,
            ..Self::default()
        }
    }
}

impl Image {
    /// `widest' = max(widest, pieces)`
    pub(in crate::ledger) fn widen(&mut self) {
        let total = self.mappings.virtual_bytes();
        if total > self.widest.total {
            self.widest.total = total;
            self.widest.pages = self.mappings.pages_by_purpose();
            self.widest.heap = self.heap.bytes();
        }
    }

    /// The widest state beside what the kernel said at the end. No event says when the first
    /// stack grew: before, after or without the widest moment. Of the three the one that is
    /// nearest to VmPeak is taken.
    pub(in crate::ledger) fn space(&self, counts: KernelCounts) -> Space {
        let (mapped, stack) = self.widest.began;
        let program = mapped - stack;
        let end = Widest {
            pages: self.mappings.pages_by_purpose(),
            heap: self.heap.bytes(),
            ..self.widest
        };
        let grown = stack.max(counts.stack);
        let candidates = [(&self.widest, grown), (&self.widest, stack), (&end, grown)];
        let spaces = candidates.map(|(at, stack)| at.space(program, stack, counts.virtual_peak));
        let nearest = spaces
            .iter()
            .min_by_key(|space| space.unseen.unsigned_abs());
        nearest.copied().unwrap_or_default()
    }
}

fn small(difference: i128) -> i64 {
    difference.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
