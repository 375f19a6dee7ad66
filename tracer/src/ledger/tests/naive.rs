//! A ledger too simple to be wrong: a record for every page, one for every block, and at
//! every new maximum a copy of everything.

use super::{PAGE, by};
use crate::events::{Body, Cause, Event, Member};
use crate::ledger::account::Reserver;
use crate::units::StackId;
use std::collections::BTreeMap;

/// System calls by their numbers, and `MADV_POPULATE_WRITE`.
pub(super) const MMAP: u16 = 9;
pub(super) const MADVISE: u16 = 28;
pub(super) const POPULATE: u32 = 23;

/// In which a mapping is populated.
const ORDER: [Member; 3] = [Member::Anon, Member::File, Member::Shmem];

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Direct,
    Arena,
    File,
}

/// A page of address space.
#[derive(Clone, Copy, Debug)]
struct Mapped {
    stack: u64,
    purpose: Use,
    /// Bytes of it that were asked for.
    asked: u64,
    /// Pages of different mappings have different ones, though they adjoin.
    mapping: u64,
}

/// Resident pages: how, and by whom.
type Resident = BTreeMap<u64, (Member, u64)>;

/// How a page is resident, if it is.
type Touched = Option<(Member, u64)>;

/// Pages on their way from `from` on.
#[derive(Clone, Debug)]
struct Moving {
    from: u64,
    stack: u64,
    dont_unmap: bool,
    pages: Vec<(u64, Mapped, Touched)>,
}

#[derive(Clone, Debug, Default)]
struct Image {
    blocks: BTreeMap<u64, (u64, u64)>,
    resizing: BTreeMap<u32, (u64, u64, u64)>,
    mapped: BTreeMap<u64, Mapped>,
    resident: Resident,
    moving: BTreeMap<u32, Moving>,
    taken: BTreeMap<u32, (BTreeMap<u64, Mapped>, Resident)>,
    counts: BTreeMap<u16, u64>,
    end: Option<u64>,
    segments: BTreeMap<u64, u64>,
    /// What threads are filling: from where, to where.
    filling: BTreeMap<u32, (u64, u64)>,
    /// What of an `mmap` that has not returned is resident.
    populated: BTreeMap<u32, Vec<(Member, u64, u64)>>,
}

/// A snapshot: by reserver, and by reserver and toucher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) total: u64,
    pub(super) reserved: Vec<(u64, u64)>,
    pub(super) join: Vec<(Reserver, u64, u64)>,
}

/// All processes, and all as they were at the peaks.
#[derive(Default)]
pub(super) struct Naive {
    images: BTreeMap<u32, Image>,
    /// In whose memory vforked children run.
    owners: BTreeMap<u32, u32>,
    next_mapping: u64,
    reserved_peak: Peak,
    resident_peak: Peak,
}

/// A maximum and everything at it.
#[derive(Default)]
struct Peak {
    total: u64,
    images: BTreeMap<u32, Image>,
}

impl Peak {
    fn raise(&mut self, total: u64, images: &BTreeMap<u32, Image>) {
        if total > self.total {
            *self = Self {
                total,
                images: images.clone(),
            };
        }
    }

    fn picture(&self) -> Picture {
        let (mut reserved, mut join) = (BTreeMap::new(), BTreeMap::new());
        self.images
            .values()
            .for_each(|image| image.paint(&mut reserved, &mut join));
        Picture {
            total: self.total,
            reserved: reserved.into_iter().filter(|entry| entry.1 > 0).collect(),
            join: join
                .into_iter()
                .map(|((a, b), bytes)| (a, b, bytes))
                .collect(),
        }
    }
}

impl Naive {
    pub(super) fn apply(&mut self, event: &Event) {
        let (pid, tid, stack) = (event.pid.0, event.tid.0, event.stack.0);
        match event.body {
            Body::Fork {
                child,
                shares_memory,
            } => {
                let owner = self.owner(pid);
                let parent = self.images.entry(owner).or_default();
                if shares_memory {
                    self.owners.insert(child.0, owner);
                } else {
                    let copy = parent.fork();
                    self.images.insert(child.0, copy);
                }
            }
            Body::Exec { .. } => {
                self.owners.remove(&pid);
                self.images.insert(pid, Image::default());
            }
            Body::Exit { .. } => {
                self.owners.remove(&pid);
                self.images.remove(&pid);
            }
            ref body => {
                let owner = self.owner(pid);
                let next = &mut self.next_mapping;
                let image = self.images.entry(owner).or_default();
                image.apply(next, tid, stack, event.in_allocator, body);
            }
        }
        let reserved = self.images.values().map(Image::reserved).sum();
        let resident = self.images.values().map(Image::kernel).sum();
        self.reserved_peak.raise(reserved, &self.images);
        self.resident_peak.raise(resident, &self.images);
    }

    /// What the peak of the reserved and that of the resident total look like.
    pub(super) fn pictures(&self) -> [Picture; 2] {
        [self.reserved_peak.picture(), self.resident_peak.picture()]
    }

    fn owner(&self, pid: u32) -> u32 {
        self.owners.get(&pid).copied().unwrap_or(pid)
    }

    /// The kernel's count of a process, to be moved on.
    pub(super) fn count(&self, pid: u32, member: Member) -> u64 {
        self.images
            .get(&self.owner(pid))
            .and_then(|image| image.counts.get(&(member as u16)))
            .copied()
            .unwrap_or(0)
    }
}

impl Image {
    fn fork(&self) -> Self {
        let mut copy = self.clone();
        for (address, size, stack) in std::mem::take(&mut copy.resizing).into_values() {
            copy.blocks.insert(address, (size, stack));
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

    fn reserved(&self) -> u64 {
        let blocks = self.blocks.values().map(|block| block.0);
        let resizing = self.resizing.values().map(|block| block.1);
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

    fn kernel(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Every byte of every resident page, by its block or its mapping.
    fn paint(&self, reserved: &mut BTreeMap<u64, u64>, join: &mut BTreeMap<(Reserver, u64), u64>) {
        let resizing = self
            .resizing
            .values()
            .map(|&(at, size, stack)| (at, size, stack));
        let blocks = self
            .blocks
            .iter()
            .map(|(&at, &(size, stack))| (at, size, stack));
        let mut blocks: Vec<_> = blocks.chain(resizing).collect();
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

    fn apply(&mut self, next: &mut u64, tid: u32, stack: u64, in_allocator: bool, body: &Body) {
        match *body {
            Body::Alloc { address, size, .. } => {
                self.blocks.insert(address.0, (size.0, stack));
            }
            Body::Free { address } => {
                self.blocks.remove(&address.0);
            }
            Body::ReallocEnter { address, .. } => {
                self.resizing.remove(&tid);
                if let Some((size, stack)) = self.blocks.remove(&address.0) {
                    self.resizing.insert(tid, (address.0, size, stack));
                }
            }
            Body::ReallocExit { address, size, .. } => {
                let old = self.resizing.remove(&tid);
                if address.0 != 0 {
                    self.blocks.insert(address.0, (size.0, stack));
                } else if let Some((address, old, stack)) = old.filter(|_| size.0 != 0) {
                    self.blocks.insert(address, (old, stack));
                }
            }
            Body::Map {
                address,
                length,
                flags,
                fd,
                ..
            } => {
                let purpose = match (in_allocator, fd >= 0 && flags & 3 == super::PRIVATE) {
                    (true, _) => Use::Arena,
                    (_, true) => Use::File,
                    _ => Use::Direct,
                };
                self.map(next, tid, address.0, length.0, stack, purpose);
            }
            Body::ShmAttach {
                address, length, ..
            } if length.0 > 0 => {
                let end = address.0 + length.0.next_multiple_of(PAGE);
                self.segments.insert(address.0, end);
                self.map(next, tid, address.0, length.0, stack, Use::Direct);
            }
            Body::ShmDetach { address } => {
                let end = self.segments.remove(&address.0).unwrap_or(address.0);
                let taken = match end - address.0 {
                    0 => Default::default(),
                    length => self.take(next, address.0 / PAGE, length / PAGE),
                };
                self.taken.insert(tid, taken);
            }
            Body::Unmap { address, length } => {
                let taken = self.take(next, address.0 / PAGE, length.0.div_ceil(PAGE));
                self.taken.insert(tid, taken);
            }
            Body::Advise {
                address,
                length,
                advice: POPULATE,
            } => {
                let end = address.0 + length.0.next_multiple_of(PAGE);
                self.filling.insert(tid, (address.0, end));
                self.taken.insert(tid, Default::default());
            }
            Body::Advise {
                address, length, ..
            } => {
                let pages = address.0 / PAGE..address.0 / PAGE + length.0.div_ceil(PAGE);
                let gone = pages
                    .filter_map(|page| Some((page, self.resident.remove(&page)?)))
                    .collect();
                self.taken.insert(tid, (BTreeMap::new(), gone));
            }
            Body::Returned { syscall, errno, .. } => {
                self.filling.remove(&tid);
                self.populated.remove(&tid);
                if ![11, 28, 67].contains(&syscall) {
                    return;
                }
                let (mapped, resident) = self.taken.remove(&tid).unwrap_or_default();
                if errno == 0 {
                    return;
                }
                if errno != libc::ENOMEM || !mapped.is_empty() {
                    self.mapped.extend(mapped);
                    self.resident.extend(resident);
                }
            }
            Body::Break { address } => {
                let (from, to) = (self.end.replace(address.0).unwrap_or(address.0), address.0);
                if from < to {
                    let purpose = if in_allocator {
                        Use::Arena
                    } else {
                        Use::Direct
                    };
                    self.map(next, tid, from, to - from, stack, purpose);
                } else if to < from {
                    self.take(next, to / PAGE, (from - to) / PAGE);
                }
            }
            Body::RemapEnter {
                address,
                length,
                flags,
                ..
            } => {
                let (from, count) = (address.0 / PAGE, length.0.div_ceil(PAGE));
                self.moving.remove(&tid);
                if count > 0 {
                    self.split(next, from);
                    self.split(next, from + count);
                }
                let pages = (from..from + count).filter_map(|page| {
                    let mapped = self.mapped.remove(&page)?;
                    Some((page, mapped, self.resident.remove(&page)))
                });
                let pages = pages.collect();
                self.moving.insert(
                    tid,
                    Moving {
                        from,
                        stack,
                        dont_unmap: flags & 4 != 0,
                        pages,
                    },
                );
            }
            Body::RemapExit { address, length } => {
                let moving = self.moving.remove(&tid);
                moving.into_iter().for_each(|moving| {
                    let who = (tid, stack, in_allocator);
                    self.arrive(next, moving, address.0, length.0, who);
                });
            }
            Body::Resident {
                member,
                size,
                cause,
                address,
                error_code,
                syscall,
                ..
            } => {
                if cause == Cause::Syscall {
                    return self.in_call(member, size.0, (tid, stack), address.0, syscall);
                }
                self.resident(member, size.0, cause, address.0, error_code, stack);
            }
            _ => {}
        }
    }

    /// From this page on it is another mapping.
    fn split(&mut self, next: &mut u64, page: u64) {
        let Some(before) = page
            .checked_sub(1)
            .and_then(|page| self.mapped.get(&page))
            .copied()
        else {
            return;
        };
        *next += 1;
        let adjoining = self
            .mapped
            .range_mut(page..)
            .zip(page..)
            .take_while(|((at, mapped), page)| *at == page && mapped.mapping == before.mapping);
        adjoining.for_each(|((_, mapped), _)| mapped.mapping = *next);
    }

    fn take(&mut self, next: &mut u64, from: u64, count: u64) -> (BTreeMap<u64, Mapped>, Resident) {
        self.split(next, from);
        self.split(next, from + count);
        let mapped = (from..from + count)
            .filter_map(|page| Some((page, self.mapped.remove(&page)?)))
            .collect();
        let resident =
            (from..from + count).filter_map(|page| Some((page, self.resident.remove(&page)?)));
        (mapped, resident.collect())
    }

    fn map(
        &mut self,
        next: &mut u64,
        tid: u32,
        address: u64,
        length: u64,
        stack: u64,
        purpose: Use,
    ) {
        let (from, count) = (address / PAGE, length.div_ceil(PAGE));
        self.take(next, from, count);
        *next += 1;
        for page in from..from + count {
            let asked = (address + length - page * PAGE).min(PAGE);
            self.mapped.insert(
                page,
                Mapped {
                    stack,
                    purpose,
                    asked,
                    mapping: *next,
                },
            );
        }
        let mut populated = self.populated.remove(&tid).unwrap_or_default();
        populated.sort_by_key(|&(member, ..)| ORDER.iter().position(|&at| at == member));
        for (member, _, pages) in populated {
            self.fill(from, from + count, member, stack, pages);
        }
    }

    /// The first so many pages that are mapped and not resident, up to the first gap.
    fn fill(&mut self, from: u64, to: u64, member: Member, stack: u64, mut pages: u64) {
        for page in from..to {
            if pages == 0 || !self.mapped.contains_key(&page) {
                return;
            }
            if let std::collections::btree_map::Entry::Vacant(vacant) = self.resident.entry(page) {
                vacant.insert((member, stack));
                pages -= 1;
            }
        }
    }

    /// A system call brings pages without a fault.
    fn in_call(
        &mut self,
        member: Member,
        size: u64,
        (tid, stack): (u32, u64),
        address: u64,
        syscall: u16,
    ) {
        let before = self.counts.insert(member as u16, size).unwrap_or(0);
        let grown = (size.saturating_sub(before) / PAGE).min(512);
        if grown == 0 {
            return;
        }
        if syscall == MMAP {
            let all = self.populated.entry(tid).or_default();
            return all.push((member, stack, grown));
        }
        let under_way = self.filling.get(&tid).copied();
        let (from, to) = match under_way {
            Some(range) if address == range.0 || address == 0 && syscall == MADVISE => range,
            _ if address > 0 => (address, u64::MAX),
            _ => return,
        };
        self.filling.insert(tid, (from, to));
        self.fill(from / PAGE, to.div_ceil(PAGE), member, stack, grown);
    }

    fn arrive(
        &mut self,
        next: &mut u64,
        moving: Moving,
        address: u64,
        length: u64,
        (tid, stack, in_allocator): (u32, u64, bool),
    ) {
        if address == 0 {
            for (page, mapped, resident) in moving.pages {
                self.take(next, page, 1);
                self.mapped.insert(page, mapped);
                resident.map(|resident| self.resident.insert(page, resident));
            }
            return;
        }
        let (to, limit) = (address / PAGE, address + length);
        self.take(next, to, length.div_ceil(PAGE));
        let (mut arrived, mut purpose) = (address, None);
        for (page, mapped, resident) in moving.pages {
            purpose = Some(mapped.purpose);
            let new = to + page - moving.from;
            arrived = new * PAGE;
            if new * PAGE < limit {
                let asked = PAGE.min(limit - new * PAGE);
                arrived += asked;
                self.mapped.insert(new, Mapped { asked, ..mapped });
                resident.map(|resident| self.resident.insert(new, resident));
            }
            if moving.dont_unmap {
                self.take(next, page, 1);
                // Apart from the moved ones, as far as they belonged together.
                let mapping = mapped.mapping | 1 << 60;
                self.mapped.insert(page, Mapped { mapping, ..mapped });
            }
        }
        if arrived < limit {
            let purpose = purpose.unwrap_or(if in_allocator {
                Use::Arena
            } else {
                Use::Direct
            });
            let stack = if stack == 0 { moving.stack } else { stack };
            self.map(next, tid, arrived, limit - arrived, stack, purpose);
        }
    }

    fn resident(
        &mut self,
        member: Member,
        size: u64,
        cause: Cause,
        address: u64,
        error_code: u16,
        stack: u64,
    ) {
        if cause == Cause::End {
            return;
        }
        let before = self.counts.insert(member as u16, size).unwrap_or(0);
        let grown = (size.saturating_sub(before) / PAGE).min(512);
        if !matches!(cause, Cause::UserFault | Cause::KernelFault) {
            return;
        }
        let page = address / PAGE;
        let window = match (member, grown) {
            (_, 256..) => 512,
            (Member::Anon, _) => 1,
            _ if error_code & 3 == 3 => return,
            _ => 16.max(grown.next_power_of_two()),
        };
        let mut left = grown.max(1);
        if window < 512
            && self
                .resident
                .get(&page)
                .is_none_or(|resident| resident.0 != member)
        {
            self.resident.insert(page, (member, stack));
            left -= 1;
        } else if window < 512 {
            left = grown;
        }
        let same = |page: u64| self.mapped.get(&page).map(|mapped| mapped.mapping);
        let first = page - page % window;
        let mut around: Vec<_> = (first..=page)
            .rev()
            .take_while(|&at| same(at) == same(page))
            .collect();
        around.reverse();
        around.extend((page + 1..first + window).take_while(|&at| same(at) == same(page)));
        if window > 1 {
            for at in around
                .into_iter()
                .filter(|at| !self.resident.contains_key(at))
                .collect::<Vec<_>>()
            {
                if left > 0 {
                    self.resident.insert(at, (member, stack));
                    left -= 1;
                }
            }
        }
    }
}
