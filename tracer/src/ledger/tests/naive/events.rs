//! What each event does to a process's memory.

use super::image::{Block, Image, Moving, Use};
use super::{PAGE, POPULATE};
use crate::events::{Body, Cause, RssCounter};
use crate::ledger::mappings::Inherited;
use crate::ledger::tests::{GROWSDOWN, PRIVATE};
use crate::units::{Address, Bytes};
use std::collections::BTreeMap;

/// What a child gets of a range after an advice, where that is what it is about.
fn inherited(advice: u32) -> Option<Inherited> {
    match advice as i32 {
        libc::MADV_DONTFORK => Some(Inherited::Nothing),
        libc::MADV_WIPEONFORK => Some(Inherited::Empty),
        libc::MADV_DOFORK => Some(Inherited::Copy),
        _ => None,
    }
}

impl Image {
    pub(super) fn apply(
        &mut self,
        next: &mut u64,
        tid: u32,
        stack: u64,
        in_allocator: bool,
        body: &Body,
    ) {
        if let Body::Unmap { .. } | Body::ShmDetach { .. } | Body::Advise { .. } = body {
            // A call that was never seen to return is over when the thread's next one begins.
            self.advised.remove(&tid);
        }
        match *body {
            Body::Alloc { address, size, .. } => self.handed_out(next, address, size, stack),
            Body::Free { address } => {
                self.blocks.remove(&address.0);
            }
            Body::ReallocEnter { address, .. } => {
                self.resizing.remove(&tid);
                if let Some(block) = self.blocks.remove(&address.0) {
                    self.resizing.insert(tid, (address.0, block));
                }
            }
            Body::ReallocExit { address, size, .. } => {
                let old = self.resizing.remove(&tid);
                if address.0 != 0 {
                    self.handed_out(next, address, size, stack);
                } else if let Some((address, old)) = old.filter(|_| size.0 != 0) {
                    self.blocks.insert(address, old);
                }
            }
            Body::Map {
                address,
                length,
                flags,
                fd,
                ..
            } => {
                let purpose = match (in_allocator, fd >= 0 && flags & 3 == PRIVATE) {
                    (true, _) => Use::Arena,
                    (_, true) => Use::File,
                    _ => Use::Direct,
                };
                self.map(next, tid, address.0, length.0, stack, purpose);
                if flags & GROWSDOWN != 0 {
                    let (from, count) = (address.0 / PAGE, length.0.div_ceil(PAGE));
                    for (_, mapped) in self.mapped.range_mut(from..from + count) {
                        mapped.grows_down = true;
                    }
                }
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
                address,
                length,
                advice,
            } if inherited(advice).is_some() => {
                let pages = (address.0 / PAGE, length.0.div_ceil(PAGE));
                self.advised.insert(tid, (pages, inherited(advice)));
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
                self.coming.remove(&tid);
                if ![11, 28, 67].contains(&syscall) {
                    return;
                }
                let (mapped, resident) = self.taken.remove(&tid).unwrap_or_default();
                let advised = self.advised.remove(&tid);
                if let Some(((from, count), Some(inherited))) = advised
                    && (errno == 0 || errno == libc::ENOMEM)
                {
                    self.split(next, from);
                    self.split(next, from + count);
                    for (_, mapped) in self.mapped.range_mut(from..from + count) {
                        mapped.inherited = inherited;
                    }
                }
                if errno == 0 {
                    return;
                }
                if errno != libc::ENOMEM || !mapped.is_empty() {
                    self.mapped.extend(mapped);
                    self.anew(resident);
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
            Body::Written { address } => {
                let at = address.0 / PAGE;
                let page = self.resident.get(&at).copied();
                if page.is_some_and(|page| page.inherited && page.member == RssCounter::Anon) {
                    let fresh = self.fresh(RssCounter::Anon, stack);
                    self.resident.insert(at, fresh);
                }
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
                    let who = (tid, stack, in_allocator);
                    self.in_call(member, size.0, who, address.0, syscall);
                } else {
                    let fault = (address.0, error_code);
                    self.resident(next, member, size.0, cause, fault, stack);
                }
                if cause != Cause::End {
                    self.count_gone();
                }
            }
            _ => {}
        }
    }

    fn handed_out(&mut self, next: &mut u64, address: Address, size: Bytes, stack: u64) {
        *next += 1;
        let (size, born) = (size.0, *next);
        self.blocks.insert(address.0, Block { size, stack, born });
    }
}
