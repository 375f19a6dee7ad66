//! Pages that come, go and move.

use super::image::{Absence, Image, Mapped, Moving, Resident, Use};
use super::{MADVISE, PAGE};
use crate::events::{Cause, RssCounter};
use crate::ledger::mappings::Inherited;
use std::collections::BTreeMap;

/// What is resident.
pub(super) const ORDER: [RssCounter; 3] = [RssCounter::Anon, RssCounter::File, RssCounter::Shmem];

impl Image {
    /// From this page on it is another mapping.
    pub(super) fn split(&mut self, next: &mut u64, page: u64) {
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

    pub(super) fn take(
        &mut self,
        next: &mut u64,
        from: u64,
        count: u64,
    ) -> (BTreeMap<u64, Mapped>, Resident) {
        self.split(next, from);
        self.split(next, from + count);
        let mapped = (from..from + count)
            .filter_map(|page| Some((page, self.mapped.remove(&page)?)))
            .collect();
        let resident =
            (from..from + count).filter_map(|page| Some((page, self.resident.remove(&page)?)));
        (mapped, resident.collect())
    }

    pub(super) fn map(
        &mut self,
        next: &mut u64,
        tid: u32,
        address: u64,
        length: u64,
        stack: u64,
        purpose: Use,
    ) {
        let (from, count) = (address / PAGE, length.div_ceil(PAGE));
        let coming = self.coming.remove(&tid);
        let (_, gone) = self.take(next, from, count);
        // What lay there had gone when the first page came.
        if let Some((since, ..)) = coming {
            self.absent_since(since, gone.values().map(|page| page.number));
        }
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
                    inherited: Inherited::Copy,
                    grows_down: false,
                },
            );
        }
        let pages = coming.into_iter().flat_map(|(_, _, pages)| pages);
        let here = (from..from + count).zip(pages);
        let here = here.filter_map(|(at, page)| Some((at, page?)));
        self.resident.extend(here);
    }

    /// Pages that were not resident any more from that event on.
    fn absent_since(&mut self, from: u64, pages: impl Iterator<Item = u64>) {
        let image = self.id;
        let absence = |page| Absence { image, page, from };
        self.absences.extend(pages.map(absence));
    }

    /// The first so many pages that are mapped and not resident, up to the first gap.
    fn fill(&mut self, from: u64, to: u64, member: RssCounter, stack: u64, mut pages: u64) {
        for page in from..to {
            if pages == 0 || !self.mapped.contains_key(&page) {
                return;
            }
            if !self.resident.contains_key(&page) {
                let fresh = self.fresh(member, stack);
                self.resident.insert(page, fresh);
                pages -= 1;
            }
        }
    }

    /// A system call brings pages without a fault.
    pub(super) fn in_call(
        &mut self,
        member: RssCounter,
        size: u64,
        (tid, stack, in_allocator): (u32, u64, bool),
        address: u64,
        syscall: u16,
    ) {
        let before = self.counts.insert(member as u16, size).unwrap_or(0);
        let grown = (size.saturating_sub(before) / PAGE).min(512);
        if grown == 0 {
            return;
        }
        if [9, 12, 25, 30].contains(&syscall) {
            let pages: Vec<_> = (0..grown)
                .map(|_| Some(self.fresh(member, stack)))
                .collect();
            let purpose = match (in_allocator, member) {
                (true, _) => Use::Arena,
                (_, RssCounter::File) => Use::File,
                _ => Use::Direct,
            };
            let nowhere = Mapped {
                stack,
                purpose,
                asked: PAGE,
                mapping: 0,
                inherited: Inherited::Copy,
                grows_down: false,
            };
            let first = (self.now, nowhere, Vec::new());
            let (_, _, all) = self.coming.entry(tid).or_insert(first);
            return all.extend(pages);
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

    pub(super) fn arrive(
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

    /// A mapping that grows downwards is touched below its beginning.
    fn grow_down(&mut self, next: &mut u64, page: u64) {
        let above = self.mapped.range(page..).next();
        let Some((from, mapped)) = above.map(|(&from, &mapped)| (from, mapped)) else {
            return;
        };
        if from == page || !mapped.grows_down {
            return;
        }
        *next += 1;
        let mapping = *next;
        for page in page..from {
            self.resident.remove(&page);
            let asked = PAGE;
            self.mapped.insert(
                page,
                Mapped {
                    asked,
                    mapping,
                    ..mapped
                },
            );
        }
    }

    pub(super) fn resident(
        &mut self,
        next: &mut u64,
        member: RssCounter,
        size: u64,
        cause: Cause,
        (address, error_code): (u64, u16),
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
        if member == RssCounter::Anon && grown > 0 {
            self.grow_down(next, page);
        }
        let medium = member == RssCounter::Anon
            && [4, 8, 16, 32, 64, 128, 256].contains(&grown)
            && self.neighbours(page, grown).len() as u64 == grown
            && (self.neighbours(page, grown).iter()).all(|at| !self.resident.contains_key(at));
        let window = match (member, grown) {
            _ if medium => grown,
            (_, 256..) => 512,
            (RssCounter::Anon, _) => 1,
            _ if error_code & 3 == 3 => return,
            _ => 16.max(grown.next_power_of_two()),
        };
        let mut left = grown.max(1);
        let known = self.resident.get(&page).copied();
        let known = known.filter(|known| known.member == member);
        // It was not there any more, and comes back.
        let back = known.filter(|_| window < 512 && error_code & 1 == 0 && grown > 0);
        if let Some(back) = back {
            let gone = self.gone.entry(member as u16).or_default();
            let since = (!gone.is_empty()).then(|| gone.remove(0));
            self.absent_since(since.unwrap_or(self.now), [back.number].into_iter());
        }
        if window < 512 && (known.is_none() || back.is_some()) {
            let fresh = self.fresh(member, stack);
            self.resident.insert(page, fresh);
            left -= 1;
        } else if window < 512 {
            left = grown;
        }
        if window > 1 {
            for at in self
                .brought(member, page, window)
                .into_iter()
                .filter(|at| !self.resident.contains_key(at))
                .collect::<Vec<_>>()
            {
                if left > 0 {
                    let fresh = self.fresh(member, stack);
                    self.resident.insert(at, fresh);
                    left -= 1;
                }
            }
        }
    }

    /// Pages that may come with one: of a file as many where the mapping cuts the window's begin.
    fn brought(&self, member: RssCounter, page: u64, window: u64) -> Vec<u64> {
        let mut pages = self.neighbours(page, window);
        if member != RssCounter::Anon && window == 16 {
            let first = pages[0];
            let end = (first + 16).min((page / 512 + 1) * 512);
            let all = self.neighbours(page, 512);
            pages = all
                .into_iter()
                .filter(|at| (first..end).contains(at))
                .collect();
        }
        pages
    }

    /// The pages of the aligned window around one that belong to its mapping.
    fn neighbours(&self, page: u64, window: u64) -> Vec<u64> {
        let same = |page: u64| self.mapped.get(&page).map(|mapped| mapped.mapping);
        let first = page - page % window;
        let mut around: Vec<_> = (first..=page)
            .rev()
            .take_while(|&at| same(at) == same(page))
            .collect();
        around.reverse();
        around.extend((page + 1..first + window).take_while(|&at| same(at) == same(page)));
        around
    }
}
