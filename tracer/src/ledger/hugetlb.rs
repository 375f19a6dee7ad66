//! Huge pages of hugetlbfs. The kernel has them in a pool and a counter of their own
//! (`HugetlbPages`), not in resident memory: so they are told of apart.

use super::account::HugeTlbTotals;
use super::hash::Map;
use super::image::Image;
use super::stacks::{StackIndex, Stacks};
use crate::events::{Body, RssCounter};
use crate::units::{Bytes, StackId};

/// Over the run, all processes together.
#[derive(Debug, Default)]
pub(super) struct HugeTlb {
    peak: u64,
    /// Bytes brought in, by who mapped and who touched.
    brought: Map<u64, u64>,
}

impl HugeTlb {
    /// What an event brought in, before the image counts it.
    pub(super) fn add(&mut self, image: &Image, toucher: StackIndex, body: &Body) {
        let &Body::Resident {
            member: RssCounter::HugeTlb,
            size,
            address,
            ..
        } = body
        else {
            return;
        };
        let grown = size
            .0
            .saturating_sub(image.counts[RssCounter::HugeTlb as usize]);
        let piece = image.mappings.find(address);
        let reserver = piece.map_or(StackIndex(0), |piece| piece.stack);
        if grown > 0 {
            let bytes = self.brought.entry(key(reserver, toucher)).or_default();
            *bytes = bytes.saturating_add(grown);
        }
    }

    /// `peak' = max(peak, now)`
    pub(super) fn raise(&mut self, now: u64) {
        self.peak = self.peak.max(now);
    }

    /// With the stacks' ids, the largest first.
    pub(super) fn finish(self, stacks: &Stacks) -> HugeTlbTotals {
        let id = |index: u64| stacks.id(StackIndex(index as u32));
        let entry = |(key, bytes)| (id(key >> 32), id(key & u64::from(u32::MAX)), Bytes(bytes));
        let mut brought: Vec<(StackId, StackId, Bytes)> =
            self.brought.into_iter().map(entry).collect();
        brought.sort_unstable_by_key(|&(a, b, bytes)| (std::cmp::Reverse(bytes), a, b));
        HugeTlbTotals {
            peak: Bytes(self.peak),
            brought,
        }
    }
}

fn key(reserver: StackIndex, toucher: StackIndex) -> u64 {
    u64::from(reserver.0) << 32 | u64::from(toucher.0)
}
