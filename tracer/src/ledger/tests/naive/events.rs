//! What each event does to a process's memory.

use super::image::{Block, Image, Moving, Use};
use super::{PAGE, POPULATE};
use crate::events::{Body, Cause};
use crate::ledger::tests::PRIVATE;
use crate::units::{Address, Bytes};
use std::collections::BTreeMap;

impl Image {
    pub(super) fn apply(
        &mut self,
        next: &mut u64,
        tid: u32,
        stack: u64,
        in_allocator: bool,
        body: &Body,
    ) {
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

    fn handed_out(&mut self, next: &mut u64, address: Address, size: Bytes, stack: u64) {
        *next += 1;
        let (size, born) = (size.0, *next);
        self.blocks.insert(address.0, Block { size, stack, born });
    }
}
