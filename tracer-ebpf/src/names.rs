//! What the numbers in records stand for, and their names.

#[cfg(doc)]
use crate::{
    Advise, Alloc, Began, End, Fork, Free, Header, MAX_FRAMES, Map, Mark, Range, Realloc, Remap,
    Resident, Returned, Segment, Stack,
};

/// An enum whose values have consecutive numbers, which records carry, and names in snake case,
/// which recordings and reports carry.
pub trait Named: Copy + Sized + 'static {
    /// Every one, by its number.
    const ALL: &'static [Self];

    /// Its name, in snake case.
    fn name(self) -> &'static str;

    /// Its position in [`ALL`](Self::ALL).
    fn index(self) -> usize;

    /// The one of that name, if there is.
    #[must_use]
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.name() == name)
    }
}

/// Defines enums of consecutive numbers with their names, each in one place.
#[macro_export]
macro_rules! named {
    ($(
        $(#[$doc:meta])*
        $name:ident: $number:ident {
            $($(#[$of:meta])* $variant:ident = $value:literal $text:literal,)+
        }
    )+) => {$(
        $(#[$doc])*
        #[repr($number)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$of])* $variant = $value,)+
        }

        impl $name {
            /// The one of that number, if there is.
            #[must_use]
            pub const fn from_number(number: $number) -> Option<Self> {
                match number {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl $crate::Named for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            fn index(self) -> usize {
                (self as $number - <Self as $crate::Named>::ALL[0] as $number) as usize
            }
        }

        const _: () = {
            let numbers: &[$number] = &[$($value),+];
            let mut at = 1;
            while at < numbers.len() {
                assert!(numbers[at] == numbers[at - 1] + 1, "numbers must be consecutive");
                at += 1;
            }
        };
    )+};
}

named! {
    /// What an event says. The number is [`Header::kind`].
    Kind: u16 {
        /// [`Stack`]: frames of a stack id, sent before the first event that names it.
        Stack = 1 "stack",
        /// [`Alloc`]: the outermost call of the malloc family returned a block.
        Alloc = 2 "alloc",
        /// [`Free`]: `free` was entered with a block.
        Free = 3 "free",
        /// [`Realloc`]: `realloc` or `reallocarray` was entered with a live block.
        ReallocEnter = 4 "realloc_enter",
        /// [`Alloc`]: it returned; address 0 means it failed or freed the block.
        ReallocExit = 5 "realloc_exit",
        /// [`Map`]: `mmap` returned a mapping.
        Map = 6 "map",
        /// [`Range`]: `munmap` was entered.
        Unmap = 7 "unmap",
        /// [`Remap`]: `mremap` was entered.
        RemapEnter = 8 "remap_enter",
        /// [`Range`]: it returned; address 0 means it failed.
        RemapExit = 9 "remap_exit",
        /// [`Range`]: `brk` returned; address is the break, length 0.
        Break = 10 "break",
        /// [`Advise`]: `madvise` was entered.
        Advise = 11 "advise",
        /// [`Segment`]: `shmat` returned.
        ShmAttach = 12 "shm_attach",
        /// [`Range`]: `shmdt` was entered; length 0.
        ShmDetach = 13 "shm_detach",
        /// [`Returned`]: a memory system call returned; where it failed, the thread's last
        /// `Unmap`, `Advise` or `ShmDetach` did not happen.
        Returned = 14 "returned",
        /// [`Resident`]: a counter of the process's resident memory changed.
        Resident = 15 "resident",
        /// [`Fork`]: a new process.
        Fork = 16 "fork",
        /// [`End`]: the process's image was replaced; the counts are the old image's.
        /// A launched command begins with one whose counts are 0.
        Exec = 17 "exec",
        /// [`End`]: the process ended.
        Exit = 18 "exit",
        /// [`Began`]: the image that an exec made is in place.
        Began = 19 "began",
        /// [`Range`]: a page that is there was written to, in a process that a fork gave its memory:
        /// it is copied, which moves no counter. Sent before it is; length 0.
        Written = 20 "written",
        /// [`Mark`]: the program named a moment.
        Mark = 21 "mark",
    }

    /// Function of the malloc family that an [`Alloc`] came through.
    Function: u32 {
        /// `malloc`
        Malloc = 1 "malloc",
        /// `calloc`
        Calloc = 2 "calloc",
        /// `realloc`
        Realloc = 3 "realloc",
        /// `reallocarray`
        ReallocArray = 4 "reallocarray",
        /// `posix_memalign`
        PosixMemalign = 5 "posix_memalign",
        /// `aligned_alloc`
        AlignedAlloc = 6 "aligned_alloc",
        /// `memalign`
        Memalign = 7 "memalign",
        /// `valloc`
        Valloc = 8 "valloc",
        /// `pvalloc`
        Pvalloc = 9 "pvalloc",
        /// `free`
        Free = 10 "free",
    }

    /// Counter of resident memory, as in the kernel's `enum` (mm_types_task.h).
    RssCounter: u16 {
        /// `MM_FILEPAGES`
        File = 0 "file",
        /// `MM_ANONPAGES`
        Anon = 1 "anon",
        /// `MM_SWAPENTS` (not resident)
        Swap = 2 "swap",
        /// `MM_SHMEMPAGES`
        Shmem = 3 "shmem",
        /// None of these, but `mm_struct.hugetlb_usage`: huge pages of hugetlbfs, which the
        /// kernel leaves out of resident memory.
        HugeTlb = 4 "hugetlb",
    }

    /// What the thread that changed a counter was doing.
    Cause: u16 {
        /// A fault in user mode at [`Resident::address`].
        UserFault = 1 "user_fault",
        /// A fault in kernel mode (say `read` into fresh memory), likewise.
        KernelFault = 2 "kernel_fault",
        /// A system call without a fault; [`Resident::syscall`] says which.
        Syscall = 3 "syscall",
        /// Another process: a debugger, or one that reclaims for itself.
        Remote = 4 "remote",
        /// Exec or exit.
        End = 5 "end",
        /// A thread of the kernel: reclaim, khugepaged.
        Kernel = 6 "kernel",
    }

    /// How a stack walk ended.
    StackEnd: u16 {
        /// At the entry of the process or thread.
        Complete = 1 "complete",
        /// More than [`MAX_FRAMES`] frames.
        Cut = 2 "cut",
        /// The chain of frame pointers ended: nothing says whether it was whole.
        FramePointers = 3 "frame_pointers",
        /// No unwind table covers an address.
        NoTable = 4 "no_table",
        /// The stack could not be read.
        Unreadable = 5 "unreadable",
        /// The table has a rule that the program can't follow.
        Unsupported = 6 "unsupported",
        /// No frame at all.
        Empty = 7 "empty",
        /// The stack goes on beyond what was copied of it.
        CopyEnds = 8 "copy_ends",
    }

    /// Why something is missing. Losses are counted in the map `LOSSES`, a per-CPU
    /// array indexed by `cause * KINDS + kind`.
    Loss: u32 {
        /// The ring buffer was full.
        RingFull = 0 "ring_full",
        /// The table of threads was full: the call could not be followed.
        ThreadsFull = 1 "threads_full",
        /// A call of the malloc family never returned (a longjmp, a killed thread).
        NoReturn = 2 "no_return",
        /// A system call of the 32-bit ABI, which is not followed.
        Compat = 3 "compat",
        /// A pointer the program passed could not be read (posix_memalign's result).
        Unreadable = 4 "unreadable",
        /// The table of processes was full.
        ProcessesFull = 5 "processes_full",
        /// No room for a stack: every scratch buffer of the CPU was taken, or there
        /// was no memory for one more thread.
        NoScratch = 6 "no_scratch",
    }
}

/// Number of event kinds, plus one: the width of a row of the loss table.
pub const KINDS: u32 = <Kind as Named>::ALL.len() as u32 + 1;

/// Number of loss causes.
pub const LOSSES: u32 = <Loss as Named>::ALL.len() as u32;
