//! The ABI between the BPF programs (`main.rs`) and user space: what the ring
//! buffer carries, what the maps hold, how losses are counted.
//!
//! Every struct is `repr(C)`, a multiple of eight bytes, with explicit padding
//! (the verifier refuses uninitialised bytes, and user space casts raw bytes).
//! All sizes are bytes, all times nanoseconds of `CLOCK_MONOTONIC`.
#![no_std]

pub mod arch;
mod config;
mod names;
mod records;
pub mod tables;

pub use config::{ABSENT, Config, stacks};
pub use names::{Cause, Function, KINDS, Kind, LOSSES, Loss, Named, RssCounter, StackEnd};
pub use records::{
    Advise, Alloc, Began, End, Fork, Free, Header, KernelCounts, Map, Mark, Range, Realloc, Remap,
    Resident, Returned, Segment, Stack, StackCopy, flags,
};

/// What the name of a file begins with that is none, but a mark.
pub const MARK: &[u8; 12] = b"tracer-mark:";

/// Frames a stack keeps at most; deeper ones keep the innermost and are marked
/// [`StackEnd::Cut`].
pub const MAX_FRAMES: usize = 512;

/// Bytes of a stack that are copied at most.
pub const MAX_COPY: usize = 64 << 10;

/// A stack is copied by pages of so many bytes.
pub const COPY_PAGE: usize = 4096;

/// Processes that can be traced at a time.
pub const MAX_PROCESSES: u32 = 8192;

/// Threads that can be traced at a time.
pub const MAX_THREADS: u32 = 32768;

/// Stacks that the kernel side remembers having sent; an older one that it
/// forgot is sent again.
pub const MAX_SENT_STACKS: u32 = 131_072;

/// Bytes of ring buffer when nothing else is asked for.
pub const RING_BYTES: u32 = 128 << 20;

/// What a process in the map `TARGETS` (key: pid, value: u32) is.
pub mod target {
    /// Launched and not yet executing the command: nothing is recorded.
    pub const WAITING: u32 = 1;
    /// Recorded.
    pub const ACTIVE: u32 = 2;
    /// Ending: its last event is being sent.
    pub const ENDED: u32 = 3;
}

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<Header>() == 32);
    assert!(size_of::<Alloc>() == 56);
    assert!(size_of::<Free>() == 40);
    assert!(size_of::<Realloc>() == 48);
    assert!(size_of::<Map>() == 72);
    assert!(size_of::<Range>() == 48);
    assert!(size_of::<Segment>() == 56);
    assert!(size_of::<Remap>() == 64);
    assert!(size_of::<Advise>() == 56);
    assert!(size_of::<Returned>() == 48);
    assert!(size_of::<Began>() == 48);
    assert!(size_of::<Resident>() == 64);
    assert!(size_of::<Fork>() == 40);
    assert!(size_of::<End>() == 64);
    assert!(size_of::<Stack>() == 40);
    assert!(size_of::<Config>() == 152);
    assert!(size_of::<StackCopy>() == 160);
    assert!(MAX_COPY / COPY_PAGE <= 64 && MAX_COPY.is_power_of_two());
};

#[cfg(test)]
mod tests {
    use super::*;

    /// By number, by name and by position, each value is found again.
    fn finds<T: Named + PartialEq + core::fmt::Debug>() {
        for (at, &one) in T::ALL.iter().enumerate() {
            assert_eq!(T::from_name(one.name()), Some(one));
            assert_eq!(one.index(), at);
        }
        assert_eq!(T::from_name(""), None);
    }

    #[test]
    fn names_and_numbers_find_their_variants() {
        finds::<Kind>();
        finds::<Function>();
        finds::<RssCounter>();
        finds::<Cause>();
        finds::<StackEnd>();
        finds::<Loss>();
        for &kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind as u16), Some(kind));
        }
        assert_eq!(Kind::from_number(0), None);
        assert_eq!(Kind::from_number(KINDS as u16), None);
        assert_eq!(Loss::from_number(LOSSES), None);
    }
}
