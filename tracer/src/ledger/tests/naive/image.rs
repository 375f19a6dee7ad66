//! A process's memory, and a picture of it.

use super::super::{PAGE, by};
use super::pages::ORDER;
use crate::events::RssCounter;
use crate::ledger::account::Reserver;
use crate::ledger::mappings::Inherited;
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
    pub(super) inherited: Inherited,
    pub(super) grows_down: bool,
}

/// Resident pages.
pub(super) type Resident = BTreeMap<u64, Page>;

/// How a page is resident, and by whom. No two of an image have the same number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) member: RssCounter,
    pub(super) stack: u64,
    pub(super) number: u64,
    /// The child has it of its parent.
    pub(super) inherited: bool,
}

/// How a page is resident, if it is.
pub(super) type Touched = Option<Page>;

/// A page was not resident any more at an event, which was seen only later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absence {
    pub(super) image: u64,
    pub(super) page: u64,
    pub(super) from: u64,
}

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
    /// Pages (the first, how many) and what a child will get of them, once the call succeeds.
    pub(super) advised: BTreeMap<u32, ((u64, u64), Option<Inherited>)>,
    pub(super) counts: BTreeMap<u16, u64>,
    pub(super) end: Option<u64>,
    pub(super) segments: BTreeMap<u64, u64>,
    /// What threads are filling: from where, to where.
    pub(super) filling: BTreeMap<u32, (u64, u64)>,
    /// What of a mapping whose call has not returned is resident: since when, the pages.
    pub(super) coming: BTreeMap<u32, (u64, Mapped, Vec<Touched>)>,
    /// No two images have the same.
    pub(super) id: u64,
    /// The event, and how many pages have become resident.
    pub(super) now: u64,
    pub(super) pages: u64,
    /// By member, for each page that the kernel does not count any more: since when.
    pub(super) gone: BTreeMap<u16, Vec<u64>>,
    /// What has become known of the past.
    pub(super) absences: Vec<Absence>,
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
        copy.advised.clear();
        copy.filling.clear();
        copy.coming.clear();
        copy.gone.clear();
        let copied = |page: &u64| copy.mapped.get(page).map(|mapped| mapped.inherited);
        copy.resident
            .retain(|page, _| copied(page).is_none_or(|copied| copied == Inherited::Copy));
        copy.mapped
            .retain(|_, mapped| mapped.inherited != Inherited::Nothing);
        for page in copy.resident.values_mut() {
            page.inherited = true;
        }
        // What of a private view of a file was not written is copied where something was.
        let written = copy.mapped.iter().filter(|(page, mapped)| {
            mapped.purpose == Use::File
                && copy
                    .resident
                    .get(page)
                    .is_some_and(|page| page.member == RssCounter::Anon)
        });
        let written: Vec<_> = written.map(|(_, mapped)| mapped.mapping).collect();
        let mapped = &copy.mapped;
        copy.resident.retain(|page, resident| {
            let mapping = mapped.get(page).map(|mapped| mapped.mapping);
            resident.member == RssCounter::Anon || mapping.is_some_and(|at| written.contains(&at))
        });
        let lost = self.resident_of(RssCounter::Anon) - copy.resident_of(RssCounter::Anon);
        for member in ORDER {
            let count = match member {
                RssCounter::Anon => self.counted(member).saturating_sub(lost * PAGE),
                _ => copy.resident_of(member) * PAGE,
            };
            copy.counts.insert(member as u16, count);
        }
        copy
    }

    pub(super) fn counted(&self, member: RssCounter) -> u64 {
        self.counts.get(&(member as u16)).copied().unwrap_or(0)
    }

    /// How many pages are resident, wherever they are.
    pub(super) fn resident_of(&self, member: RssCounter) -> u64 {
        let moving = self.moving.values().flat_map(|moving| &moving.pages);
        let moving = moving.filter_map(|(_, _, page)| page.as_ref());
        let coming = self.coming.values().flat_map(|(_, _, pages)| pages);
        let coming = coming.flatten();
        let all = self.resident.values().chain(moving).chain(coming);
        all.filter(|page| page.member == member).count() as u64
    }

    /// A page that became resident now.
    pub(super) fn fresh(&mut self, member: RssCounter, stack: u64) -> Page {
        self.pages += 1;
        Page {
            member,
            stack,
            number: self.pages,
            inherited: false,
        }
    }

    /// Pages that are here after all: as if they were new.
    pub(super) fn anew(&mut self, pages: Resident) {
        for (at, page) in pages {
            let page = self.fresh(page.member, page.stack);
            self.resident.entry(at).or_insert(page);
        }
    }

    /// A page was not resident.
    pub(super) fn forget(&mut self, number: u64) {
        self.resident.retain(|_, page| page.number != number);
        for (_, _, page) in self
            .moving
            .values_mut()
            .flat_map(|moving| &mut moving.pages)
        {
            *page = page.filter(|page| page.number != number);
        }
        for page in self.coming.values_mut().flat_map(|(_, _, pages)| pages) {
            *page = page.filter(|page| page.number != number);
        }
    }

    /// For each page too many it is known since when.
    pub(super) fn count_gone(&mut self) {
        for member in ORDER {
            let counted = (self.counted(member) / PAGE) as usize;
            let surplus = (self.resident_of(member) as usize).saturating_sub(counted);
            let now = self.now;
            let gone = self.gone.entry(member as u16).or_default();
            gone.resize(surplus, now);
        }
    }

    pub(super) fn reserved(&self) -> u64 {
        let blocks = self.blocks.values().map(|block| block.size);
        let resizing = self.resizing.values().map(|(_, block)| block.size);
        let moving = self
            .moving
            .values()
            .flat_map(|moving| moving.pages.iter().map(|page| &page.1));
        let coming = self.coming.values();
        let coming = coming.flat_map(|(_, mapped, pages)| pages.iter().map(move |_| mapped));
        let direct = self
            .mapped
            .values()
            .chain(moving)
            .chain(coming)
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
            .map(|(&at, page)| {
                let rest = if page.member == RssCounter::Shmem {
                    Reserver::Unknown
                } else {
                    Reserver::Image
                };
                (at, rest, page.stack)
            })
            .collect();
        let nowhere = 1 << 40;
        let coming = self
            .coming
            .values()
            .flat_map(|(_, mapped, pages)| pages.iter().map(move |&page| (nowhere, mapped, page)));
        for (page, mapped, resident) in here.chain(moving).chain(coming) {
            let rest = match mapped.purpose {
                Use::Direct | Use::File => by(mapped.stack),
                Use::Arena => Reserver::Slack(StackId(mapped.stack)),
            };
            if mapped.purpose == Use::Direct {
                *reserved.entry(mapped.stack).or_default() += mapped.asked;
            }
            pages.extend(resident.map(|resident| (page, rest, resident.stack)));
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
