//! A part of the stack, read at once.

/// Words in the window.
pub(super) const WORDS: usize = 128;

/// Words of the stack that were read together.
#[repr(C)]
pub(super) struct Window {
    /// Address of the first, or odd: nothing was read.
    pub(super) base: u64,
    /// The words.
    pub(super) words: [u64; WORDS],
    /// The word that was asked for last.
    pub(super) word: u64,
}

impl Window {
    /// Forgets what was read.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.base = u64::MAX;
    }
}
