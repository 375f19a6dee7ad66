//! The two peaks, and the images that are needed to tell what was there.

use super::account::{Point, Snapshot};
use super::history::{Moment, Which};
use super::image::Image;
use super::reconcile::Balance;
use super::stacks::Stacks;
use super::timeline;
use super::totals::Sums;
use crate::units::{Bytes, Nanos};

/// A maximum.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peak {
    /// The event after which it was reached; 0 for none.
    pub(super) moment: Moment,
    pub(super) at: Nanos,
    pub(super) sums: Sums,
}

impl Peak {
    pub(super) fn point(&self) -> Point {
        timeline::point(self.at, &self.sums)
    }

    /// What all images together had then, by stack.
    pub(super) fn snapshot<'a>(
        &self,
        which: Which,
        images: impl Iterator<Item = &'a Image>,
        stacks: &Stacks,
    ) -> Snapshot {
        let sums = &self.sums;
        let mut snapshot = Snapshot {
            at: self.at,
            reserved: Bytes(sums.reserved()),
            heap: Bytes(sums.heap),
            mappings: Bytes(sums.mappings),
            arenas: Bytes(sums.arenas),
            files: Bytes(sums.files),
            resident: Bytes(sums.resident()),
            anon: Bytes(sums.anon),
            file: Bytes(sums.file),
            shmem: Bytes(sums.shmem),
            ..Snapshot::default()
        };
        let mut balance = Balance::default();
        for image in images {
            balance.add(image, which, self.moment);
        }
        balance.finish(stacks, &mut snapshot);
        snapshot
    }
}

/// Images that have ended, as long as one of the peaks was during their life.
#[derive(Debug, Default)]
pub(super) struct EndedImages {
    images: Vec<(Moment, Box<Image>)>,
    sweep_at: usize,
}

impl EndedImages {
    /// An image ended at `ended`.
    pub(super) fn keep(&mut self, ended: Moment, image: Box<Image>, peaks: &[Peak; 2]) {
        let needed = |ended: Moment, image: &Image| {
            peaks.iter().any(|peak| lived(image, ended, peak.moment))
        };
        if needed(ended, &image) {
            self.images.push((ended, image));
        }
        if self.images.len() > self.sweep_at {
            self.images.retain(|(ended, image)| needed(*ended, image));
            self.sweep_at = 2 * self.images.len() + 8;
        }
    }

    /// Those that were alive at a moment.
    pub(super) fn alive_at(&self, moment: Moment) -> impl Iterator<Item = &Image> {
        let alive = move |(ended, image): &&(Moment, Box<Image>)| lived(image, *ended, moment);
        self.images.iter().filter(alive).map(|(_, image)| &**image)
    }
}

/// Whether a moment falls into an image's life. The event that ends it is not part of it.
fn lived(image: &Image, ended: Moment, moment: Moment) -> bool {
    image.born <= moment && moment < ended
}
