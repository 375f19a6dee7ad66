//! The records that perf events write (perf_event_open(2)).

use crate::events::Module;
use crate::files::source::number;
use crate::files::{BuildId, FileId, Identity};
use crate::units::{Address, Bytes, Nanos, Pid};
use aya_obj::generated as abi;
use byteorder::NativeEndian;
use linux_perf_event_reader::{
    CommOrExecRecord, ForkOrExitRecord, LostRecord, Mmap2FileId, Mmap2Record, PerfEventHeader,
    RawData, RecordType,
};

/// What stands at the end of every record: process, thread, time.
pub(super) const MODULE_RECORDS: u64 = abi::perf_event_sample_format::PERF_SAMPLE_TID as u64
    | abi::perf_event_sample_format::PERF_SAMPLE_TIME as u64;
/// Its length.
const TRAILER: usize = 16;
/// `header.misc` of a mapping: a build-id in place of device and inode.
const MISC_MMAP_BUILD_ID: u16 = 1 << 14;
/// Where such a mapping has the length of its build-id, behind the header.
const BUILD_ID_LENGTH: usize = 32;
/// Longest build-id that the kernel passes on.
const BUILD_ID: u8 = 20;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Something was mapped executable.
    Mapped(Module),
    /// A process (not just a thread) was made.
    Forked {
        /// Time at which it happened.
        time: Nanos,
        /// Process that made it.
        parent: Pid,
        /// Process that was made.
        child: Pid,
    },
    /// A process executes another program.
    Executed {
        /// When: before anything of the new program is mapped.
        time: Nanos,
        /// The process.
        pid: Pid,
    },
    /// A process ended, or the kernel ends its records.
    Exited {
        /// Time at which it happened.
        time: Nanos,
        /// The process.
        pid: Pid,
    },
    /// Records are missing.
    Lost {
        /// Number of records that are missing.
        count: u64,
    },
}

impl Record {
    /// Reads a record; nothing if it is of no interest, or too short.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(PerfEventHeader::STRUCT_SIZE)?;
        let header = PerfEventHeader::parse::<_, NativeEndian>(header).ok()?;
        let (data, trailer) = rest.split_at_checked(rest.len().checked_sub(TRAILER)?)?;
        let time = Nanos(number::<8>(trailer, 8)?);
        let data = RawData::from(data);
        let pid = |pid: i32| Pid(pid as u32);
        match RecordType(header.type_) {
            RecordType::MMAP2 => mapped(data, header.misc, time).map(Self::Mapped),
            RecordType::LOST => {
                let lost = LostRecord::parse::<NativeEndian>(data).ok()?;
                Some(Self::Lost { count: lost.count })
            }
            RecordType::FORK => {
                let fork = ForkOrExitRecord::parse::<NativeEndian>(data).ok()?;
                let (child, parent) = (pid(fork.pid), pid(fork.ppid));
                (child != parent).then_some(Self::Forked {
                    time,
                    parent,
                    child,
                })
            }
            RecordType::COMM => {
                let comm = CommOrExecRecord::parse::<NativeEndian>(data, header.misc).ok()?;
                let pid = pid(comm.pid);
                comm.is_execve.then_some(Self::Executed { time, pid })
            }
            RecordType::EXIT => {
                // Of all the threads, the one whose id is the process's counts.
                let exit = ForkOrExitRecord::parse::<NativeEndian>(data).ok()?;
                let pid = pid(exit.pid);
                (exit.pid == exit.tid).then_some(Self::Exited { time, pid })
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

fn mapped(data: RawData<'_>, misc: u16, time: Nanos) -> Option<Module> {
    // The library takes the kernel's word for it that no build-id is longer.
    if misc & MISC_MMAP_BUILD_ID != 0 && data.as_slice().get(BUILD_ID_LENGTH)? > &BUILD_ID {
        return None;
    }
    let record = Mmap2Record::parse::<NativeEndian>(data, misc).ok()?;
    let mut identity = Identity::default();
    match record.file_id {
        Mmap2FileId::BuildId(id) => identity.build_id = BuildId::of(&id),
        Mmap2FileId::InodeAndVersion(found) => {
            let device = libc::makedev(found.major, found.minor);
            let inode = found.inode;
            identity.file = (inode != 0).then_some(FileId { device, inode });
        }
    }
    Some(Module {
        pid: Pid(record.pid as u32),
        time,
        address: Address(record.address),
        length: Bytes(record.length),
        offset: record.page_offset,
        path: String::from_utf8_lossy(&record.path.as_slice()).into_owned(),
        identity,
    })
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
