//! Drains the ring buffer.

use super::decode::{Record, decode};
use aya::maps::{MapData, RingBuf};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// The reading end of the ring buffer.
pub struct Ring {
    ring: RingBuf<MapData>,
    wakeups: Epoll,
    malformed: u64,
}

impl Ring {
    pub(super) fn new(ring: RingBuf<MapData>) -> nix::Result<Self> {
        let wakeups = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // By edge: the buffer is readable as soon as one event is pending, but
        // wakes its reader only when much is.
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        wakeups.add(&ring, EpollEvent::new(flags, 0))?;
        Ok(Self {
            ring,
            wakeups,
            malformed: 0,
        })
    }

    /// Ends a wait also when there is news on another descriptor.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn also_wake_by(&self, descriptor: BorrowedFd<'_>) -> nix::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        self.wakeups.add(descriptor, EpollEvent::new(flags, 0))
    }

    /// Hands at most `limit` records to `sink`, in the order in which they were
    /// sent, and says how many that were. Fewer than `limit` means that the
    /// buffer is empty. Records that make no sense are counted, not handed on.
    pub fn drain(&mut self, limit: usize, mut sink: impl FnMut(Record)) -> usize {
        let mut taken = 0;
        while taken < limit {
            let Some(bytes) = self.ring.next() else {
                break;
            };
            match decode(&bytes) {
                Some(record) => sink(record),
                None => self.malformed += 1,
            }
            taken += 1;
        }
        taken
    }

    /// Waits until the programs announce that the buffer is a quarter full, another
    /// descriptor has news, or the time is over, whichever is first. They don't announce every event:
    /// call [`Self::drain`] in either case.
    ///
    /// # Errors
    /// What epoll_wait(2) says; a signal that arrives is no error.
    pub fn wait(&self, at_most: Duration) -> nix::Result<()> {
        let mut event = [EpollEvent::empty()];
        let at_most = EpollTimeout::try_from(at_most).unwrap_or(EpollTimeout::MAX);
        match self.wakeups.wait(&mut event, at_most) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Records that made no sense.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}
