//! The hash that stacks and address spaces are named by.

/// One round of a hash: multiply, and fold the high bits, which depend on all
/// others, into the low ones.
#[inline(always)]
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 29)
}
