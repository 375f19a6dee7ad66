//! The buffer that a perf event writes to (perf_event_open(2), "MMAP layout").

use aya_obj::generated::perf_event_mmap_page;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of records that fit in: some 2,000 mappings.
const BYTES: usize = 256 << 10;
/// Bytes of `perf_event_header`.
const HEADER: usize = 8;

/// The buffer of one processor.
#[derive(Debug)]
pub(super) struct Ring {
    /// The processor.
    pub(super) cpu: i32,
    event: OwnedFd,
    /// The control page; the records follow it.
    page: NonNull<perf_event_mmap_page>,
    page_bytes: usize,
    record: Vec<u8>,
}

// SAFETY: the mapping belongs to this value alone, and may be used and unmapped
// by any thread.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps an event's buffer.
    pub(super) fn new(event: OwnedFd, cpu: i32) -> io::Result<Self> {
        // SAFETY: no pointers.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                page_bytes + BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(address.cast()) {
            Some(page) if address != libc::MAP_FAILED => Ok(Self {
                cpu,
                event,
                page,
                page_bytes,
                record: Vec::new(),
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Hands out every record that is complete, and frees its room.
    pub(super) fn drain(&mut self, mut sink: impl FnMut(&[u8])) {
        let page = self.page.as_ptr();
        // SAFETY: both counters lie in the control page, which is mapped as long
        // as `self` lives; the kernel accesses them atomically too.
        let (head, tail) = unsafe {
            (
                AtomicU64::from_ptr(&raw mut (*page).data_head),
                AtomicU64::from_ptr(&raw mut (*page).data_tail),
            )
        };
        // Acquire: records up to the head are to be seen; release: they have been.
        let end = head.load(Ordering::Acquire);
        let mut at = tail.load(Ordering::Relaxed);
        while at < end {
            let mut header = [0; HEADER];
            self.copy(at, &mut header);
            let size = usize::from(u16::from_le_bytes([header[6], header[7]]));
            if size < HEADER || at + size as u64 > end {
                // Never seen; what follows can't be found any more.
                at = end;
                break;
            }
            let mut record = std::mem::take(&mut self.record);
            record.resize(size, 0);
            self.copy(at, &mut record);
            sink(&record);
            self.record = record;
            at += size as u64;
        }
        tail.store(at, Ordering::Release);
    }

    /// Copies from a position, around the end of the buffer if need be.
    fn copy(&self, at: u64, to: &mut [u8]) {
        let start = (at % BYTES as u64) as usize;
        let first = to.len().min(BYTES - start);
        // SAFETY: the records' area of BYTES bytes follows the control page; both
        // parts lie in it, and the kernel does not write there before the tail moves.
        unsafe {
            let data = self.page.as_ptr().cast::<u8>().add(self.page_bytes);
            ptr::copy_nonoverlapping(data.add(start), to.as_mut_ptr(), first);
            let rest = to.len() - first;
            ptr::copy_nonoverlapping(data, to.as_mut_ptr().add(first), rest);
        }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made; nothing refers to it any more.
        unsafe { libc::munmap(self.page.as_ptr().cast(), self.page_bytes + BYTES) };
    }
}
