//! Whether no event tells which pages a change of a counter brought or took.
//!
//! The ledger follows few calls: those that name what they take away or bring. Pages come and go
//! in all others too, and in any call or fault the kernel may reclaim some of the process's own.

use crate::events::{Body, Cause, Event, Member};
use crate::units::{Bytes, Tid};

/// Of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl).
mod number {
    pub(super) const MMAP: u16 = 9;
    pub(super) const MUNMAP: u16 = 11;
    pub(super) const BRK: u16 = 12;
    pub(super) const MREMAP: u16 = 25;
    pub(super) const MADVISE: u16 = 28;
    pub(super) const SHMAT: u16 = 30;
    pub(super) const EXECVE: u16 = 59;
    pub(super) const SHMDT: u16 = 67;
    pub(super) const EXECVEAT: u16 = 322;
    /// readv, writev, vmsplice, preadv, pwritev, preadv2, pwritev2
    pub(super) const VECTORS: [u16; 7] = [19, 20, 278, 295, 296, 327, 328];
}

/// `MADV_DONTNEED_LOCKED` (mman-common.h).
const DONTNEED_LOCKED: u32 = 24;

/// x86 page-fault error code: the page was present, and it was a write.
const WRITE_TO_PRESENT: u16 = 3;

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
            syscall,
            ..
        } = event.body
        else {
            return false;
        };
        if matches!(member, Member::Swap | Member::HugeTlb) || size == before {
            return false;
        }
        match cause {
            Cause::Remote | Cause::Kernel => true,
            Cause::End => false,
            Cause::UserFault | Cause::KernelFault if size > before => {
                // The ledger guesses where the others of a medium huge page lie.
                self.medium_pages && member == Member::Anon && MEDIUM.contains(&(size - before))
            }
            // The thread itself reclaims. But a page of a file goes where a copy of it comes.
            Cause::UserFault | Cause::KernelFault => {
                member == Member::Anon || error_code & WRITE_TO_PRESENT != WRITE_TO_PRESENT
            }
            Cause::Syscall if size > before => self.came(event.tid, address.0, syscall),
            Cause::Syscall => self.went(event.tid, syscall),
        }
    }

    /// Pages came in a call. Where one has said where it works, they came there.
    fn came(&mut self, thread: Tid, address: u64, syscall: u16) -> bool {
        match syscall {
            number::MMAP | number::BRK | number::MREMAP | number::SHMAT => {
                self.populating = Some(thread);
                false
            }
            number::MADVISE => false,
            _ => address == 0 || number::VECTORS.contains(&syscall),
        }
    }

    /// Pages went in a call.
    fn went(&self, thread: Tid, syscall: u16) -> bool {
        match syscall {
            number::MUNMAP | number::SHMDT | number::EXECVE | number::EXECVEAT => false,
            number::MMAP | number::BRK | number::MREMAP | number::SHMAT => {
                self.populating == Some(thread)
            }
            number::MADVISE => !self.advice.is_some_and(|advice| {
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
