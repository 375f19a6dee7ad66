//! What the numbers in records stand for.

#[cfg(doc)]
use crate::{
    Advise, Alloc, Began, End, Fork, Free, Header, MAX_FRAMES, Map, Range, Realloc, Remap,
    Resident, Returned, Stack,
};

/// What an event says. The number is [`Header::kind`].
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`Stack`]: frames of a stack id, sent before the first event that names it.
    Stack = 1,
    /// [`Alloc`]: the outermost call of the malloc family returned a block.
    Alloc = 2,
    /// [`Free`]: `free` was entered with a block.
    Free = 3,
    /// [`Realloc`]: `realloc` or `reallocarray` was entered with a live block.
    ReallocEnter = 4,
    /// [`Alloc`]: it returned; address 0 means it failed or freed the block.
    ReallocExit = 5,
    /// [`Map`]: `mmap` returned a mapping.
    Map = 6,
    /// [`Range`]: `munmap` was entered.
    Unmap = 7,
    /// [`Remap`]: `mremap` was entered.
    RemapEnter = 8,
    /// [`Range`]: it returned; address 0 means it failed.
    RemapExit = 9,
    /// [`Range`]: `brk` returned; address is the break, length 0.
    Break = 10,
    /// [`Advise`]: `madvise` was entered.
    Advise = 11,
    /// [`Range`]: `shmat` returned; length is the segment id.
    ShmAttach = 12,
    /// [`Range`]: `shmdt` was entered; length 0.
    ShmDetach = 13,
    /// [`Returned`]: a memory system call returned; where it failed, the thread's last
    /// `Unmap`, `Advise` or `ShmDetach` did not happen.
    Returned = 14,
    /// [`Resident`]: a counter of the process's resident memory changed.
    Resident = 15,
    /// [`Fork`]: a new process.
    Fork = 16,
    /// [`End`]: the process's image was replaced; the counts are the old image's.
    /// A launched command begins with one whose counts are 0.
    Exec = 17,
    /// [`End`]: the process ended.
    Exit = 18,
    /// [`Began`]: the image that an exec made is in place.
    Began = 19,
    /// User space began to read which pages of the process are present. This one and
    /// those that follow are user space's own: no program sends them.
    CheckBegin = 20,
    /// It found a run of pages present.
    Present = 21,
    /// It has told all of them.
    CheckEnd = 22,
    /// What the command had used when it was waited for.
    Usage = 23,
    /// [`Range`]: a page that is there was written to, in a process that a fork gave its memory:
    /// it is copied, which moves no counter. Sent before it is; length 0.
    Written = 24,
}

/// Number of event kinds, plus one: the width of a row of the loss table.
pub const KINDS: u32 = 25;

/// Function of the malloc family that an [`Alloc`] came through.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// `malloc`
    Malloc = 1,
    /// `calloc`
    Calloc = 2,
    /// `realloc`
    Realloc = 3,
    /// `reallocarray`
    ReallocArray = 4,
    /// `posix_memalign`
    PosixMemalign = 5,
    /// `aligned_alloc`
    AlignedAlloc = 6,
    /// `memalign`
    Memalign = 7,
    /// `valloc`
    Valloc = 8,
    /// `pvalloc`
    Pvalloc = 9,
    /// `free`
    Free = 10,
}

/// Counter of resident memory, as in the kernel's `enum` (mm_types_task.h).
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Member {
    /// `MM_FILEPAGES`
    File = 0,
    /// `MM_ANONPAGES`
    Anon = 1,
    /// `MM_SWAPENTS` (not resident)
    Swap = 2,
    /// `MM_SHMEMPAGES`
    Shmem = 3,
    /// None of these, but `mm_struct.hugetlb_usage`: huge pages of hugetlbfs, which the
    /// kernel leaves out of resident memory.
    HugeTlb = 4,
}

/// What the thread that changed a counter was doing.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A fault in user mode at [`Resident::address`].
    UserFault = 1,
    /// A fault in kernel mode (say `read` into fresh memory), likewise.
    KernelFault = 2,
    /// A system call without a fault; [`Resident::syscall`] says which.
    Syscall = 3,
    /// Another process: a debugger, or one that reclaims for itself.
    Remote = 4,
    /// Exec or exit.
    End = 5,
    /// A thread of the kernel: reclaim, khugepaged.
    Kernel = 6,
}

/// How a stack walk ended.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackEnd {
    /// At the entry of the process or thread.
    Complete = 1,
    /// More than [`MAX_FRAMES`] frames.
    Cut = 2,
    /// The chain of frame pointers ended: nothing says whether it was whole.
    FramePointers = 3,
    /// No unwind table covers an address.
    NoTable = 4,
    /// The stack could not be read.
    Unreadable = 5,
    /// The table has a rule that the program can't follow.
    Unsupported = 6,
    /// No frame at all.
    Empty = 7,
    /// The stack goes on beyond what was copied of it.
    CopyEnds = 8,
}

/// Why something is missing. Losses are counted in the map `LOSSES`, a per-CPU
/// array indexed by `cause * KINDS + kind`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The ring buffer was full.
    RingFull = 0,
    /// The table of threads was full: the call could not be followed.
    ThreadsFull = 1,
    /// A call of the malloc family never returned (a longjmp, a killed thread).
    NoReturn = 2,
    /// A system call of the 32-bit ABI, which is not followed.
    Compat = 3,
    /// A pointer the program passed could not be read (posix_memalign's result).
    Unreadable = 4,
    /// The table of processes was full.
    ProcessesFull = 5,
    /// No room for a stack: every scratch buffer of the CPU was taken, or there
    /// was no memory for one more thread.
    NoScratch = 6,
}

/// Number of loss causes.
pub const LOSSES: u32 = 7;

impl Kind {
    /// Every one, by its number.
    pub const ALL: [Self; 24] = [
        Self::Stack,
        Self::Alloc,
        Self::Free,
        Self::ReallocEnter,
        Self::ReallocExit,
        Self::Map,
        Self::Unmap,
        Self::RemapEnter,
        Self::RemapExit,
        Self::Break,
        Self::Advise,
        Self::ShmAttach,
        Self::ShmDetach,
        Self::Returned,
        Self::Resident,
        Self::Fork,
        Self::Exec,
        Self::Exit,
        Self::Began,
        Self::CheckBegin,
        Self::Present,
        Self::CheckEnd,
        Self::Usage,
        Self::Written,
    ];

    /// The one of that number, if there is.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }
}

impl Function {
    /// Every one, by its number.
    pub const ALL: [Self; 10] = [
        Self::Malloc,
        Self::Calloc,
        Self::Realloc,
        Self::ReallocArray,
        Self::PosixMemalign,
        Self::AlignedAlloc,
        Self::Memalign,
        Self::Valloc,
        Self::Pvalloc,
        Self::Free,
    ];

    /// The one of that number, if there is.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }
}

impl Member {
    /// Every one, by its number.
    pub const ALL: [Self; 5] = [
        Self::File,
        Self::Anon,
        Self::Swap,
        Self::Shmem,
        Self::HugeTlb,
    ];

    /// The one of that number, if there is.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }
}

impl Cause {
    /// Every one, by its number.
    pub const ALL: [Self; 6] = [
        Self::UserFault,
        Self::KernelFault,
        Self::Syscall,
        Self::Remote,
        Self::End,
        Self::Kernel,
    ];

    /// The one of that number, if there is.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }
}

impl StackEnd {
    /// Every one, by its number.
    pub const ALL: [Self; 8] = [
        Self::Complete,
        Self::Cut,
        Self::FramePointers,
        Self::NoTable,
        Self::Unreadable,
        Self::Unsupported,
        Self::Empty,
        Self::CopyEnds,
    ];

    /// The one of that number, if there is.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }
}

impl Loss {
    /// Every one, by its number.
    pub const ALL: [Self; 7] = [
        Self::RingFull,
        Self::ThreadsFull,
        Self::NoReturn,
        Self::Compat,
        Self::Unreadable,
        Self::ProcessesFull,
        Self::NoScratch,
    ];

    /// The one of that number, if there is.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }
}
