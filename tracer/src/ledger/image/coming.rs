//! Mappings that come with their pages: `MAP_POPULATE`, or anything new under
//! `mlockall(MCL_FUTURE)`.
//!
//! The kernel counts their pages one by one, and where they are is known when the call returns.
//! Until then they are a mapping nowhere, as large as what has come of it, so that it has an owner
//! at every moment.

use super::{Actor, Image};
use crate::arch::syscall;
use crate::ledger::history::{Moment, Now};
use crate::ledger::mappings::{END, Inherited, PAGE, Purpose, Vma};
use crate::ledger::residency::{Backing, Page};
use crate::ledger::slot::{Slot, pages};
use crate::units::{Bytes, Tid};

/// A mapping that comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coming {
    thread: Tid,
    /// When its first page came: what lay at its place had gone before.
    pub(super) since: Moment,
    /// What has come.
    pub(super) piece: Vma,
}

/// Slots that are set aside for a mapping whose length is not known yet: 128 TiB.
const SLOTS: u64 = 1 << 35;

/// System calls that may populate what they have just made.
pub(in crate::ledger) fn populates_new(number: u16) -> bool {
    matches!(
        u32::from(number),
        syscall::MMAP | syscall::BRK | syscall::MREMAP | syscall::SHMAT
    )
}

impl Image {
    /// `count` pages of what the thread is mapping are resident. The first of them makes the
    /// mapping: `C' = C[thread ↦ count pages]`; the next ones add to it:
    /// `C' = C[thread ↦ C(thread) + count pages]`.
    pub(in crate::ledger) fn comes(
        &mut self,
        now: &Now,
        who: Actor,
        page: Page,
        count: u64,
    ) -> u64 {
        let at = self.coming_of(who.thread).unwrap_or_else(|| {
            let slot = self.mappings.fresh_slot(Bytes(SLOTS * PAGE));
            let purpose = match page.backing {
                _ if who.in_allocator => Purpose::Arena,
                Backing::File => Purpose::File,
                _ => Purpose::Direct,
            };
            let piece = Vma {
                start: END,
                end: END,
                slot,
                born: now.moment,
                stack: who.stack,
                purpose,
                inherited: Inherited::default(),
                grows_down: false,
            };
            self.coming.push(Coming {
                thread: who.thread,
                since: now.moment,
                piece,
            });
            self.coming.len() - 1
        });
        let piece = &mut self.coming[at].piece;
        let free = piece.slots().end..piece.slot + SLOTS;
        let old = *piece;
        let (filled, _) = self.pages.fill(free, count, page);
        piece.end = piece.end + Bytes(filled * PAGE);
        piece.born = now.moment;
        if old.length() > Bytes::ZERO {
            self.mappings.end(now, &old);
        }
        filled
    }

    fn coming_of(&self, thread: Tid) -> Option<usize> {
        self.coming
            .iter()
            .position(|coming| coming.thread == thread)
    }

    /// When the first page came of what the thread maps.
    pub(super) fn coming_since(&self, thread: Tid) -> Option<Moment> {
        Some(self.coming[self.coming_of(thread)?].since)
    }

    /// Where the thread's mapping is has become known: `C' = C \ {thread}`. Returns the slots that
    /// its pages are to keep, if it has any; pages that do not fit into its length end.
    pub(super) fn arrives(&mut self, now: &Now, thread: Tid, length: Bytes) -> Option<Slot> {
        if self.coming.is_empty() {
            return None;
        }
        let at = self.coming_of(thread)?;
        let pages = pages(length);
        if pages > SLOTS {
            return None;
        }
        let Coming { piece, .. } = self.coming.swap_remove(at);
        self.mappings.end(now, &piece);
        let slots = piece.slots();
        let rest = (slots.start + pages).min(slots.end)..slots.end;
        self.pages.remove(now, &rest);
        Some(piece.slot)
    }

    /// The call is over, and nothing says where its mapping is: `C' = C \ {thread}`. A check finds
    /// the pages.
    pub(super) fn never_arrives(&mut self, now: &Now, thread: Tid) {
        let Some(at) = self.coming_of(thread) else {
            return;
        };
        let Coming { piece, .. } = self.coming.swap_remove(at);
        self.mappings.end(now, &piece);
        let pages: Vec<_> = self.pages.within(&piece.slots()).collect();
        self.pages.remove(now, &piece.slots());
        let same = |a: &Page, b: &Page| (a.born, a.backing) == (b.born, b.backing);
        for pages in pages.chunk_by(same) {
            self.checks.owe(pages[0], pages.len() as u64);
        }
    }
}
