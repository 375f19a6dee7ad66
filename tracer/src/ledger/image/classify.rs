//! What the numbers and flags of system calls say about a mapping.

use super::{Actor, Image};
use crate::ledger::mappings::{Inherited, Purpose};
use crate::units::{Address, Bytes};
use std::ops::Range;

/// Set by the dynamic linker of glibc on every segment it maps; the kernel ignores it
/// (`MAP_COPY` in glibc's `elf/dl-load.h`).
const MAP_DENYWRITE: u32 = 0x800;

/// `MADV_POPULATE_READ`, `MADV_POPULATE_WRITE`, `MADV_COLLAPSE` (mman-common.h).
const POPULATE: [u32; 3] = [22, 23, 25];

/// `MADV_DONTNEED_LOCKED`
const DONTNEED_LOCKED: u32 = 24;

/// How glibc reserves a heap for a thread's arena (`alloc_new_heap` in `malloc/arena.c`):
/// `HEAP_MAX_SIZE`, or twice that to cut an aligned one out of it.
const HEAP_FLAGS: u32 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as u32;
const HEAP_LENGTHS: [Bytes; 2] = [Bytes(64 << 20), Bytes(128 << 20)];

/// A thread whose first call of the family is `free` gets its arena there, and of `free` only
/// the entry is seen: no flag says that the mapping was the allocator's. Its form does, while the
/// thread is seen to have done nothing else since. A program's own reservation looks the same,
/// but comes from a thread that has its arena: only one that follows upon the first call of its
/// thread, and that call a `free`, is taken for the allocator's.
fn heap_of_arena(image: &Image, range: &Range<Address>, prot: u32, flags: u32, who: Actor) -> bool {
    let length = range.end - range.start;
    let same_form = prot == 0 && flags == HEAP_FLAGS && HEAP_LENGTHS.contains(&length);
    same_form && image.callers.is_in_first_free(who.thread)
}

/// What a new mapping is for; see the table in [`super`].
pub(in crate::ledger) fn purpose(
    image: &Image,
    range: &Range<Address>,
    prot: u32,
    flags: u32,
    fd: i32,
    who: Actor,
) -> Purpose {
    let has = |flag: libc::c_int| flags & flag as u32 != 0;
    let private = flags & libc::MAP_TYPE as u32 == libc::MAP_PRIVATE as u32;
    let of_file = fd >= 0 && !has(libc::MAP_ANONYMOUS);
    let over_image = || {
        let below = image.mappings.find(range.start);
        has(libc::MAP_FIXED) && below.is_some_and(|piece| piece.purpose == Purpose::Image)
    };
    let linked = of_file && (flags & MAP_DENYWRITE != 0 || prot & libc::PROT_EXEC as u32 != 0);
    if who.in_allocator || heap_of_arena(image, range, prot, flags, who) {
        Purpose::Arena
    } else if private && (linked || over_image()) {
        Purpose::Image
    } else if private && of_file {
        Purpose::File
    } else if private && has(libc::MAP_STACK) {
        Purpose::Stack
    } else {
        Purpose::Direct
    }
}

/// Whether a touch below a new mapping makes it longer.
pub(in crate::ledger) fn grows_down(flags: u32) -> bool {
    flags & libc::MAP_GROWSDOWN as u32 != 0
}

/// Whether a move leaves the old place mapped.
pub(in crate::ledger) fn dont_unmap(flags: u64) -> bool {
    flags & libc::MREMAP_DONTUNMAP as u64 != 0
}

/// What `madvise` does to pages at once, or to those of a child. `MADV_FREE`, `MADV_COLD` and `MADV_PAGEOUT`
/// leave it to the kernel whether and when pages go: its counters tell how many, and
/// nothing tells which.
pub(in crate::ledger) enum Advice {
    /// Pages go.
    Discards,
    /// Pages come.
    Populates,
    /// A child will get something else of the range.
    Inherits(Inherited),
    /// Nothing of these.
    Neither,
}

/// The effect of an advice.
pub(in crate::ledger) fn advice(advice: u32) -> Advice {
    match advice {
        DONTNEED_LOCKED => Advice::Discards,
        _ if POPULATE.contains(&advice) => Advice::Populates,
        _ => match i32::try_from(advice) {
            Ok(libc::MADV_DONTNEED | libc::MADV_REMOVE) => Advice::Discards,
            Ok(libc::MADV_DONTFORK) => Advice::Inherits(Inherited::Nothing),
            Ok(libc::MADV_WIPEONFORK) => Advice::Inherits(Inherited::Empty),
            Ok(libc::MADV_DOFORK | libc::MADV_KEEPONFORK) => Advice::Inherits(Inherited::Copy),
            _ => Advice::Neither,
        },
    }
}

/// System calls that are told of before they take anything away (`munmap`, `madvise`,
/// `shmdt`): their return says whether they did.
pub(in crate::ledger) fn takes_away(syscall: u16) -> bool {
    matches!(syscall, 11 | 28 | 67)
}
