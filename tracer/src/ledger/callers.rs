//! Which threads have called the malloc family: one that has not has no arena yet.

use super::hash::Map;
use crate::units::Tid;

/// Threads whose only call was a `free`, at most: of more the last are known.
const FIRST_FREES: usize = 64;

/// Threads that are found without a look-up.
const RECENT: usize = 64;

/// Threads by the last digits of their numbers; 0 is none.
#[derive(Clone, Debug)]
struct Recent([Tid; RECENT]);

impl Default for Recent {
    fn default() -> Self {
        Self([Tid(0); RECENT])
    }
}

/// The threads of one process image.
#[derive(Clone, Debug, Default)]
pub(super) struct Callers {
    known: Map<Tid, ()>,
    /// Some of the known ones, each at its number's last digits: who calls often costs no look-up.
    recent: Recent,
    /// Whose only call so far is a `free`.
    first_frees: Vec<Tid>,
}

impl Callers {
    /// A thread asks for a block, or resizes one: `known' = known ∪ {thread}`,
    /// `first_frees' = first_frees \ {thread}`.
    pub(super) fn allocates(&mut self, thread: Tid) {
        self.call(thread);
    }

    /// A thread frees. If that is its first call: `first_frees' = first_frees ∪ {thread}`;
    /// otherwise as [`allocates`](Self::allocates).
    pub(super) fn frees(&mut self, thread: Tid) {
        if self.call(thread) {
            if self.first_frees.len() == FIRST_FREES {
                self.first_frees.remove(0);
            }
            self.first_frees.push(thread);
        }
    }

    /// Whether it is its first call.
    #[inline]
    fn call(&mut self, thread: Tid) -> bool {
        let recent = self.recent.0[thread.0 as usize % RECENT];
        if recent == thread && self.first_frees.is_empty() {
            return false;
        }
        self.rare_call(thread)
    }

    #[cold]
    fn rare_call(&mut self, thread: Tid) -> bool {
        self.first_frees.retain(|&other| other != thread);
        self.recent.0[thread.0 as usize % RECENT] = thread;
        self.known.insert(thread, ()).is_none()
    }

    /// Whether the thread may still be in its first call, and that is a `free`.
    pub(super) fn is_in_first_free(&self, thread: Tid) -> bool {
        self.first_frees.contains(&thread)
    }
}
