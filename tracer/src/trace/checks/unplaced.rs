//! Whether no event tells which pages a change of a counter brought or took.
//!
//! The ledger follows few calls: those that name what they take away or bring. Pages come and go
//! in all others too, and in any call or fault the kernel may reclaim some of the process's own.

use crate::arch::fault::WRITE_TO_PRESENT;
use crate::arch::syscall;
use crate::events::{Body, Cause, Event, RssCounter};
use crate::units::{Bytes, Tid};

/// readv, writev and their like: they name buffers by a list.
const VECTORS: [u32; 7] = [
    syscall::READV,
    syscall::WRITEV,
    syscall::VMSPLICE,
    syscall::PREADV,
    syscall::PWRITEV,
    syscall::PREADV2,
    syscall::PWRITEV2,
];

/// `MADV_DONTNEED_LOCKED` (mman-common.h).
const DONTNEED_LOCKED: u32 = 24;

/// Bytes of a huge page that is smaller than 2 MiB (mTHP).
const MEDIUM: std::ops::RangeInclusive<u64> = 16 << 10..=1 << 20;

/// Whether this machine makes such pages of anonymous memory.
fn has_medium_pages() -> bool {
    const FOLDER: &str = "/sys/kernel/mm/transparent_hugepage";
    let sizes = std::fs::read_dir(FOLDER).into_iter().flatten().flatten();
    let on = |name: &str| {
        let size = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
        let setting = std::fs::read_to_string(format!("{FOLDER}/{name}/enabled")).ok()?;
        Some(size != "2048" && !setting.contains("[never]"))
    };
    sizes
        .filter_map(|size| on(size.file_name().to_str()?))
        .any(|on| on)
}

/// What the calls of a process, as far as they have been seen, say of changes to come.
pub(super) struct Calls {
    /// The last `madvise`.
    advice: Option<(Tid, u32)>,
    /// Who was last seen populating what it maps.
    populating: Option<Tid>,
    medium_pages: bool,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            advice: None,
            populating: None,
            medium_pages: has_medium_pages(),
        }
    }
}

impl Calls {
    /// A call began.
    pub(super) fn note(&mut self, event: &Event) {
        if let Body::Advise { advice, .. } = event.body {
            self.advice = Some((event.tid, advice));
        }
    }

    /// Whether a counter, which was at `before`, moved by pages of which no event tells.
    pub(super) fn is_unplaced(&mut self, event: &Event, before: u64) -> bool {
        let Body::Resident {
            member,
            size: Bytes(size),
            cause,
            address,
            error_code,
            syscall: number,
            ..
        } = event.body
        else {
            return false;
        };
        if matches!(member, RssCounter::Swap | RssCounter::HugeTlb) || size == before {
            return false;
        }
        match cause {
            Cause::Remote | Cause::Kernel => true,
            Cause::End => false,
            Cause::UserFault | Cause::KernelFault if size > before => {
                // The ledger guesses where the others of a medium huge page lie.
                self.medium_pages && member == RssCounter::Anon && MEDIUM.contains(&(size - before))
            }
            // The thread itself reclaims. But a page of a file goes where a copy of it comes.
            Cause::UserFault | Cause::KernelFault => {
                member == RssCounter::Anon
                    || u64::from(error_code) & WRITE_TO_PRESENT != WRITE_TO_PRESENT
            }
            Cause::Syscall if size > before => self.came(event.tid, address.0, number.into()),
            Cause::Syscall => self.went(event.tid, number.into()),
        }
    }

    /// Pages came in a call. Where one has said where it works, they came there.
    fn came(&mut self, thread: Tid, address: u64, number: u32) -> bool {
        match number {
            syscall::MMAP | syscall::BRK | syscall::MREMAP | syscall::SHMAT => {
                self.populating = Some(thread);
                false
            }
            syscall::MADVISE => false,
            _ => address == 0 || VECTORS.contains(&number),
        }
    }

    /// Pages went in a call.
    fn went(&self, thread: Tid, number: u32) -> bool {
        match number {
            syscall::MUNMAP | syscall::SHMDT | syscall::EXECVE | syscall::EXECVEAT => false,
            syscall::MMAP | syscall::BRK | syscall::MREMAP | syscall::SHMAT => {
                self.populating == Some(thread)
            }
            syscall::MADVISE => !self.advice.is_some_and(|advice| {
                let followed = [
                    libc::MADV_DONTNEED as u32,
                    libc::MADV_REMOVE as u32,
                    DONTNEED_LOCKED,
                ];
                advice.0 == thread && followed.contains(&advice.1)
            }),
            _ => true,
        }
    }
}
