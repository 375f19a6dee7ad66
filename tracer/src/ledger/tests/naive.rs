//! A ledger too simple to be wrong: a record for every page, one for every block, and at
//! every new maximum a copy of everything.

mod events;
mod image;
mod pages;

use self::image::{Absence, Image};
use super::PAGE;
use crate::events::{Body, Event, RssCounter};
use crate::ledger::account::Reserver;
use std::collections::BTreeMap;

/// System calls by their numbers, and `MADV_POPULATE_WRITE`.
pub(super) const MADVISE: u16 = 28;
pub(super) const POPULATE: u32 = 23;

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
    now: u64,
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
    at: u64,
    images: BTreeMap<u32, Image>,
}

impl Peak {
    /// It has become known that pages had gone before.
    fn correct(&mut self, absences: &[Absence]) {
        for absence in absences.iter().filter(|absence| absence.from <= self.at) {
            let mut images = self.images.values_mut();
            if let Some(image) = images.find(|image| image.id == absence.image) {
                image.forget(absence.page);
            }
        }
    }

    fn raise(&mut self, total: u64, at: u64, images: &BTreeMap<u32, Image>) {
        if total > self.total {
            *self = Self {
                total,
                at,
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
        self.now += 1;
        match event.body {
            Body::Fork {
                child,
                shares_memory,
            } => {
                let owner = self.owner(pid);
                let id = self.now;
                let parent = self.images.entry(owner).or_default();
                if shares_memory {
                    self.owners.insert(child.0, owner);
                } else {
                    let copy = parent.fork();
                    self.images.insert(child.0, Image { id, ..copy });
                }
            }
            Body::Exec { .. } => {
                self.owners.remove(&pid);
                let id = self.now;
                let new = Image {
                    id,
                    ..Image::default()
                };
                self.images.insert(pid, new);
            }
            Body::Exit { .. } => {
                self.owners.remove(&pid);
                self.images.remove(&pid);
            }
            ref body => {
                let owner = self.owner(pid);
                let next = &mut self.next_mapping;
                let id = self.now;
                let new = || Image {
                    id,
                    ..Image::default()
                };
                let image = self.images.entry(owner).or_insert_with(new);
                image.now = self.now;
                image.apply(next, tid, stack, event.in_allocator, body);
                let absences = std::mem::take(&mut image.absences);
                self.reserved_peak.correct(&absences);
                self.resident_peak.correct(&absences);
            }
        }
        let reserved = self.images.values().map(Image::reserved).sum();
        let resident = self.images.values().map(Image::kernel).sum();
        self.reserved_peak.raise(reserved, self.now, &self.images);
        self.resident_peak.raise(resident, self.now, &self.images);
    }

    /// What the peak of the reserved and that of the resident total look like.
    pub(super) fn pictures(&self) -> [Picture; 2] {
        [self.reserved_peak.picture(), self.resident_peak.picture()]
    }

    fn owner(&self, pid: u32) -> u32 {
        self.owners.get(&pid).copied().unwrap_or(pid)
    }

    /// The kernel's count of a process, to be moved on.
    pub(super) fn count(&self, pid: u32, member: RssCounter) -> u64 {
        self.images
            .get(&self.owner(pid))
            .and_then(|image| image.counts.get(&(member as u16)))
            .copied()
            .unwrap_or(0)
    }
}
