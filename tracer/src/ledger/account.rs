//! What the ledger concludes: plain data, keyed by stack ids, with no symbols.

pub use super::probe::Probe;
use crate::events::KernelCounts;
use crate::units::{Bytes, Nanos, Pid, StackId};

/// Who answers for resident bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reserver {
    /// The stack that allocated the block or made the mapping.
    Stack(StackId),
    /// Memory of the allocator that no live block covers; the stack grew the arena.
    Slack(StackId),
    /// The program and its libraries: what exec mapped and what the dynamic
    /// linker maps (private mappings of files with `MAP_DENYWRITE` or executable,
    /// and whatever is mapped over parts of them).
    Image,
    /// The first thread's stack, which the kernel makes. Those of other threads
    /// are direct mappings: the stack that created the thread answers for them.
    ThreadStack,
    /// What the kernel counted at addresses that no event explains.
    Unknown,
}

/// The four sums by stack that are kept at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackBytes {
    /// Live bytes that the stack reserved.
    pub reserved: Bytes,
    /// Resident bytes among them (the stack as reserver).
    pub resident: Bytes,
    /// Resident bytes that the stack touched first (the stack as toucher).
    pub touched: Bytes,
}

/// The state at a moment: a true maximum, not a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// When, or 0 when nothing was ever counted.
    pub at: Nanos,
    /// Reserved in all; the sum of `heap` and `mappings`.
    pub reserved: Bytes,
    /// Live blocks at their requested size.
    pub heap: Bytes,
    /// Live direct mappings: anonymous ones (`mmap`, `brk`) and shared ones of
    /// files and memfds, made outside of the allocator.
    pub mappings: Bytes,
    /// Live mappings that the allocator made to back blocks. Not in `reserved`.
    pub arenas: Bytes,
    /// Live private mappings of files, but for the image's. Not in `reserved`: they
    /// ask for a view, not for memory.
    pub files: Bytes,
    /// Resident in all, as the kernel counted: anon + file + shmem.
    pub resident: Bytes,
    /// The kernel's anon counter.
    pub anon: Bytes,
    /// The kernel's file counter.
    pub file: Bytes,
    /// The kernel's shmem counter.
    pub shmem: Bytes,
    /// By stack as reserver of address space. Sums to `reserved`.
    pub by_reserver: Vec<(StackId, Bytes)>,
    /// Resident bytes by reserver. Sums to `resident` with [`Reserver::Unknown`],
    /// unless `unexplained` is negative: then to that much more.
    pub resident_by_reserver: Vec<(Reserver, Bytes)>,
    /// Resident bytes by toucher, `StackId(0)` where unknown. The same sum.
    pub resident_by_toucher: Vec<(StackId, Bytes)>,
    /// The join of the two. The same sum.
    pub by_reserver_and_toucher: Vec<(Reserver, StackId, Bytes)>,
    /// Resident memory of arenas that no live block covers.
    pub slack: Bytes,
    /// The kernel's count less what pages with a known owner explain; negative
    /// where more was attributed than the kernel counts.
    pub unexplained: i64,
}

/// One stack over the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackTotals {
    /// Blocks and direct mappings that it made.
    pub calls: u64,
    /// Their bytes, summed over the run.
    pub bytes: Bytes,
    /// Pages that became resident at its touch, over the run.
    pub pages: u64,
    /// Page faults of its that moved a counter of resident memory.
    pub faults: u64,
    /// From the exception to that move, summed.
    pub fault_time: Nanos,
    /// Memory system calls that it made and that returned.
    pub mapping_calls: u64,
    /// From entry to return, summed.
    pub mapping_time: Nanos,
    /// Its blocks still live at the end of the process: bytes.
    pub leaked: Bytes,
    /// Likewise: how many.
    pub leaked_allocs: u64,
}

/// Memory system calls of one kind, over the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallTotals {
    /// How many returned.
    pub calls: u64,
    /// How many of them failed.
    pub failed: u64,
    /// From entry to return, summed over threads.
    pub time: Nanos,
}

/// Page faults that moved a counter of resident memory, over the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultTotals {
    /// Faults taken in user mode.
    pub user: u64,
    /// In kernel mode: `read` into fresh memory, say.
    pub kernel: u64,
    /// From the exception to the move of the counter, summed over threads.
    pub time: Nanos,
}

/// Huge pages of hugetlbfs, which are part of neither resident memory nor VmHWM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HugeTlbTotals {
    /// The highest sum over all processes of what the kernel counted. A forked child's are
    /// counted from its first own touch on.
    pub peak: Bytes,
    /// Bytes brought in over the run, by who mapped and who touched; `StackId(0)` where
    /// unknown. The largest first.
    pub brought: Vec<(StackId, StackId, Bytes)>,
}

/// Processor time of the command and of the children that it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time in user mode.
    pub user: Nanos,
    /// In the kernel, what the probes take there included.
    pub system: Nanos,
}

/// The address space of a process at its widest, in whole pages, by what it was for.
/// `kernel = heap + allocator + direct + stacks + files + libraries + program + unseen`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// VmPeak.
    pub kernel: Bytes,
    /// Live blocks at their requested size.
    pub heap: Bytes,
    /// What the allocator had mapped beyond them; negative where blocks lie in mappings
    /// that are not known to be the allocator's.
    pub allocator: i64,
    /// Direct mappings but for stacks.
    pub direct: Bytes,
    /// Stacks: the first thread's, and mappings made with `MAP_STACK`.
    pub stacks: Bytes,
    /// Private mappings of files.
    pub files: Bytes,
    /// What the dynamic linker mapped.
    pub libraries: Bytes,
    /// What exec mapped but for the stack: program, dynamic linker, vDSO.
    pub program: Bytes,
    /// What the kernel counted beside; negative where less.
    pub unseen: i64,
}

impl Space {
    /// Part by part; of several processes each at its own widest.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            kernel: self.kernel + other.kernel,
            heap: self.heap + other.heap,
            allocator: self.allocator.saturating_add(other.allocator),
            direct: self.direct + other.direct,
            stacks: self.stacks + other.stacks,
            files: self.files + other.files,
            libraries: self.libraries + other.libraries,
            program: self.program + other.program,
            unseen: self.unseen.saturating_add(other.unseen),
        }
    }
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessAccount {
    /// Process id.
    pub pid: Pid,
    /// Its parent, 0 for the root of the trace.
    pub parent: Pid,
    /// Since when; a number may be given to another process later.
    pub began: Nanos,
    /// Highest reserved total.
    pub reserved_peak: Bytes,
    /// Highest resident total.
    pub resident_peak: Bytes,
    /// Blocks and direct mappings that it made.
    pub allocs: u64,
    /// Highest sum of all its mappings that the ledger saw, in whole pages: to be
    /// held against the kernel's `virtual_peak`, which has the program, the first
    /// stack and the vDSO besides.
    pub mapped_peak: Bytes,
    /// The kernel's account: the largest over its images.
    pub kernel: KernelCounts,
    /// The same by what it was for, where the end of the process was seen.
    pub space: Space,
    /// Wait status, when it ended within the recording.
    pub status: Option<u32>,
}

/// A point of the timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Time of the sample.
    pub at: Nanos,
    /// Reserved in all.
    pub reserved: Bytes,
    /// The kernel's anon counter.
    pub anon: Bytes,
    /// The kernel's file counter.
    pub file: Bytes,
    /// The kernel's shmem counter.
    pub shmem: Bytes,
}

/// Events that contradict what the ledger knows, by cause: never hidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// A free of a block that was never seen (made before tracing began, or its event lost).
    pub unknown_frees: u64,
    /// A block handed out where one was still live (its free was lost).
    pub overlapping_allocs: u64,
    /// An event that makes no sense where it stands: an end without its beginning, a
    /// range that no program can have, a mapping where one should be gone.
    pub misplaced: u64,
}

/// Everything the reports need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// First and last event.
    pub began: Nanos,
    /// See `began`.
    pub ended: Nanos,
    /// At the highest reserved total.
    pub reserved_peak: Snapshot,
    /// At the highest resident total.
    pub resident_peak: Snapshot,
    /// By stack, over the run.
    pub stacks: Vec<(StackId, StackTotals)>,
    /// Events by stack and kind of probe, in order.
    pub stack_uses: Vec<(StackId, Probe, u64)>,
    /// Allocations: blocks and direct mappings.
    pub allocs: u64,
    /// Their bytes, summed over the run.
    pub alloc_bytes: Bytes,
    /// Blocks freed and mappings unmapped.
    pub frees: u64,
    /// Memory system calls by number.
    pub calls: Vec<(u16, CallTotals)>,
    /// Page faults.
    pub faults: FaultTotals,
    /// Huge pages of hugetlbfs.
    pub hugetlb: HugeTlbTotals,
    /// What the command used, where it was waited for.
    pub usage: Option<Usage>,
    /// Processes, in the order of their appearance.
    pub processes: Vec<ProcessAccount>,
    /// At most a few thousand points, peaks included.
    pub timeline: Vec<Point>,
    /// Contradictions.
    pub oddities: Oddities,
}

impl Account {
    /// The address spaces of all processes, each at its widest.
    #[must_use]
    pub fn space(&self) -> Space {
        let spaces = self.processes.iter().map(|process| process.space);
        spaces.fold(Space::default(), Space::plus)
    }
}

impl Snapshot {
    /// The largest entries first, ties by id, so that output is the same every time.
    pub fn sort(&mut self) {
        self.by_reserver
            .sort_by_key(|&(id, bytes)| (std::cmp::Reverse(bytes), id));
        self.resident_by_reserver
            .sort_by_key(|&(id, bytes)| (std::cmp::Reverse(bytes), id));
        self.resident_by_toucher
            .sort_by_key(|&(id, bytes)| (std::cmp::Reverse(bytes), id));
        self.by_reserver_and_toucher
            .sort_by_key(|&(a, b, bytes)| (std::cmp::Reverse(bytes), a, b));
    }
}
