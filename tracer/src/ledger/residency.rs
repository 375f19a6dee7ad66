//! Resident pages: which there are, of which kind, since when, at whose touch.
//!
//! `P` maps slots (see `mappings`) to pages. Pages come in chunks of 64, with a
//! bit each; a page costs 12 bytes and an untouched range nothing.

use super::history::{Ended, Moment, Now, Which};
use super::slot::Slot;
use super::stacks::StackIndex;
use crate::events::RssCounter;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Pages of a chunk.
const CHUNK: u64 = u64::BITS as u64;

/// How the kernel counts a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Backing {
    /// Anonymous memory.
    Anon,
    /// A file's.
    File,
    /// Shared memory.
    Shmem,
}

impl Backing {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 3] = [Self::Anon, Self::File, Self::Shmem];

    /// What a counter counts; neither swap nor huge pages of hugetlbfs are resident.
    pub(super) fn of(member: RssCounter) -> Option<Self> {
        match member {
            RssCounter::Anon => Some(Self::Anon),
            RssCounter::File => Some(Self::File),
            RssCounter::Shmem => Some(Self::Shmem),
            RssCounter::Swap | RssCounter::HugeTlb => None,
        }
    }

    /// What counts it.
    pub(super) fn member(self) -> RssCounter {
        match self {
            Self::Anon => RssCounter::Anon,
            Self::File => RssCounter::File,
            Self::Shmem => RssCounter::Shmem,
        }
    }
}

/// A resident page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) slot: Slot,
    pub(super) backing: Backing,
    pub(super) toucher: StackIndex,
    pub(super) born: Moment,
}

/// 64 neighbouring slots.
#[derive(Clone, Debug)]
struct Chunk {
    present: u64,
    file: u64,
    shmem: u64,
    toucher: [StackIndex; CHUNK as usize],
    born: [Moment; CHUNK as usize],
}

impl Chunk {
    const EMPTY: Self = Self {
        present: 0,
        file: 0,
        shmem: 0,
        toucher: [StackIndex(0); CHUNK as usize],
        born: [Moment(0); CHUNK as usize],
    };

    fn set(&mut self, bit: u64, page: &Page) {
        let mask = 1 << bit;
        self.present |= mask;
        self.file &= !mask;
        self.shmem &= !mask;
        match page.backing {
            Backing::Anon => {}
            Backing::File => self.file |= mask,
            Backing::Shmem => self.shmem |= mask,
        }
        self.toucher[bit as usize] = page.toucher;
        self.born[bit as usize] = page.born;
    }

    /// Of the pages of a mask: how many of each backing.
    fn tally(&self, mask: u64) -> [u64; 3] {
        let (file, shmem) = (mask & self.file, mask & self.shmem);
        let count = |mask: u64| u64::from(mask.count_ones());
        [count(mask & !file & !shmem), count(file), count(shmem)]
    }

    /// The pages of one backing.
    fn of(&self, backing: Backing) -> u64 {
        match backing {
            Backing::Anon => self.present & !self.file & !self.shmem,
            Backing::File => self.present & self.file,
            Backing::Shmem => self.present & self.shmem,
        }
    }

    fn page(&self, key: u64, bit: u64) -> Page {
        let backing = match (self.file >> bit & 1, self.shmem >> bit & 1) {
            (1, _) => Backing::File,
            (_, 1) => Backing::Shmem,
            _ => Backing::Anon,
        };
        let slot = Slot(key * CHUNK + bit);
        Page {
            slot,
            backing,
            toucher: self.toucher[bit as usize],
            born: self.born[bit as usize],
        }
    }
}

/// The bits of a mask, from low to high.
fn bits(mut mask: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let bit = u64::from(mask.trailing_zeros());
        mask &= mask.checked_sub(1)?;
        Some(bit)
    })
}

/// Bits of the slots of chunk `key` that are in a range.
fn mask(key: u64, range: &Range<Slot>) -> u64 {
    let first = key * CHUNK;
    let from = range.start.0.saturating_sub(first).min(CHUNK);
    let to = range.end.0.saturating_sub(first).min(CHUNK);
    if from >= to {
        0
    } else {
        (u64::MAX >> (CHUNK - (to - from))) << from
    }
}

/// Pages that are resident no more: chunks, and which of their pages.
#[derive(Clone, Debug)]
pub(super) struct Departed {
    key: u64,
    mask: u64,
    pages: Few,
}

/// A chunk is shared between logs; a page or two of one are not worth its size.
#[derive(Clone, Debug)]
enum Few {
    One(Page),
    Many(Arc<Chunk>),
}

impl Departed {
    fn new(key: u64, mask: u64, chunk: &Chunk) -> impl Iterator<Item = Self> {
        let many = mask.count_ones() > 24;
        let whole = many.then(|| Self {
            key,
            mask,
            pages: Few::Many(Arc::new(chunk.clone())),
        });
        let ones: Vec<_> = match many {
            true => Vec::new(),
            false => bits(mask)
                .map(|bit| Self {
                    key,
                    mask: 1 << bit,
                    pages: Few::One(chunk.page(key, bit)),
                })
                .collect(),
        };
        whole.into_iter().chain(ones)
    }

    /// The pages.
    pub(super) fn pages(&self) -> impl Iterator<Item = Page> {
        bits(self.mask).map(|bit| match &self.pages {
            Few::One(page) => *page,
            Few::Many(chunk) => chunk.page(self.key, bit),
        })
    }

    /// When the first of them became resident.
    fn born(&self) -> Moment {
        self.pages().map(|page| page.born).min().unwrap_or_default()
    }
}

/// The resident pages of one process image.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    chunks: BTreeMap<u64, Box<Chunk>>,
    counts: [u64; 3],
    ended: Ended<Departed>,
}

impl Pages {
    /// `P' = P[slot ↦ page]`, unless a page of that backing is there already. Returns whether
    /// anything changed. A page of another backing (copy on write) ends.
    pub(super) fn touch(&mut self, now: &Now, page: Page) -> bool {
        let (key, bit) = (page.slot.0 / CHUNK, page.slot.0 % CHUNK);
        let chunk = self
            .chunks
            .entry(key)
            .or_insert_with(|| Box::new(Chunk::EMPTY));
        if chunk.present >> bit & 1 == 1 {
            let old = chunk.page(key, bit);
            if old.backing == page.backing {
                return false;
            }
            self.counts[old.backing as usize] -= 1;
            let old = Departed {
                key,
                mask: 1 << bit,
                pages: Few::One(old),
            };
            self.ended.note(now, old.born(), &old);
        }
        chunk.set(bit, &page);
        self.counts[page.backing as usize] += 1;
        true
    }

    /// The pages of a range.
    pub(super) fn within(&self, range: &Range<Slot>) -> impl Iterator<Item = Page> {
        let keys = range.start.0 / CHUNK..range.end.0.div_ceil(CHUNK);
        let range = range.clone();
        self.chunks.range(keys).flat_map(move |(&key, chunk)| {
            bits(chunk.present & mask(key, &range)).map(move |bit| chunk.page(key, bit))
        })
    }

    /// How many there are of a backing.
    pub(super) fn count(&self, backing: Backing) -> u64 {
        self.counts[backing as usize]
    }

    /// How many slots of a range have no page.
    pub(super) fn vacant(&self, range: &Range<Slot>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let keys = range.start.0 / CHUNK..=(range.end.0 - 1) / CHUNK;
        let chunks = self.chunks.range(keys);
        let present: u64 = chunks
            .map(|(&key, chunk)| u64::from((chunk.present & mask(key, range)).count_ones()))
            .sum();
        range.end - range.start - present
    }

    /// Adds the pages of a range, of one backing, that are in none of the runs (in order) and were
    /// resident before a moment.
    pub(super) fn outside(
        &self,
        range: &Range<Slot>,
        runs: &[Range<Slot>],
        backing: Backing,
        before: Moment,
        found: &mut Vec<Page>,
    ) {
        if range.is_empty() {
            return;
        }
        let mut first = 0;
        let keys = range.start.0 / CHUNK..=(range.end.0 - 1) / CHUNK;
        for (&key, chunk) in self.chunks.range(keys) {
            let (begin, end) = (Slot(key * CHUNK), Slot((key + 1) * CHUNK));
            while runs.get(first).is_some_and(|run| run.end <= begin) {
                first += 1;
            }
            let here = runs[first..].iter().take_while(|run| run.start < end);
            let covered = here.fold(0, |covered, run| covered | mask(key, run));
            let pages = bits(chunk.of(backing) & mask(key, range) & !covered);
            let pages = pages.map(|bit| chunk.page(key, bit));
            found.extend(pages.filter(|page| page.born < before));
        }
    }

    /// `P' = P[s ↦ page]` for the first `count` slots `s` of the range that have no page.
    /// Returns how many there were, and the slot behind the last of them.
    pub(super) fn fill(&mut self, range: Range<Slot>, mut count: u64, page: Page) -> (u64, Slot) {
        let (wanted, mut next) = (count, range.start);
        while count > 0 && next < range.end {
            let key = next.0 / CHUNK;
            let inside = mask(key, &(next..range.end));
            let chunk = self
                .chunks
                .entry(key)
                .or_insert_with(|| Box::new(Chunk::EMPTY));
            for bit in bits(inside & !chunk.present).take(count as usize) {
                chunk.set(
                    bit,
                    &Page {
                        slot: Slot(key * CHUNK + bit),
                        ..page
                    },
                );
                next = Slot(key * CHUNK + bit + 1);
                count -= 1;
                self.counts[page.backing as usize] += 1;
            }
            if count > 0 {
                next = Slot((key + 1).saturating_mul(CHUNK));
            }
        }
        (wanted - count, next.min(range.end))
    }

    /// `P' = P \ range`. Returns what left.
    pub(super) fn remove(&mut self, now: &Now, range: &Range<Slot>) -> Vec<Departed> {
        let mut departed = Vec::new();
        if range.is_empty() {
            return departed;
        }
        let keys = range.start.0 / CHUNK..=(range.end.0 - 1) / CHUNK;
        let mut empty = Vec::new();
        for (&key, chunk) in self.chunks.range_mut(keys) {
            let leaving = chunk.present & mask(key, range);
            departed.extend(Departed::new(key, leaving, chunk));
            for (count, left) in self.counts.iter_mut().zip(chunk.tally(leaving)) {
                *count -= left;
            }
            chunk.present &= !leaving;
            if chunk.present == 0 {
                empty.push(key);
            }
        }
        for item in &departed {
            self.ended.note(now, item.born(), item);
        }
        empty.iter().for_each(|key| drop(self.chunks.remove(key)));
        departed
    }

    /// `P' = P ∪ departed`: they never left. They count as born now, for the logs have them.
    pub(super) fn restore(&mut self, now: &Now, departed: &[Departed]) {
        for page in departed.iter().flat_map(Departed::pages) {
            self.fill(
                page.slot..page.slot + 1,
                1,
                Page {
                    born: now.moment,
                    ..page
                },
            );
        }
    }

    /// A forked child's: the anonymous pages. The kernel does not copy what it can fault in
    /// again from a file.
    pub(super) fn fork(&self) -> Self {
        let anon = |key: &u64, chunk: &Chunk| {
            let present = chunk.of(Backing::Anon);
            let chunk = Chunk {
                present,
                file: 0,
                shmem: 0,
                ..chunk.clone()
            };
            (present != 0).then(|| (*key, Box::new(chunk)))
        };
        let chunks = self
            .chunks
            .iter()
            .filter_map(|(key, chunk)| anon(key, chunk));
        Self {
            chunks: chunks.collect(),
            counts: [self.counts[Backing::Anon as usize], 0, 0],
            ended: Ended::default(),
        }
    }

    /// The pages that were resident at a peak, by slot.
    pub(super) fn at(&self, which: Which, peak: Moment) -> Vec<Page> {
        let living = self
            .chunks
            .iter()
            .flat_map(|(&key, chunk)| bits(chunk.present).map(move |bit| chunk.page(key, bit)));
        let departed = self
            .ended
            .since(which, peak)
            .iter()
            .flat_map(Departed::pages);
        let mut pages: Vec<_> = living
            .chain(departed)
            .filter(|page| page.born <= peak)
            .collect();
        pages.sort_unstable_by_key(|page| page.slot);
        pages
    }
}
