//! Atomic operations of the BPF instruction set (kernel:
//! Documentation/bpf/standardization/instruction-set.rst, "Atomic operations").

use core::arch::asm;

/// Adds to a word of memory.
///
/// # Safety
///
/// `word` must be valid for writes.
#[inline(always)]
pub(crate) unsafe fn add(word: *mut u64, value: u64) {
    // SAFETY: one atomic addition to a word that the caller vouches for.
    unsafe {
        asm!("lock *(u64 *)({word} + 0) += {value}", word = in(reg) word, value = in(reg) value)
    };
}

/// Replaces half a word of memory and returns what was there. From Linux 5.12 on.
///
/// # Safety
///
/// `half` must be valid for reads and writes.
#[inline(always)]
pub(crate) unsafe fn swap_half(half: *mut u32, value: u32) -> u32 {
    let mut value = value;
    // SAFETY: one atomic exchange with half a word that the caller vouches for.
    unsafe {
        asm!("{value} = xchg32_32({half} + 0, {value})", half = in(reg) half, value = inout(wreg) value)
    };
    value
}

/// Replaces a word of memory and returns what was there. From Linux 5.12 on.
///
/// # Safety
///
/// `word` must be valid for reads and writes.
#[inline(always)]
pub(crate) unsafe fn swap(word: *mut u64, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: one atomic exchange with a word that the caller vouches for.
    unsafe {
        asm!("{value} = xchg_64({word} + 0, {value})", word = in(reg) word, value = inout(reg) value)
    };
    value
}
