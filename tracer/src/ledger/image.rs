//! One process image: its blocks, its address space, its pages, the kernel's counts.
//!
//! This is where events become transitions. What a system call or a resize took
//! away is remembered until it is known whether it succeeded.

mod check;
pub(super) mod classify;
mod coming;
mod faults;
mod moving;
mod space;

use super::account::Oddities;
use super::callers::Callers;
use super::heap::{Block, Heap};
use super::history::{Moment, Now};
use super::mappings::{A_PAGE, END, Inherited, Mappings, PAGE, Purpose, Vma, page_range};
use super::residency::{Backing, Departed, Pages};
use super::slot::Slot;
use super::stacks::StackIndex;
use super::totals::Sums;
use crate::events::{Named as _, RssCounter};
use crate::units::{Address, Bytes, Tid};
use check::Checks;
use coming::Coming;
pub(super) use faults::Change;
use moving::Moving;
use space::Widest;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// System calls that may still turn out to have failed, at most: more can't be under way at
/// once than there are CPUs.
const UNDOABLE: usize = 256;

/// What happened to an image, beside its own change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// Bytes that the event's stack reserved, if it did: one call.
    pub(super) reserved: Option<Bytes>,
    /// Whether a block or a direct mapping ended.
    pub(super) freed: bool,
    /// Pages that became resident at the touch of the event's stack.
    pub(super) touched: u64,
}

/// Who does it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Actor {
    pub(super) thread: Tid,
    pub(super) stack: StackIndex,
    pub(super) in_allocator: bool,
}

/// What a system call took away.
#[derive(Clone, Debug)]
struct Taken {
    thread: Tid,
    range: Range<Address>,
    pieces: Vec<Vma>,
    pages: Vec<Departed>,
    /// Not taken: what a child will get of the range, if the call succeeds.
    inherited: Option<Inherited>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// When it began.
    pub(super) born: Moment,
    pub(super) heap: Heap,
    pub(super) mappings: Mappings,
    pub(super) pages: Pages,
    /// What the kernel counts, by `RssCounter`, in bytes.
    pub(super) counts: [u64; RssCounter::ALL.len()],
    pub(super) threads: faults::Threads,
    pub(super) widest: Widest,
    pub(super) checks: Checks,
    pub(super) callers: Callers,
    moving: Vec<(Tid, Moving)>,
    coming: Vec<Coming>,
    undoable: VecDeque<Taken>,
    program_break: Option<Address>,
    /// Segments of shared memory: beginning and end.
    segments: BTreeMap<Address, Address>,
}

impl Image {
    pub(super) fn new(born: Moment) -> Self {
        Self {
            born,
            heap: Heap::default(),
            mappings: Mappings::default(),
            pages: Pages::default(),
            counts: [0; RssCounter::ALL.len()],
            threads: faults::Threads::default(),
            widest: Widest::default(),
            checks: Checks::default(),
            callers: Callers::default(),
            moving: Vec::new(),
            coming: Vec::new(),
            undoable: VecDeque::new(),
            program_break: None,
            segments: BTreeMap::new(),
        }
    }

    /// The image of a forked child: a copy, but for what it was advised not to get. What the kernel
    /// can fault in again from files is not resident in it yet, except in private mappings of which
    /// pages were written (those it copies whole, see `vma_needs_copy` in mm/memory.c).
    ///
    /// ```text
    /// P' = {p ∈ P | p anonymous, or in a private view of a file with such pages} \ not inherited
    /// counts' = counts − P + P'
    /// ```
    pub(super) fn fork(&self, now: &Now) -> Self {
        let mut child = Self {
            heap: self.heap.fork(),
            mappings: self.mappings.fork(),
            pages: self.pages.fork(),
            program_break: self.program_break,
            segments: self.segments.clone(),
            widest: self.widest.fork(),
            ..Self::new(now.moment)
        };
        // The threads that were moving something do not exist in the child.
        let moving = self.moving.iter().flat_map(|(_, moving)| &moving.pieces);
        for piece in moving.clone() {
            child.replace(now, *piece, &mut Oddities::default());
        }
        // Nor those that were mapping something.
        for piece in self.coming.iter().map(|coming| &coming.piece) {
            child.pages.remove(now, &piece.slots());
        }
        for piece in self.mappings.all().chain(moving) {
            if piece.inherited == Inherited::Nothing {
                child.mappings.take(&(piece.start..piece.end));
            }
            if piece.inherited != Inherited::Copy {
                child.pages.remove(now, &piece.slots());
            }
        }
        let pieces: Vec<_> = child.mappings.all().copied().collect();
        for piece in pieces {
            let is_view = matches!(piece.purpose, Purpose::File | Purpose::Image);
            if is_view && piece.inherited == Inherited::Copy {
                self.copy_written(now, &piece, &mut child);
            }
        }
        let anon = self.counts[RssCounter::Anon as usize];
        let lost = self.pages.count(Backing::Anon);
        let lost = lost.saturating_sub(child.pages.count(Backing::Anon));
        child.counts[RssCounter::Anon as usize] = anon.saturating_sub(lost * PAGE);
        for backing in [Backing::File, Backing::Shmem] {
            child.counts[backing.member() as usize] = child.pages.count(backing) * PAGE;
        }
        child
    }

    /// A private view of a file, if pages of it were written.
    fn copy_written(&self, now: &Now, piece: &Vma, child: &mut Self) {
        let pages: Vec<_> = self.pages.within(&piece.slots()).collect();
        if pages.iter().any(|page| page.backing == Backing::Anon) {
            for page in pages {
                child.pages.touch(now, page);
            }
        }
    }

    /// What it has in all.
    pub(super) fn sums(&self) -> Sums {
        let moving = |purpose| {
            let pieces = self.moving.iter().flat_map(|(_, moving)| &moving.pieces);
            let coming = self.coming.iter().map(|coming| &coming.piece);
            pieces
                .chain(coming)
                .filter(|piece| piece.purpose == purpose)
                .fold(0, |sum: u64, piece| sum.wrapping_add(piece.length().0))
        };
        let mapped = |purpose| {
            let moving = if self.moving.is_empty() && self.coming.is_empty() {
                0
            } else {
                moving(purpose)
            };
            self.mappings.length(purpose).wrapping_add(moving)
        };
        let [file, anon, _, shmem, hugetlb] = self.counts;
        Sums {
            heap: self.heap.bytes(),
            mappings: mapped(Purpose::Direct).wrapping_add(mapped(Purpose::Stack)),
            arenas: mapped(Purpose::Arena),
            files: mapped(Purpose::File),
            anon,
            file,
            shmem,
            hugetlb,
        }
    }

    /// A block was handed out: see [`Heap::alloc`].
    pub(super) fn alloc(
        &mut self,
        now: &Now,
        who: Actor,
        address: Address,
        size: Bytes,
        odd: &mut Oddities,
    ) -> Effect {
        if page_range(address.page_start(A_PAGE), size.max(Bytes(1))).is_none() {
            odd.misplaced += 1;
            return Effect::default();
        }
        let block = Block {
            size,
            born: now.moment,
            stack: who.stack,
        };
        odd.overlapping_allocs += u64::from(self.heap.alloc(now, address, block).is_some());
        Effect {
            reserved: Some(size),
            ..Effect::default()
        }
    }

    /// A block was given back: see [`Heap::free`].
    pub(super) fn free(&mut self, now: &Now, address: Address, odd: &mut Oddities) -> Effect {
        let freed = self.heap.free(now, address).is_some();
        odd.unknown_frees += u64::from(!freed);
        Effect {
            freed,
            ..Effect::default()
        }
    }

    /// A resize ended. With a new block: `R' = R \ {thread}`, then as a new block. Without
    /// one: of size 0 it freed the old block; otherwise it failed and the old one lives on.
    pub(super) fn resized(
        &mut self,
        now: &Now,
        who: Actor,
        address: Address,
        size: Bytes,
        odd: &mut Oddities,
    ) -> Effect {
        if address == Address(0) && size != Bytes::ZERO {
            odd.overlapping_allocs += u64::from(self.heap.cancel_resize(now, who.thread).is_some());
            return Effect::default();
        }
        let freed = self.heap.end_resize(now, who.thread).is_some();
        let effect = match address.0 {
            0 => Effect::default(),
            _ => self.alloc(now, who, address, size, odd),
        };
        Effect { freed, ..effect }
    }

    /// `M' = M without range ∪ {piece}`, `P' = P without range`: what lay there is gone. What has
    /// come of the new mapping already is its own: `C' = C \ {thread}`.
    pub(super) fn map(
        &mut self,
        now: &Now,
        who: Actor,
        range: Range<Address>,
        length: Bytes,
        purpose: Purpose,
    ) -> Effect {
        let since = self.coming_since(who.thread);
        self.clear_since(now, &range, since.unwrap_or(now.moment));
        let slot = self.arrives(now, who.thread, length);
        let slot = slot.unwrap_or_else(|| self.mappings.fresh_slot(length));
        let (start, end) = (range.start, range.start + length);
        let piece = Vma {
            start,
            end,
            slot,
            born: now.moment,
            stack: who.stack,
            purpose,
            inherited: Inherited::default(),
            grows_down: false,
        };
        self.mappings.insert(piece);
        Effect {
            reserved: purpose.is_reserved().then_some(length),
            ..Effect::default()
        }
    }

    /// `M' = M without range`, `P' = P without range`, until it is known to have failed.
    pub(super) fn unmap(&mut self, now: &Now, who: Actor, range: &Range<Address>) -> Effect {
        let taken = self.clear(now, range);
        let freed = taken.0.iter().any(|piece| piece.purpose.is_reserved());
        self.remember(who.thread, range.clone(), taken);
        Effect {
            freed,
            ..Effect::default()
        }
    }

    /// A segment of shared memory was attached: as a direct mapping, if its length is known.
    pub(super) fn attach(
        &mut self,
        now: &Now,
        who: Actor,
        address: Address,
        length: Bytes,
    ) -> Effect {
        let Some(range) = page_range(address, length) else {
            return Effect::default();
        };
        self.segments.insert(range.start, range.end);
        self.map(now, who, range, length, Purpose::Direct)
    }

    /// One is being detached: as unmapped.
    pub(super) fn detach(&mut self, now: &Now, who: Actor, address: Address) -> Effect {
        match self.segments.remove(&address) {
            Some(end) => self.unmap(now, who, &(address..end)),
            None => {
                self.no_effect(who);
                Effect::default()
            }
        }
    }

    /// `P' = P without range`, `M' = M`, likewise (`MADV_DONTNEED`, `MADV_REMOVE`).
    pub(super) fn discard(&mut self, now: &Now, who: Actor, range: &Range<Address>) {
        self.threads.pages_leave();
        self.checks.taken(range);
        let mut pages = self.pages.remove(now, &Slot::all_of(range));
        for part in self.mappings.parts(range) {
            pages.extend(self.pages.remove(now, &part.slots()));
        }
        self.remember(who.thread, range.clone(), (Vec::new(), pages));
    }

    /// A call began whose effect is not followed; it may still fail.
    pub(super) fn no_effect(&mut self, who: Actor) {
        self.remember(who.thread, Address(0)..Address(0), (Vec::new(), Vec::new()));
    }

    /// A child will get something else of a range, once the call has succeeded.
    pub(super) fn inherit(&mut self, who: Actor, range: &Range<Address>, inherited: Inherited) {
        self.no_effect(who);
        if let Some(taken) = self.undoable.back_mut() {
            taken.range = range.clone();
            taken.inherited = Some(inherited);
        }
    }

    fn clear(&mut self, now: &Now, range: &Range<Address>) -> (Vec<Vma>, Vec<Departed>) {
        self.clear_since(now, range, now.moment)
    }

    /// `M' = M without range`, `P' = P without range`; the pages went at an earlier moment.
    fn clear_since(
        &mut self,
        now: &Now,
        range: &Range<Address>,
        since: Moment,
    ) -> (Vec<Vma>, Vec<Departed>) {
        let went = &now.as_of(since);
        self.threads.pages_leave();
        self.checks.taken(range);
        let pieces = self.mappings.take(range);
        let mut pages = self.pages.remove(went, &Slot::all_of(range));
        for piece in &pieces {
            self.mappings.end(now, piece);
            pages.extend(self.pages.remove(went, &piece.slots()));
        }
        (pieces, pages)
    }

    fn remember(
        &mut self,
        thread: Tid,
        range: Range<Address>,
        (pieces, pages): (Vec<Vma>, Vec<Departed>),
    ) {
        self.undoable.retain(|taken| taken.thread != thread);
        if self.undoable.len() == UNDOABLE {
            self.undoable.pop_front();
        }
        self.undoable.push_back(Taken {
            thread,
            range,
            pieces,
            pages,
            inherited: None,
        });
    }

    /// The thread's call has returned. If it failed, what it took away never left. Of
    /// `madvise`, ENOMEM says only that part of the range was not mapped; the rest was done.
    pub(super) fn returned(
        &mut self,
        now: &Now,
        who: Actor,
        syscall: u16,
        errno: i32,
        odd: &mut Oddities,
    ) {
        self.threads.end_call(who.thread);
        self.never_arrives(now, who.thread);
        if !classify::takes_away(syscall) {
            return;
        }
        let at = self
            .undoable
            .iter()
            .position(|taken| taken.thread == who.thread);
        let Some(taken) = at.and_then(|at| self.undoable.remove(at)) else {
            odd.misplaced += u64::from(errno != 0);
            return;
        };
        if errno == 0 || errno == libc::ENOMEM && taken.pieces.is_empty() {
            if let Some(inherited) = taken.inherited {
                self.mappings.set_inherited(&taken.range, inherited);
            }
            return;
        }
        for piece in &taken.pieces {
            let there = self.mappings.take(&piece.whole());
            odd.misplaced += there.len() as u64;
            there.iter().for_each(|piece| self.mappings.end(now, piece));
            self.mappings.insert(Vma {
                born: now.moment,
                ..*piece
            });
        }
        self.pages.restore(now, &taken.pages);
    }

    /// The break is at `to`. Above the old one: `M' = M ∪ {between}`; below: as unmapped.
    /// The first one seen says only where it begins.
    pub(super) fn set_break(
        &mut self,
        now: &Now,
        who: Actor,
        to: Address,
        odd: &mut Oddities,
    ) -> Effect {
        let to = to.0.checked_next_multiple_of(PAGE).map(Address);
        let Some(to) = to.filter(|&to| to <= END) else {
            odd.misplaced += 1;
            return Effect::default();
        };
        let from = self.program_break.replace(to).unwrap_or(to);
        match from.cmp(&to) {
            std::cmp::Ordering::Equal => Effect::default(),
            std::cmp::Ordering::Less => {
                let purpose = if who.in_allocator {
                    Purpose::Arena
                } else {
                    Purpose::Direct
                };
                self.map(now, who, from..to, to - from, purpose)
            }
            std::cmp::Ordering::Greater => {
                let (pieces, _) = self.clear(now, &(to..from));
                let freed = pieces.iter().any(|piece| piece.purpose.is_reserved());
                Effect {
                    freed,
                    ..Effect::default()
                }
            }
        }
    }

    /// Whether a mapping is on its way.
    pub(super) fn is_moving(&self) -> bool {
        !self.moving.is_empty()
    }

    /// What calls that have not returned are taking away.
    pub(super) fn being_taken(&self) -> Vec<Range<Address>> {
        let taking = self.undoable.iter();
        taking
            .filter(|taken| taken.inherited.is_none())
            .map(|taken| taken.range.clone())
            .collect()
    }

    /// The pieces that existed at a peak.
    pub(super) fn pieces_at(&self, which: super::history::Which, peak: Moment) -> Vec<Vma> {
        let moving = self.moving.iter().flat_map(|(_, moving)| &moving.pieces);
        let coming = self.coming.iter().map(|coming| &coming.piece);
        let others = moving.chain(coming);
        let others = others.filter(|piece| piece.born <= peak).copied();
        let mut pieces: Vec<_> = self.mappings.at(which, peak).chain(others).collect();
        pieces.sort_unstable_by_key(|piece| piece.start);
        pieces
    }
}
