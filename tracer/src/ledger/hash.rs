//! Hashing of addresses and ids that a traced program may choose.
//!
//! A program can pick addresses (its own allocator, MAP_FIXED), and a recording
//! may come from anywhere: with a fixed hash it could make all keys collide and
//! every look-up linear. SipHash would cost more than the ledger does otherwise.
//! This is the folded multiply of wyhash and foldhash, keyed at random for each
//! run: not cryptographic, but without the key collisions can't be precomputed.
//! Nothing that is reported depends on the order of a map.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A map with keys of at most eight bytes.
pub(super) type Map<K, V> = HashMap<K, V, Keyed>;

/// The keys of this run's hash functions.
#[derive(Clone, Debug)]
pub(super) struct Keyed([u64; 2]);

impl Default for Keyed {
    fn default() -> Self {
        let random = RandomState::new();
        // Odd, so that the multiplication loses nothing.
        Self([random.hash_one(0), random.hash_one(1) | 1])
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded {
            state: self.0[0],
            key: self.0[1],
        }
    }
}

/// One hash under way.
pub(super) struct Folded {
    state: u64,
    key: u64,
}

impl Hasher for Folded {
    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.state ^ value) * u128::from(self.key);
        self.state = (product as u64) ^ ((product >> 64) as u64);
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn finish(&self) -> u64 {
        self.state
    }
}
