//! The records that perf events write (perf_event_open(2)).

use crate::events::Module;
use crate::files::{BuildId, FileId, Identity};
use crate::units::{Address, Bytes, Nanos, Pid};
use aya_obj::generated as abi;

/// What stands at the end of every record: process, thread, time.
pub(super) const MODULE_RECORDS: u64 = abi::perf_event_sample_format::PERF_SAMPLE_TID as u64
    | abi::perf_event_sample_format::PERF_SAMPLE_TIME as u64;
/// Its length.
const TRAILER: usize = 16;
/// `header.misc` of a comm record: it is an exec.
const MISC_COMM_EXEC: u16 = 1 << 13;
/// `header.misc` of a mapping: a build-id in place of device and inode.
const MISC_MMAP_BUILD_ID: u16 = 1 << 14;
/// Longest build-id that the kernel passes on.
const BUILD_ID: usize = 20;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Something was mapped executable.
    Mapped(Module),
    /// A process (not just a thread) was made.
    Forked {
        /// When.
        time: Nanos,
        /// By whom.
        parent: Pid,
        /// The new one.
        child: Pid,
    },
    /// A process executes another program.
    Executed {
        /// When: before anything of the new program is mapped.
        time: Nanos,
        /// Which process.
        pid: Pid,
    },
    /// A process ended, or the kernel ends its records.
    Exited {
        /// When.
        time: Nanos,
        /// Which.
        pid: Pid,
    },
    /// Records are missing.
    Lost {
        /// How many.
        count: u64,
    },
}

impl Record {
    /// Reads a record; nothing if it is of no interest, or too short.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let kind = word(bytes, 0)?;
        let misc = (word(bytes, 4)? & 0xffff) as u16;
        let time = Nanos(long(bytes, bytes.len().checked_sub(8)?)?);
        let pid = |at| word(bytes, at).map(Pid);
        match kind {
            k if k == abi::perf_event_type::PERF_RECORD_MMAP2 as u32 => {
                mapped(bytes, misc, time).map(Self::Mapped)
            }
            k if k == abi::perf_event_type::PERF_RECORD_LOST as u32 => Some(Self::Lost {
                count: long(bytes, 16)?,
            }),
            k if k == abi::perf_event_type::PERF_RECORD_FORK as u32 => {
                let (child, parent) = (pid(8)?, pid(12)?);
                (child != parent).then_some(Self::Forked {
                    time,
                    parent,
                    child,
                })
            }
            k if k == abi::perf_event_type::PERF_RECORD_COMM as u32 => {
                let pid = pid(8)?;
                (misc & MISC_COMM_EXEC != 0).then_some(Self::Executed { time, pid })
            }
            k if k == abi::perf_event_type::PERF_RECORD_EXIT as u32 => {
                // Of all the threads, the one whose id is the process's counts.
                let (pid, thread) = (pid(8)?, pid(16)?);
                (pid == thread).then_some(Self::Exited { time, pid })
            }
            _ => None,
        }
    }

    /// When, to put records of several processors in order.
    pub(super) fn time(&self) -> Nanos {
        match self {
            Self::Mapped(module) => module.time,
            Self::Forked { time, .. } | Self::Executed { time, .. } => *time,
            // After all that may belong to it.
            Self::Exited { .. } | Self::Lost { .. } => Nanos(u64::MAX),
        }
    }
}

fn mapped(bytes: &[u8], misc: u16, time: Nanos) -> Option<Module> {
    let path = bytes.get(72..bytes.len().checked_sub(TRAILER)?)?;
    let path = path.split(|&byte| byte == 0).next()?;
    let mut module = Module {
        pid: Pid(word(bytes, 8)?),
        time,
        address: Address(long(bytes, 16)?),
        length: Bytes(long(bytes, 24)?),
        offset: long(bytes, 32)?,
        path: String::from_utf8_lossy(path).into_owned(),
        identity: Identity::default(),
    };
    if misc & MISC_MMAP_BUILD_ID != 0 {
        let length = usize::from(*bytes.get(40)?).min(BUILD_ID);
        module.identity.build_id = BuildId::of(bytes.get(44..44 + length)?);
    } else {
        let inode = long(bytes, 48)?;
        let device = libc::makedev(word(bytes, 40)?, word(bytes, 44)?);
        module.identity.file = (inode != 0).then_some(FileId { device, inode });
    }
    Some(module)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_record_is_survived(
            kind in 0_u8..24,
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..160),
        ) {
            let mut bytes = bytes;
            if let Some(first) = bytes.get_mut(..4) {
                first.copy_from_slice(&u32::from(kind).to_le_bytes());
            }
            Record::parse(&bytes);
        }
    }
}
