//! A process's memory, and a picture of it.

use super::super::{PAGE, by};
use crate::events::Member;
use crate::ledger::account::Reserver;
use crate::units::StackId;
use std::collections::BTreeMap;

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Direct,
    Arena,
    File,
}

/// A page of address space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapped {
    pub(super) stack: u64,
    pub(super) purpose: Use,
    /// Bytes of it that were asked for.
    pub(super) asked: u64,
    /// Pages of different mappings have different ones, though they adjoin.
    pub(super) mapping: u64,
}

/// Resident pages: how, and by whom.
pub(super) type Resident = BTreeMap<u64, (Member, u64)>;

/// How a page is resident, if it is.
pub(super) type Touched = Option<(Member, u64)>;

/// Pages on their way from `from` on.
#[derive(Clone, Debug)]
pub(super) struct Moving {
    pub(super) from: u64,
    pub(super) stack: u64,
    pub(super) dont_unmap: bool,
    pub(super) pages: Vec<(u64, Mapped, Touched)>,
}

/// A block of the heap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) size: u64,
    pub(super) stack: u64,
    /// Of two blocks the younger one has the greater number.
    pub(super) born: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) blocks: BTreeMap<u64, Block>,
    pub(super) resizing: BTreeMap<u32, (u64, Block)>,
    pub(super) mapped: BTreeMap<u64, Mapped>,
    pub(super) resident: Resident,
    pub(super) moving: BTreeMap<u32, Moving>,
    pub(super) taken: BTreeMap<u32, (BTreeMap<u64, Mapped>, Resident)>,
    pub(super) counts: BTreeMap<u16, u64>,
    pub(super) end: Option<u64>,
    pub(super) segments: BTreeMap<u64, u64>,
    /// What threads are filling: from where, to where.
    pub(super) filling: BTreeMap<u32, (u64, u64)>,
    /// What of an `mmap` that has not returned is resident.
    pub(super) populated: BTreeMap<u32, Vec<(Member, u64, u64)>>,
}

impl Image {
    pub(super) fn fork(&self) -> Self {
        let mut copy = self.clone();
        let mut resizing: Vec<_> = std::mem::take(&mut copy.resizing).into_values().collect();
        resizing.sort_by_key(|(_, block)| block.born);
        while let Some((address, block)) = resizing.pop() {
            copy.blocks.entry(address).or_insert(block);
        }
        for moving in std::mem::take(&mut copy.moving).into_values() {
            for (page, mapped, resident) in moving.pages {
                copy.mapped.insert(page, mapped);
                copy.resident.remove(&page);
                resident.map(|resident| copy.resident.insert(page, resident));
            }
        }
        copy.taken.clear();
        copy.filling.clear();
        copy.populated.clear();
        copy.resident
            .retain(|_, (member, _)| *member == Member::Anon);
        copy.counts
            .retain(|&member, _| member == Member::Anon as u16);
        copy
    }

    pub(super) fn reserved(&self) -> u64 {
        let blocks = self.blocks.values().map(|block| block.size);
        let resizing = self.resizing.values().map(|(_, block)| block.size);
        let moving = self
            .moving
            .values()
            .flat_map(|moving| moving.pages.iter().map(|page| &page.1));
        let direct = self
            .mapped
            .values()
            .chain(moving)
            .filter(|page| page.purpose == Use::Direct);
        blocks.chain(resizing).sum::<u64>() + direct.map(|page| page.asked).sum::<u64>()
    }

    pub(super) fn kernel(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Every byte of every resident page, by its block or its mapping.
    pub(super) fn paint(
        &self,
        reserved: &mut BTreeMap<u64, u64>,
        join: &mut BTreeMap<(Reserver, u64), u64>,
    ) {
        let resizing = self.resizing.values().map(|(at, block)| (at, block));
        let blocks = self.blocks.iter().chain(resizing);
        let mut blocks: Vec<_> = blocks
            .map(|(&at, block)| (at, block.size, block.stack))
            .collect();
        blocks
            .iter()
            .for_each(|block| *reserved.entry(block.2).or_default() += block.1);
        blocks.retain(|block| block.1 > 0);
        blocks.sort_unstable_by_key(|block| (block.0, block.0 + block.1));
        for i in 1..blocks.len() {
            blocks[i - 1].1 = blocks[i - 1].1.min(blocks[i].0 - blocks[i - 1].0);
        }
        let here = self
            .mapped
            .iter()
            .map(|(&page, mapped)| (page, mapped, self.resident.get(&page).copied()));
        let moving = self
            .moving
            .values()
            .flat_map(|moving| &moving.pages)
            .map(|page| (page.0, &page.1, page.2));
        let unmapped = self
            .resident
            .iter()
            .filter(|entry| !self.mapped.contains_key(entry.0));
        let mut pages: Vec<_> = unmapped
            .map(|(&page, &(member, toucher))| {
                let rest = if member == Member::Shmem {
                    Reserver::Unknown
                } else {
                    Reserver::Image
                };
                (page, rest, toucher)
            })
            .collect();
        for (page, mapped, resident) in here.chain(moving) {
            let rest = match mapped.purpose {
                Use::Direct | Use::File => by(mapped.stack),
                Use::Arena => Reserver::Slack(StackId(mapped.stack)),
            };
            if mapped.purpose == Use::Direct {
                *reserved.entry(mapped.stack).or_default() += mapped.asked;
            }
            pages.extend(resident.map(|(_, toucher)| (page, rest, toucher)));
        }
        for (page, rest, toucher) in pages {
            for byte in page * PAGE..(page + 1) * PAGE {
                // The last block that begins at or before the byte.
                let at = blocks.partition_point(|block| block.0 <= byte);
                let block = at
                    .checked_sub(1)
                    .map(|at| blocks[at])
                    .filter(|block| byte < block.0 + block.1);
                let owner = block.map_or(rest, |block| by(block.2));
                *join.entry((owner, toucher)).or_default() += 1;
            }
        }
    }
}
