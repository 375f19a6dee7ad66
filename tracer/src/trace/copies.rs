//! The bytes of stacks that wait, one after the other in a few chunks. In fresh blocks of their
//! own they would cost a page fault for every 4 KiB, and the ring buffer would fill faster than it
//! is emptied.

use std::ops::Range;

/// Bytes of a chunk.
const CHUNK: usize = 32 << 20;

/// Bytes of all chunks; with more, the store is full.
const MAX_BYTES: usize = 256 << 20;

/// A store of copies.
pub(super) struct Copies {
    chunks: Vec<Vec<u8>>,
    chunk: usize,
    max: usize,
}

/// Where a copy is.
#[derive(Debug)]
pub(super) struct Extent {
    chunk: usize,
    bytes: Range<usize>,
}

impl Copies {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self::of(CHUNK, MAX_BYTES)
    }

    fn of(chunk: usize, max: usize) -> Self {
        Self {
            chunks: Vec::new(),
            chunk,
            max,
        }
    }

    /// Whether it should take nothing more in. It can.
    pub(super) fn is_full(&self) -> bool {
        self.chunks.len() * self.chunk > self.max
    }

    /// The bytes of a copy.
    pub(super) fn get(&self, place: &Extent) -> &[u8] {
        &self.chunks[place.chunk][place.bytes.clone()]
    }

    /// Takes a copy in.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Extent {
        let has_room = |chunk: &mut Vec<u8>| chunk.capacity() - chunk.len() >= bytes.len();
        if !self.chunks.last_mut().is_some_and(has_room) {
            self.chunks.push(fresh(self.chunk));
        }
        let last = self.chunks.len() - 1;
        let chunk = &mut self.chunks[last];
        let begin = chunk.len();
        chunk.extend_from_slice(bytes);
        Extent {
            chunk: last,
            bytes: begin..chunk.len(),
        }
    }

    /// Gives back what none of these copies takes, where it is most of all: a few that wait for a
    /// table that never comes must not keep it. Says whether it did.
    pub(super) fn compact<'a>(&mut self, left: impl Iterator<Item = &'a mut Extent>) -> bool {
        let left: Vec<&mut Extent> = left.collect();
        let bytes: usize = left.iter().map(|place| place.bytes.len()).sum();
        if bytes > 0 && (self.chunks.len() == 1 || bytes > self.chunks.len() * self.chunk / 4) {
            return false;
        }
        let before = std::mem::replace(self, Self::of(self.chunk, self.max));
        for place in left {
            *place = self.keep(before.get(place));
        }
        true
    }
}

/// Room for copies, on huge pages where the machine has them.
fn fresh(size: usize) -> Vec<u8> {
    let mut chunk: Vec<u8> = Vec::with_capacity(size);
    // SAFETY: the range is the allocation that was just made, and the advice changes nothing but
    // what backs it. A kernel that can't take it says so, which is no loss.
    unsafe { libc::madvise(chunk.as_mut_ptr().cast(), size, libc::MADV_HUGEPAGE) };
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy that no other is like.
    fn copy(n: usize) -> Vec<u8> {
        (0..100).map(|at| (n * 7 + at) as u8).collect()
    }

    fn held(copies: &Copies) -> usize {
        copies.chunks.iter().map(Vec::capacity).sum()
    }

    #[test]
    fn copies_come_back_as_they_were() {
        let mut copies = Copies::of(1000, 8000);
        let places: Vec<Extent> = (0..50).map(|n| copies.keep(&copy(n))).collect();
        let large = copies.keep(&vec![9; 5000]);
        for (n, place) in places.iter().enumerate() {
            assert_eq!(copies.get(place), copy(n));
        }
        assert_eq!(copies.get(&large), vec![9; 5000]);
    }

    /// What the store is for: eight of a thousand go on waiting, and it holds one chunk for them.
    #[test]
    fn those_that_wait_in_vain_keep_no_more_than_they_take() {
        let mut copies = Copies::of(1000, 8000);
        let mut waiting = Vec::new();
        for n in 0..1000 {
            let place = copies.keep(&copy(n));
            if n % 125 == 0 {
                waiting.push((n, place));
            }
        }
        assert!(copies.is_full());
        assert!(copies.compact(waiting.iter_mut().map(|(_, place)| place)));
        assert!(!copies.is_full());
        assert_eq!(held(&copies), 1000);
        for (n, place) in &waiting {
            assert_eq!(copies.get(place), copy(*n));
        }
    }

    #[test]
    fn many_that_wait_are_not_moved() {
        let mut copies = Copies::of(1000, 8000);
        let mut waiting: Vec<Extent> = (0..100).map(|n| copies.keep(&copy(n))).collect();
        waiting.truncate(50);
        let before = held(&copies);
        assert!(!copies.compact(waiting.iter_mut()));
        assert_eq!(held(&copies), before);
        assert_eq!(copies.get(&waiting[49]), copy(49));
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let mut copies = Copies::of(1000, 8000);
        copies.keep(&copy(0));
        assert!(copies.compact(std::iter::empty()));
        assert_eq!(held(&copies), 0);
    }
}
