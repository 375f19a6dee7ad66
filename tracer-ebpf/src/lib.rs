//! The ABI between the BPF programs (`main.rs`) and user space: what the ring
//! buffer carries, what the maps hold, how losses are counted.
//!
//! Every struct is `repr(C)`, a multiple of eight bytes, with explicit padding
//! (the verifier refuses uninitialised bytes, and user space casts raw bytes).
//! All sizes are bytes, all times nanoseconds of `CLOCK_MONOTONIC`.
#![no_std]

pub mod tables;

/// Frames a stack keeps at most; deeper ones keep the innermost and are marked
/// [`StackEnd::Cut`].
pub const MAX_FRAMES: usize = 256;

/// Processes that can be traced at a time.
pub const MAX_PROCESSES: u32 = 8192;

/// Threads that can be traced at a time.
pub const MAX_THREADS: u32 = 32768;

/// Stacks that the kernel side remembers having sent; an older one that it
/// forgot is sent again.
pub const MAX_SENT_STACKS: u32 = 131_072;

/// Bytes of ring buffer when nothing else is asked for.
pub const RING_BYTES: u32 = 128 << 20;

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
    /// [`Failed`]: the thread's last `Unmap`, `Advise` or `ShmDetach` failed.
    Failed = 14,
    /// [`Resident`]: a counter of the process's resident memory changed.
    Resident = 15,
    /// [`Fork`]: a new process.
    Fork = 16,
    /// [`End`]: the process's image was replaced; the counts are the old image's.
    /// A launched command begins with one whose counts are 0.
    Exec = 17,
    /// [`End`]: the process ended.
    Exit = 18,
}

/// Number of event kinds, plus one: the width of a row of the loss table.
pub const KINDS: u32 = 19;

/// What every event begins with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Header {
    /// A [`Kind`].
    pub kind: u16,
    /// Bits of [`flags`].
    pub flags: u16,
    /// Thread-group id, in the initial pid namespace.
    pub pid: u32,
    /// Thread id, likewise.
    pub tid: u32,
    /// Zero.
    pub _pad: u32,
    /// When the program ran.
    pub time_ns: u64,
    /// Stack that did it; 0 where none was taken.
    pub stack: u64,
}

/// Bits of [`Header::flags`].
pub mod flags {
    /// Inside a call of the malloc family: the allocator's own doing.
    pub const IN_ALLOCATOR: u16 = 1;
    /// The stack was wanted but could not be sent (counted as a loss).
    pub const STACK_LOST: u16 = 2;
}

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

/// A block handed out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Alloc {
    /// Header.
    pub header: Header,
    /// The block, or 0 (only in [`Kind::ReallocExit`]).
    pub address: u64,
    /// Requested size (calloc, reallocarray: the product).
    pub size: u64,
    /// A [`Function`].
    pub function: u32,
    /// Zero.
    pub _pad: u32,
}

/// A block given back.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Free {
    /// Header.
    pub header: Header,
    /// The block; never 0.
    pub address: u64,
}

/// A block about to be resized.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Realloc {
    /// Header.
    pub header: Header,
    /// The live block; never 0.
    pub address: u64,
    /// Requested size.
    pub size: u64,
}

/// A new mapping.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Map {
    /// Header.
    pub header: Header,
    /// Where it is.
    pub address: u64,
    /// Requested length, not rounded to pages.
    pub length: u64,
    /// Offset in the file.
    pub offset: u64,
    /// `PROT_*`
    pub prot: u32,
    /// `MAP_*`
    pub flags: u32,
    /// File descriptor or -1.
    pub fd: i32,
    /// Zero.
    pub _pad: u32,
}

/// An address range, or an address and a number; see [`Kind`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Range {
    /// Header.
    pub header: Header,
    /// Where it begins.
    pub address: u64,
    /// How long it is, not rounded to pages.
    pub length: u64,
}

/// A mapping about to move, grow or shrink.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Remap {
    /// Header.
    pub header: Header,
    /// Old address.
    pub address: u64,
    /// Old length (0: duplicate a shared mapping).
    pub length: u64,
    /// New length.
    pub new_length: u64,
    /// `MREMAP_*`
    pub flags: u64,
}

/// Advice about a range.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Advise {
    /// Header.
    pub header: Header,
    /// Where it begins.
    pub address: u64,
    /// How long it is.
    pub length: u64,
    /// `MADV_*`
    pub advice: u32,
    /// Zero.
    pub _pad: u32,
}

/// A system call that changed nothing after all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Failed {
    /// Header.
    pub header: Header,
    /// The [`Kind`] to take back.
    pub kind: u32,
    /// errno.
    pub errno: i32,
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
    /// Somebody else: reclaim, khugepaged, a debugger.
    Remote = 4,
    /// Exec or exit.
    End = 5,
}

/// A counter changed (`kmem:rss_stat`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Resident {
    /// Header; the stack is the toucher's where the cause is a fault.
    pub header: Header,
    /// Faulting address, or 0.
    pub address: u64,
    /// The kernel's count after the change, in bytes.
    pub size: u64,
    /// A [`Member`].
    pub member: u16,
    /// A [`Cause`].
    pub cause: u16,
    /// x86 page-fault error code (bit 1: a write).
    pub error_code: u16,
    /// Number of the system call that is under way, or `u16::MAX`.
    pub syscall: u16,
}

/// A new process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Fork {
    /// Header; the parent's.
    pub header: Header,
    /// Its process id.
    pub child: u32,
    /// 1 where the child runs in the parent's memory until it executes or ends
    /// (`CLONE_VM`: vfork, posix_spawn), 0 where it has a copy.
    pub shares_memory: u32,
}

/// The kernel's own account of an address space, read at its end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// VmHWM; 0 where this kernel does not let us read it.
    pub resident_peak: u64,
    /// VmPeak; likewise.
    pub virtual_peak: u64,
}

/// An image or a process ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// Header.
    pub header: Header,
    /// What the kernel had counted.
    pub counts: KernelCounts,
    /// Wait status, as `wait(2)` gives it (Exit only).
    pub status: u32,
    /// Zero.
    pub _pad: u32,
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
}

/// What a stack event begins with; `count` frames (u64, innermost first) follow.
/// The header's `stack` is the id. Return addresses are as they stand on the
/// stack; the first frame is the instruction pointer itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Stack {
    /// Header.
    pub header: Header,
    /// Number of frames that follow.
    pub count: u32,
    /// A [`StackEnd`].
    pub end: u16,
    /// Zero.
    pub _pad: u16,
}

/// Values of [`Config`]'s offsets where this kernel has no such member.
pub const ABSENT: u32 = u32::MAX;

/// What user space tells the programs before it loads them (the read-only
/// global `CONFIG`). Offsets are bytes from the start of the kernel's struct,
/// looked up in its BTF, or [`ABSENT`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Pending bytes in the ring buffer from which its reader is woken.
    pub wake_bytes: u64,
    /// The pending bytes are looked at once in `wake_every` events of a thread
    /// (a power of two).
    pub wake_every: u64,
    /// Bytes of a page.
    pub page_size: u64,
    /// 1 where `sched_prepare_exec` (Linux 6.9) says that an image ends.
    pub prepare_exec: u32,
    /// `task_struct.thread_info.status`
    pub task_status: u32,
    /// `task_struct.mm`
    pub task_mm: u32,
    /// `task_struct.pid`
    pub task_pid: u32,
    /// `task_struct.tgid`
    pub task_tgid: u32,
    /// `task_struct.signal`
    pub task_signal: u32,
    /// `task_struct.group_leader`
    pub task_group_leader: u32,
    /// `task_struct.exit_code`
    pub task_exit_code: u32,
    /// `task_struct.min_flt`
    pub task_min_flt: u32,
    /// `task_struct.maj_flt`
    pub task_maj_flt: u32,
    /// `signal_struct.live`
    pub signal_live: u32,
    /// `signal_struct.flags`
    pub signal_flags: u32,
    /// `signal_struct.group_exit_code`
    pub signal_group_exit_code: u32,
    /// `mm_struct.hiwater_rss`
    pub mm_hiwater_rss: u32,
    /// `mm_struct.hiwater_vm`
    pub mm_hiwater_vm: u32,
    /// `mm_struct.total_vm`
    pub mm_total_vm: u32,
    /// `mm_struct.uprobes_state.xol_area`
    pub mm_xol_area: u32,
    /// `xol_area.vaddr`
    pub xol_area_vaddr: u32,
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

/// What a process in the map `TARGETS` (key: pid, value: u32) is.
pub mod target {
    /// Launched and not yet executing the command: nothing is recorded.
    pub const WAITING: u32 = 1;
    /// Recorded.
    pub const ACTIVE: u32 = 2;
}

impl Kind {
    /// Every one, by its number.
    pub const ALL: [Self; 18] = [
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
        Self::Failed,
        Self::Resident,
        Self::Fork,
        Self::Exec,
        Self::Exit,
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
    pub const ALL: [Self; 4] = [Self::File, Self::Anon, Self::Swap, Self::Shmem];

    /// The one of that number, if there is.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }
}

impl Cause {
    /// Every one, by its number.
    pub const ALL: [Self; 5] = [
        Self::UserFault,
        Self::KernelFault,
        Self::Syscall,
        Self::Remote,
        Self::End,
    ];

    /// The one of that number, if there is.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get((number as usize).checked_sub(1)?).copied()
    }
}

impl StackEnd {
    /// Every one, by its number.
    pub const ALL: [Self; 7] = [
        Self::Complete,
        Self::Cut,
        Self::FramePointers,
        Self::NoTable,
        Self::Unreadable,
        Self::Unsupported,
        Self::Empty,
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

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<Header>() == 32);
    assert!(size_of::<Alloc>() == 56);
    assert!(size_of::<Free>() == 40);
    assert!(size_of::<Realloc>() == 48);
    assert!(size_of::<Map>() == 72);
    assert!(size_of::<Range>() == 48);
    assert!(size_of::<Remap>() == 64);
    assert!(size_of::<Advise>() == 56);
    assert!(size_of::<Failed>() == 40);
    assert!(size_of::<Resident>() == 56);
    assert!(size_of::<Fork>() == 40);
    assert!(size_of::<End>() == 56);
    assert!(size_of::<Stack>() == 40);
    assert!(size_of::<Config>() == 96);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_find_their_variants() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind as u16), Some(kind));
        }
        for function in Function::ALL {
            assert_eq!(Function::from_number(function as u32), Some(function));
        }
        for member in Member::ALL {
            assert_eq!(Member::from_number(member as u16), Some(member));
        }
        for cause in Cause::ALL {
            assert_eq!(Cause::from_number(cause as u16), Some(cause));
        }
        for end in StackEnd::ALL {
            assert_eq!(StackEnd::from_number(end as u16), Some(end));
        }
        for loss in Loss::ALL {
            assert_eq!(Loss::from_number(loss as u32), Some(loss));
        }
        assert_eq!(Kind::from_number(0), None);
        assert_eq!(Kind::from_number(KINDS as u16), None);
        assert_eq!(Loss::from_number(LOSSES), None);
    }
}
