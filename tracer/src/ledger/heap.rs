//! Live blocks of the malloc family.
//!
//! `H` maps addresses to blocks, `R` threads to the block they are resizing.
//! `heap = Σ size over H ∪ R`.

use super::hash::Map;
use super::history::{Ended, Moment, Now, Which};
use super::stacks::StackIndex;
use crate::units::{Address, Bytes, Tid};
use std::cmp::Reverse;
use std::collections::hash_map::Entry;

/// A live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Requested size in bytes.
    pub(super) size: Bytes,
    /// When it was handed out.
    pub(super) born: Moment,
    /// By whom it was asked for.
    pub(super) stack: StackIndex,
}

/// The blocks of one process image.
#[derive(Clone, Debug, Default)]
pub(super) struct Heap {
    live: Map<Address, Block>,
    resizing: Map<Tid, (Address, Block)>,
    bytes: u64,
    ended: Ended<(Address, Block)>,
}

impl Heap {
    /// Σ size over `H ∪ R`.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// `H' = H[address ↦ block]`, `heap' = heap + size − size of H(address)`.
    /// Returns the block that was still there: its free was lost.
    pub(super) fn alloc(&mut self, now: &Now, address: Address, block: Block) -> Option<Block> {
        self.bytes = self.bytes.wrapping_add(block.size.0);
        let old = self.live.insert(address, block);
        if let Some(old) = old {
            self.end(now, address, old);
        }
        old
    }

    /// `H' = H \ {address}`, `heap' = heap − size of H(address)`. Returns the block.
    pub(super) fn free(&mut self, now: &Now, address: Address) -> Option<Block> {
        let block = self.live.remove(&address)?;
        self.end(now, address, block);
        Some(block)
    }

    /// `H' = H \ {address}`, `R' = R[thread ↦ (address, H(address))]`, `heap' = heap`: the
    /// address may be handed out again before the thread says how the resize went.
    /// Returns whether there was such a block.
    pub(super) fn begin_resize(&mut self, thread: Tid, address: Address) -> bool {
        let block = self.live.remove(&address);
        if let Some(block) = block {
            self.resizing.insert(thread, (address, block));
        }
        block.is_some()
    }

    /// `R' = R \ {thread}`, `heap' = heap − size of R(thread)`: the old block is gone.
    pub(super) fn end_resize(&mut self, now: &Now, thread: Tid) -> Option<Block> {
        let (address, block) = self.resizing.remove(&thread)?;
        self.end(now, address, block);
        Some(block)
    }

    /// `R' = R \ {thread}`, `H' = H[address ↦ block]`, `heap' = heap`: the resize failed and
    /// the old block lives on. Returns a block that was handed out there meanwhile.
    pub(super) fn cancel_resize(&mut self, now: &Now, thread: Tid) -> Option<Block> {
        let (address, block) = self.resizing.remove(&thread)?;
        let other = self.live.insert(address, block)?;
        self.end(now, address, other);
        Some(other)
    }

    fn end(&mut self, now: &Now, address: Address, block: Block) {
        self.bytes = self.bytes.wrapping_sub(block.size.0);
        self.ended.note(now, block.born, &(address, block));
    }

    /// The heap of a forked child: the same blocks. Threads that were resizing one do not
    /// exist in the child; there the block lives on, unless its address has been handed out
    /// again: then the resize had let go of it.
    pub(super) fn fork(&self) -> Self {
        let mut child = Self {
            live: self.live.clone(),
            bytes: self.bytes,
            ..Self::default()
        };
        let mut resizing: Vec<_> = self.resizing.values().collect();
        // Several threads can have begun at one address: it was handed out to them in turn.
        resizing.sort_unstable_by_key(|(_, block)| Reverse(block.born));
        for (address, block) in resizing {
            match child.live.entry(*address) {
                Entry::Vacant(free) => drop(free.insert(*block)),
                Entry::Occupied(_) => child.bytes = child.bytes.wrapping_sub(block.size.0),
            }
        }
        child
    }

    /// All blocks, in no order.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (Address, Block)> {
        let live = self.live.iter().map(|(&address, &block)| (address, block));
        live.chain(self.resizing.values().copied())
    }

    /// The blocks that existed at a peak, in no order.
    pub(super) fn at(&self, which: Which, peak: Moment) -> impl Iterator<Item = (Address, Block)> {
        let living = self.blocks().filter(move |(_, block)| block.born <= peak);
        living.chain(self.ended.since(which, peak).iter().copied())
    }
}
