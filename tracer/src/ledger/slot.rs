//! Numbers of pages that stay as they are wherever a mapping moves: see `mappings`.

use crate::arch::{ADDRESSES, PAGE};
use crate::units::{Address, Bytes};
use std::ops::{Add, AddAssign, Range, Sub};

/// The number of a page. Below [`Slot::FIRST`] it is that of its address, of a page in no VMA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(pub(super) u64);

impl Slot {
    /// The first that VMAs get.
    pub(super) const FIRST: Self = Self(ADDRESSES / PAGE);

    /// Of the page of an address, if it is in no VMA.
    pub(super) const fn of(address: Address) -> Self {
        Self(address.0 / PAGE)
    }

    /// Of the pages of a range of addresses, as far as they are in no VMA.
    pub(super) const fn all_of(range: &Range<Address>) -> Range<Self> {
        Self::of(range.start)..Self::of(range.end)
    }

    /// The address of a page that is in no VMA.
    pub(super) const fn address(self) -> Address {
        Address(self.0 * PAGE)
    }

    /// The slot so many pages on; the last there is where there are no more.
    pub(super) const fn saturating_add(self, pages: u64) -> Self {
        Self(self.0.saturating_add(pages))
    }
}

/// So many pages on.
impl Add<u64> for Slot {
    type Output = Self;
    fn add(self, pages: u64) -> Self {
        Self(self.0 + pages)
    }
}

impl AddAssign<u64> for Slot {
    fn add_assign(&mut self, pages: u64) {
        self.0 += pages;
    }
}

/// So many pages before.
impl Sub<u64> for Slot {
    type Output = Self;
    fn sub(self, pages: u64) -> Self {
        Self(self.0 - pages)
    }
}

/// Pages from one to the other.
impl Sub for Slot {
    type Output = u64;
    fn sub(self, other: Self) -> u64 {
        self.0 - other.0
    }
}

/// Pages that it takes to hold bytes.
pub(super) const fn pages(length: Bytes) -> u64 {
    length.0.div_ceil(PAGE)
}
