//! `mremap`: mappings on their way from one place to another.

use super::{Actor, Effect, Image};
use crate::ledger::account::Oddities;
use crate::ledger::history::Now;
use crate::ledger::mappings::{A_PAGE, Purpose, Vma, page_range};
use crate::ledger::stacks::StackIndex;
use crate::units::{Address, Bytes};
use std::ops::Range;

/// A mapping on its way.
#[derive(Clone, Debug)]
pub(super) struct Moving {
    pub(super) pieces: Vec<Vma>,
    /// Old place, whole pages; empty where a shared mapping is duplicated.
    from: Range<Address>,
    dont_unmap: bool,
    stack: StackIndex,
}

impl Image {
    /// A mapping begins to move: its pieces leave `M`, and count until it has arrived. Pages
    /// stay at their slots. `length` 0 duplicates a shared mapping.
    pub(in crate::ledger) fn begin_move(
        &mut self,
        now: &Now,
        who: Actor,
        address: Address,
        length: Bytes,
        dont_unmap: bool,
        odd: &mut Oddities,
    ) {
        if let Some(at) = self
            .moving
            .iter()
            .position(|(thread, _)| *thread == who.thread)
        {
            let (_, stale) = self.moving.swap_remove(at);
            self.end_pieces(now, &stale.pieces);
            odd.misplaced += 1;
        }
        self.checks.moving();
        self.threads.pages_leave();
        let from = match length.0 {
            0 => address..address,
            _ => page_range(address, length).unwrap_or(address..address),
        };
        let pieces = match from.is_empty() {
            true => Vec::new(),
            false => self.mappings.take(&from),
        };
        self.moving.push((
            who.thread,
            Moving {
                pieces,
                from,
                dont_unmap,
                stack: who.stack,
            },
        ));
    }

    fn end_pieces(&mut self, now: &Now, pieces: &[Vma]) {
        for piece in pieces {
            self.mappings.end(now, piece);
            self.pages.remove(now, &piece.slots());
        }
    }

    /// A mapping has arrived. Nowhere (`address` 0): `M' = M ∪ pieces`, nothing has changed.
    /// Otherwise `M' = M without target ∪ {p moved and cut to the new length | p ∈ pieces} ∪
    /// {growth}`; the pieces keep owner and pages, the growth belongs to the mover. With
    /// `MREMAP_DONTUNMAP` the old place stays mapped, without its pages.
    pub(in crate::ledger) fn end_move(
        &mut self,
        now: &Now,
        who: Actor,
        address: Address,
        length: Bytes,
        odd: &mut Oddities,
    ) -> Effect {
        let Some(at) = self
            .moving
            .iter()
            .position(|(thread, _)| *thread == who.thread)
        else {
            odd.misplaced += 1;
            return Effect::default();
        };
        let (_, moving) = self.moving.swap_remove(at);
        let target = page_range(address, length);
        let Some(target) = target.filter(|_| address != Address(0)) else {
            odd.misplaced += u64::from(address != Address(0));
            moving
                .pieces
                .iter()
                .for_each(|piece| self.replace(now, *piece, odd));
            return Effect::default();
        };
        self.clear(now, &target);
        let (mut purpose, mut arrived) = (None, target.start);
        for piece in &moving.pieces {
            purpose = Some(piece.purpose);
            let end = target.start + (piece.end - moving.from.start);
            arrived = self.arrive(
                now,
                piece,
                target.start + (piece.start - moving.from.start),
                end,
                &target,
                length,
            );
            if moving.dont_unmap {
                let slot = self.mappings.fresh_slot(piece.length());
                self.replace(
                    now,
                    Vma {
                        slot,
                        born: now.moment,
                        ..*piece
                    },
                    odd,
                );
            }
        }
        self.grow(
            now,
            &moving,
            who,
            purpose,
            arrived.max(target.start)..target.start + length,
        )
    }

    /// Inserts a piece where nothing should be; what is there nevertheless ends.
    pub(super) fn replace(&mut self, now: &Now, piece: Vma, odd: &mut Oddities) {
        let (there, _) = self.clear(now, &piece.whole());
        odd.misplaced += there.len() as u64;
        self.mappings.insert(piece);
    }

    /// One moved piece at its new place, cut to the target; the pages of the rest end. Returns
    /// the end of what is there.
    fn arrive(
        &mut self,
        now: &Now,
        piece: &Vma,
        start: Address,
        end: Address,
        target: &Range<Address>,
        length: Bytes,
    ) -> Address {
        self.mappings.end(now, piece);
        let moved = Vma {
            start,
            end,
            born: now.moment,
            ..*piece
        };
        // A piece that reaches its last page may grow into what of it was not asked for.
        let limit = target.start + length;
        let kept = moved.part(&(target.start..limit));
        let slots = piece.slots();
        let kept_slots = kept.map_or(slots.start..slots.start, |kept| kept.slots());
        self.pages.remove(now, &(kept_slots.end..slots.end));
        if let Some(kept) = kept {
            let grown = Vma {
                end: kept.end.page_end(A_PAGE).min(limit),
                ..kept
            };
            self.mappings.insert(grown);
            return grown.end;
        }
        start
    }

    /// What a move added.
    fn grow(
        &mut self,
        now: &Now,
        moving: &Moving,
        who: Actor,
        old: Option<Purpose>,
        range: Range<Address>,
    ) -> Effect {
        if range.is_empty() {
            return Effect::default();
        }
        let purpose = match old {
            Some(purpose) => purpose,
            None if who.in_allocator => Purpose::Arena,
            None => Purpose::Direct,
        };
        let stack = if who.stack == StackIndex(0) {
            moving.stack
        } else {
            who.stack
        };
        let length = range.end - range.start;
        let start = range.start;
        self.map(
            now,
            Actor { stack, ..who },
            start..range.end.page_end(A_PAGE),
            length,
            purpose,
        )
    }
}
