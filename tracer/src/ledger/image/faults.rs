//! Which pages a change of the kernel's counters made resident.
//!
//! The kernel says how far a counter has moved and where the fault was. What the
//! fault brought follows from that:
//!
//! | counter | moved by | pages |
//! |---|---|---|
//! | anon | one | the page |
//! | anon | 4, 8, 16, … 256 | as many aligned pages around the address, if none of them was there (`hugepages-*kB`) |
//! | anon, file, shmem | about a huge page | the 512 aligned pages around the address |
//! | file, shmem | up to 16 | the page and others of its 64 KiB window: aligned, but for one that would begin before its mapping; that begins with it, and is as long (`do_fault_around`) |
//! | file, shmem | more | the page and others of the aligned window that is as large |
//! | file, shmem, down, at a write to a present page | | none: it is being copied, and the anon counter follows |
//! | any, in a system call without a fault | n | the first n that are not resident, from where the call works on |
//!
//! Calls without a fault are those that populate what they map (see `image/coming.rs`), `madvise`
//! with a range to populate, `mlock`, and whatever pins its buffer (direct I/O); the probes say
//! where they work. Of others (`mlockall`, `io_uring`) only the number of pages is known.
//!
//! A fault on a page that is not there, of which the ledger knows, tells that the page had gone
//! and comes back: swapped in, or read again.
//!
//! A counter is summed over CPUs while others move it, so its jumps are trusted
//! only as far as a fault can bring pages. A read of untouched anonymous memory
//! maps the zero page and moves no counter: nothing becomes resident.

use super::coming::populates_new;
use super::{Actor, Image};
use crate::arch::HUGE_PAGE;
use crate::arch::fault::{PRESENT, WRITE_TO_PRESENT};
use crate::arch::syscall::MADVISE;
use crate::events::{Cause, RssCounter};
use crate::ledger::hash::Map;
use crate::ledger::history::Now;
use crate::ledger::mappings::{A_PAGE, END, PAGE, Vma};
use crate::ledger::residency::{Backing, Page};
use crate::ledger::slot::{Slot, pages};
use crate::ledger::stacks::StackIndex;
use crate::units::{Address, Bytes, Tid};
use std::ops::{Range, RangeInclusive};

/// Pages of a huge page.
const HUGE: u64 = HUGE_PAGE / PAGE;

/// Pages that one fault on a file brings at most (`fault_around_bytes`, 64 KiB by default).
const AROUND: u64 = 16;

/// The same of a huge page of a medium size (mTHP); each is a power of two.
const MEDIUM: RangeInclusive<u64> = 4..=256;

/// A counter changed; the fields of `Body::Resident`.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct Change {
    pub(in crate::ledger) member: RssCounter,
    pub(in crate::ledger) size: Bytes,
    pub(in crate::ledger) cause: Cause,
    pub(in crate::ledger) address: Address,
    pub(in crate::ledger) error_code: u16,
    pub(in crate::ledger) syscall: u16,
}

/// What threads are populating.
#[derive(Clone, Debug, Default)]
pub(in crate::ledger) struct Threads {
    /// Ranges that a call works through.
    filling: Map<Tid, Filling>,
}

/// A range and how far it is known to be resident.
#[derive(Clone, Copy, Debug)]
struct Filling {
    start: Address,
    next: Address,
    end: Address,
}

impl Threads {
    /// The thread's memory system call has returned.
    pub(in crate::ledger) fn end_call(&mut self, thread: Tid) {
        if !self.filling.is_empty() {
            self.filling.remove(&thread);
        }
    }

    /// Pages leave: what was filled may have a gap.
    pub(in crate::ledger) fn pages_leave(&mut self) {
        for filling in self.filling.values_mut() {
            filling.next = filling.start;
        }
    }
}

impl Image {
    /// `counts' = counts[member ↦ size]`, and `P' = P ∪` what that made resident. Returns how
    /// many pages. At the end of an image the counters run down while others may already
    /// belong to the next one: its end is an event of its own, these are not followed.
    pub(in crate::ledger) fn resident(&mut self, now: &Now, who: Actor, change: Change) -> u64 {
        if change.cause == Cause::End {
            return 0;
        }
        let before = std::mem::replace(&mut self.counts[change.member as usize], change.size.0);
        let Some(backing) = Backing::of(change.member) else {
            return 0;
        };
        let grown = (change.size.0.saturating_sub(before) / PAGE).min(HUGE);
        let page = Page {
            slot: Slot(0),
            backing,
            toucher: match change.cause {
                Cause::Kernel => StackIndex::KERNEL,
                Cause::Remote => StackIndex::ANOTHER,
                _ => who.stack,
            },
            born: now.moment,
        };
        let placed = self.place(now, who, change, page, grown);
        self.checks.owe(page, grown.saturating_sub(placed));
        self.note_surplus(now);
        placed
    }

    /// Finds the pages that came; how many.
    fn place(&mut self, now: &Now, who: Actor, change: Change, page: Page, grown: u64) -> u64 {
        match change.cause {
            Cause::UserFault | Cause::KernelFault
                if (Address(1)..END).contains(&change.address) =>
            {
                self.fault(now, change, page, grown)
            }
            Cause::Syscall if grown > 0 && populates_new(change.syscall) => {
                self.comes(now, who, page, grown)
            }
            Cause::Syscall if grown > 0 => self.in_call(who.thread, change, page, grown),
            _ => 0,
        }
    }

    fn fault(&mut self, now: &Now, change: Change, page: Page, grown: u64) -> u64 {
        let (mut slot, mut slots) = self.mappings.slot(change.address);
        let in_no_piece = slot < Slot::FIRST;
        if in_no_piece && page.backing == Backing::Anon && grown > 0 {
            self.grow_down(now, change.address);
            (slot, slots) = self.mappings.slot(change.address);
        }
        let number = change.address.0 / PAGE;
        let medium = page.backing == Backing::Anon && self.is_medium(number, grown, slot, &slots);
        if grown >= HUGE / 2 && !medium {
            return self
                .pages
                .fill(around(number, HUGE, slot, &slots), grown, page)
                .0;
        }
        if page.backing != Backing::Anon
            && u64::from(change.error_code) & WRITE_TO_PRESENT == WRITE_TO_PRESENT
        {
            return 0;
        }
        let touched = self.touch(now, change, Page { slot, ..page }, grown);
        let size = match page.backing {
            Backing::Anon if medium => grown,
            Backing::Anon => return touched,
            // A large folio in the page cache may bring more than the window.
            _ => AROUND.max(grown.next_power_of_two()),
        };
        let mut window = around(number, size, slot, &slots);
        if page.backing != Backing::Anon && size == AROUND {
            // As long where its mapping begins later; not beyond its page table.
            let table = slot.saturating_add(HUGE - number % HUGE);
            window.end = window
                .start
                .saturating_add(AROUND)
                .min(slots.end)
                .min(table);
        }
        touched
            + self
                .pages
                .fill(window, grown.saturating_sub(touched), page)
                .0
    }

    /// `P' = P[slot ↦ page]`. If the page is known and was not there, it had gone, and the known
    /// one ended then.
    fn touch(&mut self, now: &Now, change: Change, page: Page, grown: u64) -> u64 {
        let fresh = self.pages.touch(now, page);
        if fresh || u64::from(change.error_code) & PRESENT != 0 || grown == 0 {
            return u64::from(fresh);
        }
        let went = self.checks.came_back(page.backing).unwrap_or(now.moment);
        let slots = page.slot..page.slot + 1;
        self.pages.remove(&now.as_of(went), &slots);
        u64::from(self.pages.touch(now, page))
    }

    /// A forked child writes to a page that its parent gave it, and gets its own: it is the
    /// toucher's who wrote. `P' = P[slot ↦ page]`, and the page that was inherited ends. Returns
    /// how many pages that made.
    pub(in crate::ledger) fn written(&mut self, now: &Now, who: Actor, address: Address) -> u64 {
        if !(Address(1)..END).contains(&address) {
            return 0;
        }
        let (slot, _) = self.mappings.slot(address);
        let slots = slot..slot + 1;
        let inherited = |page: &Page| page.backing == Backing::Anon && page.born < self.born;
        let Some(page) = self.pages.within(&slots).find(inherited) else {
            return 0;
        };
        self.pages.remove(now, &slots);
        let page = Page {
            toucher: who.stack,
            born: now.moment,
            ..page
        };
        u64::from(self.pages.touch(now, page))
    }

    /// Whether as many pages as came may be a huge page of a medium size: the kernel makes one
    /// where its whole window is in one mapping, and empty.
    fn is_medium(&self, number: u64, grown: u64, slot: Slot, slots: &Range<Slot>) -> bool {
        if !MEDIUM.contains(&grown) || !grown.is_power_of_two() {
            return false;
        }
        let window = around(number, grown, slot, slots);
        window.end - window.start == grown && self.pages.vacant(&window) == grown
    }

    /// A mapping that grows downwards grows to where it is touched:
    /// `M' = M ∪ {from there to its beginning}`, by its maker.
    fn grow_down(&mut self, now: &Now, address: Address) {
        let Some(piece) = self.mappings.growing_to(address) else {
            return;
        };
        let start = address.page_start(A_PAGE);
        let slot = self.mappings.fresh_slot(piece.start - start);
        // What was touched there when nothing was known of it ends.
        self.pages.remove(now, &Slot::all_of(&(start..piece.start)));
        self.mappings.insert(Vma {
            start,
            end: piece.start,
            slot,
            born: now.moment,
            ..piece
        });
    }

    fn in_call(&mut self, thread: Tid, change: Change, page: Page, grown: u64) -> u64 {
        let under_way = self.threads.filling.get(&thread).copied();
        let mut filling = match under_way {
            Some(filling) if change.address == filling.start => filling,
            Some(filling)
                if change.address == Address(0) && u32::from(change.syscall) == MADVISE =>
            {
                filling
            }
            _ if (Address(1)..END).contains(&change.address) => Filling {
                start: change.address,
                next: change.address,
                end: END,
            },
            _ => return 0,
        };
        let filled = self.fill_on(&mut filling, page, grown);
        self.threads.filling.insert(thread, filling);
        filled
    }

    /// The next `count` pages of a range become resident, across pieces that adjoin.
    fn fill_on(&mut self, filling: &mut Filling, page: Page, count: u64) -> u64 {
        let mut filled = 0;
        while filled < count && filling.next < filling.end {
            let Some(piece) = self.mappings.find(filling.next) else {
                break;
            };
            let end = piece.end.min(filling.end).page_end(A_PAGE);
            let slot = piece.slot_of(filling.next);
            let slots = slot..slot + pages(end - filling.next);
            let (more, next) = self.pages.fill(slots, count - filled, page);
            filled += more;
            filling.next = filling.next.page_start(A_PAGE) + Bytes((next - slot) * PAGE);
        }
        filled
    }

    /// `madvise` will populate a range, or collapse it to huge pages.
    pub(in crate::ledger) fn expect_filling(&mut self, thread: Tid, range: &Range<Address>) {
        let (start, end) = (range.start, range.end);
        self.threads.filling.insert(
            thread,
            Filling {
                start,
                next: start,
                end,
            },
        );
    }
}

/// The slots of the aligned window of `size` pages around page `number`, which has `slot`,
/// as far as they belong to `slots`.
fn around(number: u64, size: u64, slot: Slot, slots: &Range<Slot>) -> Range<Slot> {
    let before = (number % size).min(slot - slots.start);
    slot - before..slot.saturating_add(size - number % size).min(slots.end)
}
