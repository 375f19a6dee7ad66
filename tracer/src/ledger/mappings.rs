//! The address space: which mapping lies where, who made it and what for.
//!
//! `M` is a set of disjoint pieces. A piece ends where its maker asked it to end,
//! not at the end of that page, so that lengths sum to what was asked for; ranges
//! to remove are whole pages, as they are for the kernel.
//!
//! Resident pages are not filed under addresses but under *slots*: numbers that a
//! piece gets when it is made and takes along when it moves. So `mremap` of a
//! gigabyte costs the same as that of a page, and a new mapping never inherits the
//! pages of an old one at its address.

use super::history::{Ended, Moment, Now, Which};
use super::slot::{Slot, pages};
use super::stacks::StackIndex;
use crate::units::{Address, Bytes};
use std::collections::BTreeMap;
use std::ops::Range;

pub(super) use crate::arch::{ADDRESSES, PAGE};

/// Bytes that a mapping which grows downwards has at most. The kernel holds it to the limit that
/// is set for stacks, 8 MiB by default.
const GROWTH: Bytes = Bytes(1 << 30);

/// Bytes of a page.
pub(super) const A_PAGE: Bytes = Bytes(PAGE);

/// Behind the last address that a process may have.
pub(super) const END: Address = Address(ADDRESSES);

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Purpose {
    /// Memory that the program asked the kernel for: reserved.
    Direct,
    /// The same, for the stack of a thread.
    Stack,
    /// The allocator's, backing blocks.
    Arena,
    /// A private view of a file.
    File,
    /// The program's and its libraries' segments.
    Image,
}

impl Purpose {
    /// How many there are.
    pub(super) const COUNT: usize = 5;

    /// Whether it counts as reserved.
    pub(super) fn is_reserved(self) -> bool {
        matches!(self, Self::Direct | Self::Stack)
    }
}

/// A mapping, or what is left of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vma {
    /// First byte; at the beginning of a page.
    pub(super) start: Address,
    /// Behind the last byte asked for.
    pub(super) end: Address,
    /// Slot of its first page.
    pub(super) slot: Slot,
    /// Since when it is here.
    pub(super) born: Moment,
    /// By whom it was made.
    pub(super) stack: StackIndex,
    /// What for.
    pub(super) purpose: Purpose,
    /// What a forked child gets of it.
    pub(super) inherited: Inherited,
    /// Whether a touch below it makes it longer (`MAP_GROWSDOWN`).
    pub(super) grows_down: bool,
}

/// What a forked child gets of a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Inherited {
    /// A child gets a copy of it.
    #[default]
    Copy,
    /// The mapping without its pages (`MADV_WIPEONFORK`).
    Empty,
    /// Nothing (`MADV_DONTFORK`).
    Nothing,
}

impl Vma {
    /// Bytes asked for.
    pub(super) fn length(&self) -> Bytes {
        self.end - self.start
    }

    /// Its addresses, in whole pages.
    pub(super) fn whole(&self) -> Range<Address> {
        self.start..self.end.page_end(A_PAGE)
    }

    /// The slot of the page of one of its addresses.
    pub(super) fn slot_of(&self, address: Address) -> Slot {
        self.slot + (address - self.start).0 / PAGE
    }

    /// Slots of its pages.
    pub(super) fn slots(&self) -> Range<Slot> {
        self.slot..self.slot + pages(self.length())
    }

    /// The part of it in a range of whole pages.
    pub(super) fn part(&self, range: &Range<Address>) -> Option<Self> {
        let start = self.start.max(range.start);
        let end = self.end.min(range.end);
        (start < end).then(|| Self {
            start,
            end,
            slot: self.slot_of(start),
            ..*self
        })
    }
}

/// Whole pages that hold `length` bytes from `address` on; nothing where that is no
/// range of user addresses.
pub(super) fn page_range(address: Address, length: Bytes) -> Option<Range<Address>> {
    let end = address.0.checked_add(length.0).map(Address)?;
    let aligned = address.0.is_multiple_of(PAGE) && length > Bytes::ZERO;
    (aligned && end <= END).then(|| address..end.page_end(A_PAGE))
}

/// The pieces of one process image.
#[derive(Clone, Debug)]
pub(super) struct Mappings {
    pieces: BTreeMap<Address, Vma>,
    lengths: [u64; Purpose::COUNT],
    pages: [u64; Purpose::COUNT],
    /// Σ `pages`, which every event asks for.
    all_pages: u64,
    next_slot: Slot,
    ended: Ended<Vma>,
}

impl Default for Mappings {
    fn default() -> Self {
        let next_slot = Slot::FIRST;
        Self {
            pieces: BTreeMap::new(),
            lengths: [0; Purpose::COUNT],
            pages: [0; Purpose::COUNT],
            all_pages: 0,
            next_slot,
            ended: Ended::default(),
        }
    }
}

impl Mappings {
    /// Σ length over the pieces of one purpose.
    pub(super) fn length(&self, purpose: Purpose) -> u64 {
        self.lengths[purpose as usize]
    }

    /// Σ whole pages over all pieces, in bytes.
    pub(super) fn virtual_bytes(&self) -> u64 {
        self.all_pages * PAGE
    }

    /// The same by purpose.
    pub(super) fn pages_by_purpose(&self) -> [u64; Purpose::COUNT] {
        self.pages.map(|pages| pages * PAGE)
    }

    /// Slots that no piece has had. When 2^64 are used up they begin anew: after half a
    /// billion mappings of 128 TiB each.
    pub(super) fn fresh_slot(&mut self, length: Bytes) -> Slot {
        let pages = pages(length);
        let end = self.next_slot.0.checked_add(pages).map(Slot);
        let (slot, next) = end.map_or((Slot::FIRST, Slot::FIRST + pages), |end| {
            (self.next_slot, end)
        });
        self.next_slot = next;
        slot
    }

    /// `M' = M ∪ {piece}`. The range must be free.
    pub(super) fn insert(&mut self, piece: Vma) {
        self.count(&piece, u64::wrapping_add);
        self.pieces.insert(piece.start, piece);
    }

    /// `M' = {p without range | p ∈ M}`. Returns what was taken out, in order. It does not
    /// count as ended: say so by [`end`](Self::end), or put it back.
    pub(super) fn take(&mut self, range: &Range<Address>) -> Vec<Vma> {
        let mut taken = Vec::new();
        let before = self
            .pieces
            .range(..range.start)
            .next_back()
            .map(|(_, &piece)| piece);
        if let Some(piece) = before.filter(|piece| piece.end > range.start) {
            self.cut(piece, range, &mut taken);
        }
        while let Some((_, &piece)) = self.pieces.range(range.clone()).next() {
            self.cut(piece, range, &mut taken);
        }
        taken
    }

    /// Replaces one piece by what of it lies outside of the range.
    fn cut(&mut self, piece: Vma, range: &Range<Address>, taken: &mut Vec<Vma>) {
        self.pieces.remove(&piece.start);
        self.count(&piece, u64::wrapping_sub);
        for outside in [Address(0)..range.start, range.end..Address(u64::MAX)] {
            if let Some(rest) = piece.part(&outside) {
                self.insert(rest);
            }
        }
        taken.extend(piece.part(range));
    }

    fn count(&mut self, piece: &Vma, add: fn(u64, u64) -> u64) {
        let length = &mut self.lengths[piece.purpose as usize];
        *length = add(*length, piece.length().0);
        let sum = &mut self.pages[piece.purpose as usize];
        *sum = add(*sum, pages(piece.length()));
        self.all_pages = add(self.all_pages, pages(piece.length()));
    }

    /// A piece that was taken out will not come back.
    pub(super) fn end(&mut self, now: &Now, piece: &Vma) {
        self.ended.note(now, piece.born, piece);
    }

    /// The piece that holds the page of an address.
    pub(super) fn find(&self, address: Address) -> Option<&Vma> {
        let (_, piece) = self.pieces.range(..=address).next_back()?;
        (address < piece.end.page_end(A_PAGE)).then_some(piece)
    }

    /// The slot of the page of an address, and the slots of the piece that holds it, or of the
    /// gap between pieces.
    pub(super) fn slot(&self, address: Address) -> (Slot, Range<Slot>) {
        if let Some(piece) = self.find(address) {
            return (piece.slot_of(address), piece.slots());
        }
        let before = self.pieces.range(..=address).next_back();
        let after = self.pieces.range(address..).next();
        let start = before.map_or(Slot(0), |(_, piece)| Slot::of(piece.end.page_end(A_PAGE)));
        let end = after.map_or(Slot::FIRST, |(&start, _)| Slot::of(start));
        (Slot::of(address), start..end)
    }

    /// The parts of pieces that are in a range of whole pages.
    pub(super) fn parts(&self, range: &Range<Address>) -> impl Iterator<Item = Vma> {
        let before = self.pieces.range(..range.start).next_back();
        let within = self.pieces.range(range.clone());
        before
            .into_iter()
            .chain(within)
            .filter_map(|(_, piece)| piece.part(range))
    }

    /// A forked child's: the same pieces and slots.
    pub(super) fn fork(&self) -> Self {
        Self {
            ended: Ended::default(),
            ..self.clone()
        }
    }

    /// All pieces, in the order of addresses.
    pub(super) fn all(&self) -> impl Iterator<Item = &Vma> {
        self.pieces.values()
    }

    /// `M' = {p[inherited ↦ as told] within range, p without range | p ∈ M}`
    pub(super) fn set_inherited(&mut self, range: &Range<Address>, inherited: Inherited) {
        for piece in self.take(range) {
            self.insert(Vma { inherited, ..piece });
        }
    }

    /// The piece at an address grows downwards.
    pub(super) fn set_growing_down(&mut self, start: Address) {
        if let Some(piece) = self.pieces.get_mut(&start) {
            piece.grows_down = true;
        }
    }

    /// The piece that a touch of this address, which lies in none, makes longer.
    pub(super) fn growing_to(&self, address: Address) -> Option<Vma> {
        let (_, &piece) = self.pieces.range(address..).next()?;
        let within = piece.end - address <= GROWTH;
        (piece.grows_down && within).then_some(piece)
    }

    /// The pieces that existed at a peak, in no order, but for those that are being moved.
    pub(super) fn at(&self, which: Which, peak: Moment) -> impl Iterator<Item = Vma> {
        let living = self.pieces.values().filter(move |piece| piece.born <= peak);
        living.chain(self.ended.since(which, peak)).copied()
    }
}
