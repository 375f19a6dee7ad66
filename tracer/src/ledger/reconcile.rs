//! Every resident byte at a peak gets a reserver and a toucher, and what is left
//! over is said.
//!
//! For one image, pages, pieces and blocks are walked once, side by side, in the
//! order of addresses. A page is divided by bytes:
//!
//! ```text
//! each block on it      its bytes on the page
//! the rest of the page  slack of the arena, or the mapping's own, or a category
//! ```
//!
//! `unexplained = the kernel's count − Σ pages`.

use super::account::{Reserver, Snapshot};
use super::hash::Map;
use super::history::{Moment, Which};
use super::image::Image;
use super::mappings::{A_PAGE, PAGE, Purpose, Vma};
use super::residency::{Backing, Page};
use super::slot::Slot;
use super::stacks::{StackIndex, Stacks};
use crate::units::{Address, Bytes, StackId};
use std::collections::BTreeMap;
use std::ops::Range;

/// Where the kernel puts the first thread's stack (and the vDSO): the randomised top of the
/// address space, above everything that `mmap` places (`mmap_base`, `STACK_RND_MASK`).
const TOP: Range<Address> = Address(0x7ffb_f000_0000)..Address(1 << 47);

/// Who answers for memory, in small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Stack(StackIndex),
    Slack(StackIndex),
    Image,
    ThreadStack,
    Unknown,
}

/// A block on the line of addresses.
#[derive(Clone, Copy)]
struct Extent {
    start: Address,
    end: Address,
    stack: StackIndex,
}

/// A page on the line of addresses.
#[derive(Clone, Copy)]
struct Placed {
    start: Address,
    toucher: StackIndex,
    rest: Owner,
}

/// Sums by stack over any number of images.
#[derive(Default)]
pub(super) struct Balance {
    reserved: Map<u32, u64>,
    resident: Map<u64, (Owner, StackIndex, u64)>,
    attributed: u64,
}

impl Balance {
    /// Adds what an image had at a peak.
    pub(super) fn add(&mut self, image: &Image, which: Which, peak: Moment) {
        let pieces = image.pieces_at(which, peak);
        let blocks: Vec<_> = image.heap.at(which, peak).collect();
        let mut reserve = |stack: StackIndex, bytes: u64| {
            let sum = self.reserved.entry(stack.0).or_default();
            *sum = sum.wrapping_add(bytes);
        };
        blocks
            .iter()
            .for_each(|(_, block)| reserve(block.stack, block.size.0));
        let direct = pieces.iter().filter(|piece| piece.purpose.is_reserved());
        direct.for_each(|piece| reserve(piece.stack, piece.length().0));
        let extents = extents(blocks.iter().map(|&(start, block)| Extent {
            start,
            end: Address(start.0.saturating_add(block.size.0)),
            stack: block.stack,
        }));
        let pages = place(&pieces, &image.pages.at(which, peak));
        self.sweep(&pages, &extents);
    }

    /// Divides every page among the blocks on it and the rest.
    fn sweep(&mut self, pages: &[Placed], extents: &[Extent]) {
        let mut first = 0;
        for page in pages {
            let end = page.start + A_PAGE;
            while extents
                .get(first)
                .is_some_and(|extent| extent.end <= page.start)
            {
                first += 1;
            }
            let mut rest = PAGE;
            for extent in extents[first..]
                .iter()
                .take_while(|extent| extent.start < end)
            {
                let bytes = (extent.end.min(end) - extent.start.max(page.start)).0;
                rest -= bytes;
                self.attribute(Owner::Stack(extent.stack), page.toucher, bytes);
            }
            self.attribute(page.rest, page.toucher, rest);
        }
    }

    fn attribute(&mut self, owner: Owner, toucher: StackIndex, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.attributed += bytes;
        let (tag, stack) = match owner {
            Owner::Stack(stack) => (0, stack.0),
            Owner::Slack(stack) => (1, stack.0),
            Owner::Image => (2, 0),
            Owner::ThreadStack => (2, 1),
            Owner::Unknown => (2, 2),
        };
        // 31 bits for each stack: more distinct ones do not fit in memory.
        let key = tag << 62 | u64::from(stack) << 31 | u64::from(toucher.0);
        self.resident.entry(key).or_insert((owner, toucher, 0)).2 += bytes;
    }

    /// Puts the sums into a snapshot that has the totals already.
    pub(super) fn finish(self, stacks: &Stacks, snapshot: &mut Snapshot) {
        snapshot.unexplained = difference(snapshot.resident.0, self.attributed);
        let reserved = self.reserved.into_iter().filter(|&(_, bytes)| bytes > 0);
        snapshot.by_reserver = reserved
            .map(|(stack, bytes)| (stacks.id(StackIndex(stack)), Bytes(bytes)))
            .collect();
        let mut join: BTreeMap<(Reserver, StackId), u64> = BTreeMap::new();
        for (owner, toucher, bytes) in self.resident.into_values() {
            *join
                .entry((owner.reserver(stacks), stacks.id(toucher)))
                .or_default() += bytes;
        }
        if let Ok(unexplained @ 1..) = u64::try_from(snapshot.unexplained) {
            *join.entry((Reserver::Unknown, StackId(0))).or_default() += unexplained;
        }
        let mut by_reserver: BTreeMap<Reserver, u64> = BTreeMap::new();
        let mut by_toucher: BTreeMap<StackId, u64> = BTreeMap::new();
        for (&(reserver, toucher), &bytes) in &join {
            *by_reserver.entry(reserver).or_default() += bytes;
            *by_toucher.entry(toucher).or_default() += bytes;
            if matches!(reserver, Reserver::Slack(_)) {
                snapshot.slack += Bytes(bytes);
            }
        }
        snapshot.resident_by_reserver = by_reserver
            .into_iter()
            .map(|(key, bytes)| (key, Bytes(bytes)))
            .collect();
        snapshot.resident_by_toucher = by_toucher
            .into_iter()
            .map(|(key, bytes)| (key, Bytes(bytes)))
            .collect();
        snapshot.by_reserver_and_toucher = join
            .into_iter()
            .map(|((a, b), bytes)| (a, b, Bytes(bytes)))
            .collect();
        snapshot.sort();
    }
}

impl Owner {
    fn reserver(self, stacks: &Stacks) -> Reserver {
        match self {
            Self::Stack(stack) => Reserver::Stack(stacks.id(stack)),
            Self::Slack(stack) => Reserver::Slack(stacks.id(stack)),
            Self::Image => Reserver::Image,
            Self::ThreadStack => Reserver::ThreadStack,
            Self::Unknown => Reserver::Unknown,
        }
    }

    /// Of what no block covers in a piece.
    fn of(piece: &Vma) -> Self {
        match piece.purpose {
            Purpose::Direct | Purpose::Stack | Purpose::File => Self::Stack(piece.stack),
            Purpose::Arena => Self::Slack(piece.stack),
            Purpose::Image => Self::Image,
        }
    }

    /// Of a page in no piece: what exec mapped, before there was anything to be seen.
    fn unmapped(page: &Page) -> Self {
        match page.backing {
            Backing::Shmem => Self::Unknown,
            _ if TOP.contains(&page.slot.address()) => Self::ThreadStack,
            _ => Self::Image,
        }
    }
}

fn difference(a: u64, b: u64) -> i64 {
    i64::try_from(i128::from(a) - i128::from(b)).unwrap_or(if a > b { i64::MAX } else { i64::MIN })
}

/// Blocks in order and disjoint. Where they overlap, one's free was lost: the earlier one ends
/// where the next begins.
fn extents(blocks: impl Iterator<Item = Extent>) -> Vec<Extent> {
    let mut extents: Vec<_> = blocks.filter(|extent| extent.start < extent.end).collect();
    extents.sort_unstable_by_key(|extent| (extent.start, extent.end, extent.stack));
    for i in 1..extents.len() {
        extents[i - 1].end = extents[i - 1].end.min(extents[i].start);
    }
    extents
}

/// Pages in the order of addresses: those of each piece by its slots, the others by their own.
fn place(pieces: &[Vma], pages: &[Page]) -> Vec<Placed> {
    let slot = |wanted: Slot| pages.partition_point(|page| page.slot < wanted);
    let alone = &pages[..slot(Slot::FIRST)];
    let mut placed: Vec<_> = alone
        .iter()
        .map(|page| Placed {
            start: page.slot.address(),
            toucher: page.toucher,
            rest: Owner::unmapped(page),
        })
        .collect();
    for piece in pieces {
        let slots = piece.slots();
        placed.extend(
            pages[slot(slots.start)..slot(slots.end)]
                .iter()
                .map(|page| Placed {
                    start: piece.start + Bytes((page.slot - piece.slot) * PAGE),
                    toucher: page.toucher,
                    rest: Owner::of(piece),
                }),
        );
    }
    placed.sort_by_key(|page| page.start);
    placed
}
