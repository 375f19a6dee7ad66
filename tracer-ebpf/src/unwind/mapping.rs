//! What is known of a mapping, and what the kernel is asked for it.

use tracer_ebpf::tables::{FileKey, Sighting};

/// A mapping.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Mapping {
    /// Its first byte.
    pub(super) start: u64,
    /// The byte after its last.
    pub(super) end: u64,
    /// Where its table's first page would be mapped.
    pub(super) base: u64,
    /// Its file's table, or 0.
    pub(super) table: u32,
    /// Pages in the table's index.
    pub(super) pages: u32,
    /// One of [`kind`].
    pub(super) kind: u32,
    /// Zero.
    _pad: u32,
}

/// What is known of a [`Mapping`].
pub(super) mod kind {
    /// Nothing, or that no code is there.
    pub(in crate::unwind) const NOTHING: u32 = 0;
    /// It has a table.
    pub(in crate::unwind) const TABLE: u32 = 1;
    /// It is code that has none.
    pub(in crate::unwind) const NO_TABLE: u32 = 2;
    /// It is code whose table is not loaded yet, or nobody can tell now.
    pub(in crate::unwind) const PENDING: u32 = 3;
}

/// What `bpf_find_vma` shows.
#[repr(C)]
pub(super) struct Seen {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) page: u64,
    pub(super) flags: u64,
    pub(super) key: FileKey,
    pub(super) file: u64,
    pub(super) vdso: u64,
    pub(super) block: u64,
}

/// Room for a question to the kernel, outside of the stack, which a walk has little of.
#[repr(C)]
pub(super) struct Question {
    pub(super) seen: Seen,
    pub(super) mapping: Mapping,
    pub(super) sighting: Sighting,
}

const NOWHERE: Mapping = Mapping {
    start: 0,
    end: 0,
    base: 0,
    table: 0,
    pages: 0,
    kind: kind::NOTHING,
    _pad: 0,
};

impl Mapping {
    /// Whether an address lies in it.
    #[inline(always)]
    pub(super) fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// The table and the offset in it of an address.
    #[inline(always)]
    pub(super) fn place(&self, address: u64) -> (u32, u64, u32) {
        (self.table, address.wrapping_sub(self.base), self.pages)
    }

    /// One of [`kind`].
    #[inline(always)]
    pub(super) fn kind(&self) -> u32 {
        self.kind
    }

    /// Makes the next address be looked up anew.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        *self = NOWHERE;
    }
}
