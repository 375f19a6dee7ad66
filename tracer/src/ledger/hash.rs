//! Hashing of addresses and ids that a traced program may choose.
//!
//! A program can pick addresses (its own allocator, MAP_FIXED), and a recording may come from
//! anywhere: with a fixed hash it could make all keys collide and every look-up linear. SipHash
//! would cost more than the ledger does otherwise; foldhash is keyed at random for each run: not
//! cryptographic, but without the key collisions can't be computed beforehand. Nothing that is
//! reported depends on the order of a map.

/// A map with keys that a program may choose.
pub(super) type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
