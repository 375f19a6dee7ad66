//! What is in use at a moment, in all.

use crate::units::Bytes;

/// Bytes of one image or of all of them. Sums wrap: what is added is later taken
/// away again, and only an absurd recording gets that far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Live blocks.
    pub(super) heap: u64,
    /// Direct mappings.
    pub(super) mappings: u64,
    /// The allocator's mappings.
    pub(super) arenas: u64,
    /// Private file mappings.
    pub(super) files: u64,
    /// The kernel's counters.
    pub(super) anon: u64,
    /// See `anon`.
    pub(super) file: u64,
    /// See `anon`.
    pub(super) shmem: u64,
    /// See `anon`; not part of resident memory.
    pub(super) hugetlb: u64,
}

impl Sums {
    /// `reserved = heap + mappings`
    pub(super) fn reserved(&self) -> u64 {
        self.heap.wrapping_add(self.mappings)
    }

    /// `resident = anon + file + shmem`
    pub(super) fn resident(&self) -> u64 {
        self.anon.wrapping_add(self.file).wrapping_add(self.shmem)
    }

    /// `self' = self − before + after`
    pub(super) fn replace(&mut self, before: &Self, after: &Self) {
        let step = |sum: &mut u64, before: u64, after: u64| {
            *sum = sum.wrapping_sub(before).wrapping_add(after)
        };
        step(&mut self.heap, before.heap, after.heap);
        step(&mut self.mappings, before.mappings, after.mappings);
        step(&mut self.arenas, before.arenas, after.arenas);
        step(&mut self.files, before.files, after.files);
        step(&mut self.anon, before.anon, after.anon);
        step(&mut self.file, before.file, after.file);
        step(&mut self.shmem, before.shmem, after.shmem);
        step(&mut self.hugetlb, before.hugetlb, after.hugetlb);
    }
}

/// The current state, for a line that is shown while the target runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events applied so far.
    pub events: u64,
    /// Reserved now.
    pub reserved: Bytes,
    /// Highest reserved total so far.
    pub reserved_peak: Bytes,
    /// Resident now, as the kernel counts.
    pub resident: Bytes,
    /// Highest resident total so far.
    pub resident_peak: Bytes,
    /// Blocks and direct mappings so far.
    pub allocs: u64,
    /// Processes alive.
    pub processes: usize,
}
