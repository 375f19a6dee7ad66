//! What the probes saw, in the order in which the kernel side sent it.
//!
//! This is the one type that flows: `probes` decodes it from the ring buffer,
//! `recording` stores it and reads it back, `ledger` replays it. Its variants
//! mirror [`tracer_ebpf::Kind`], whose documentation says when each is sent;
//! only stacks go their own way ([`Captured`]). A few are not the probes': the
//! tracer itself writes what it read of the process (`CheckBegin` and after).

use crate::units::{Address, Bytes, Nanos, Pid, StackId, Tid};
pub use tracer_ebpf::{Cause, Function, KernelCounts, Member, StackEnd};

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: Nanos,
    /// In which process.
    pub pid: Pid,
    /// By which thread.
    pub tid: Tid,
    /// By which stack.
    pub stack: StackId,
    /// Whether it happened inside a call of the malloc family.
    pub in_allocator: bool,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A block was handed out.
    Alloc {
        /// Through which function.
        function: Function,
        /// Where.
        address: Address,
        /// Requested size.
        size: Bytes,
    },
    /// A block was given back (sent before the allocator has it).
    Free {
        /// The block.
        address: Address,
    },
    /// A live block is being resized: until the thread's `ReallocExit` its
    /// address may already be somebody else's, though its bytes still count.
    ReallocEnter {
        /// The old block.
        address: Address,
        /// Requested size.
        size: Bytes,
    },
    /// The thread's resize ended.
    ReallocExit {
        /// Through which function.
        function: Function,
        /// The new block; 0 where none was returned: the old one lives on,
        /// unless size is 0 (then it was freed).
        address: Address,
        /// Requested size.
        size: Bytes,
    },
    /// A mapping was made; what lay there before (MAP_FIXED) is gone.
    Map {
        /// Where.
        address: Address,
        /// Requested length.
        length: Bytes,
        /// Offset in the file.
        offset: u64,
        /// `PROT_*`
        prot: u32,
        /// `MAP_*`
        flags: u32,
        /// File descriptor, or -1.
        fd: i32,
    },
    /// A range is being unmapped.
    Unmap {
        /// Where.
        address: Address,
        /// Requested length.
        length: Bytes,
    },
    /// A mapping is being moved or resized; until the thread's `RemapExit`
    /// its addresses may already be somebody else's.
    RemapEnter {
        /// Old address.
        address: Address,
        /// Old length.
        length: Bytes,
        /// New length.
        new_length: Bytes,
        /// `MREMAP_*`
        flags: u64,
    },
    /// The thread's move ended; address 0: it failed and nothing changed.
    RemapExit {
        /// New address.
        address: Address,
        /// New length.
        length: Bytes,
    },
    /// The program break is now here.
    Break {
        /// The break.
        address: Address,
    },
    /// `madvise` was entered.
    Advise {
        /// Where.
        address: Address,
        /// How long.
        length: Bytes,
        /// `MADV_*`
        advice: u32,
    },
    /// A System V segment was attached.
    ShmAttach {
        /// Where.
        address: Address,
        /// Segment id.
        segment: u64,
        /// Its length, which user space asks the kernel for; 0 where it was gone by then.
        length: Bytes,
    },
    /// It is being detached.
    ShmDetach {
        /// Where.
        address: Address,
    },
    /// The thread's memory system call returned. If it was an `Unmap`, `Advise` or
    /// `ShmDetach` that failed: take it back.
    Returned {
        /// Its number.
        syscall: u16,
        /// errno, 0 where it succeeded.
        errno: i32,
        /// Time between its entry and its return.
        took: Nanos,
    },
    /// A counter of resident memory changed.
    Resident {
        /// Which.
        member: Member,
        /// The kernel's count after the change.
        size: Bytes,
        /// What the thread was doing.
        cause: Cause,
        /// Faulting address; without a fault that of the system call's buffer where
        /// it is one that fills it, or 0.
        address: Address,
        /// Time between the fault and its first change; 0 where there was none.
        took: Nanos,
        /// x86 page-fault error code.
        error_code: u16,
        /// System call under way, `u16::MAX` for none.
        syscall: u16,
    },
    /// A page that is there is written to, in a process that a fork gave its memory: it is
    /// copied, which moves no counter.
    Written {
        /// Where.
        address: Address,
    },
    /// The process made a child.
    Fork {
        /// The child.
        child: Pid,
        /// No copy: the child runs in its parent's memory until it executes or
        /// ends (vfork, posix_spawn).
        shares_memory: bool,
    },
    /// The process's image was replaced; every block and mapping ended. A
    /// launched command begins with one whose counts are 0.
    Exec {
        /// The kernel's account of the old image.
        counts: KernelCounts,
    },
    /// The process ended.
    Exit {
        /// Wait status, as `wait(2)` gives it.
        status: u32,
        /// The kernel's account of the last image.
        counts: KernelCounts,
    },
    /// The image that an exec made is in place.
    Began {
        /// All that is mapped: program, dynamic linker, stack, vDSO.
        mapped: Bytes,
        /// Of it the stack.
        stack: Bytes,
    },
    /// The tracer begins to read which of the process's pages are present.
    CheckBegin,
    /// It found these present. All runs of a check follow each other, without events
    /// of the process between them.
    Present {
        /// Where.
        address: Address,
        /// How long.
        length: Bytes,
        /// What counts them.
        member: Member,
    },
    /// These were all.
    CheckEnd,
    /// What the command had used when it ended, its waited-for children included.
    Usage {
        /// Time in user mode.
        user: Nanos,
        /// Time in the kernel.
        system: Nanos,
    },
}

/// A stack as it was captured: addresses, no names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The id that events name it by.
    pub id: StackId,
    /// Process in which it was first seen; its addresses mean this process's modules.
    pub pid: Pid,
    /// When it was first seen.
    pub time: Nanos,
    /// How the walk ended.
    pub end: StackEnd,
    /// Innermost first. The first is an instruction pointer (within the instruction that made a
    /// system call, one byte before the pointer), the others return addresses.
    pub frames: Vec<Address>,
}

/// A file (or a named area such as `[vdso]`) mapped executable into a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// In which process.
    pub pid: Pid,
    /// Since when.
    pub time: Nanos,
    /// Where.
    pub address: Address,
    /// How long.
    pub length: Bytes,
    /// Offset in the file.
    pub offset: u64,
    /// Path as the target sees it, or `[vdso]`, `//anon`, ….
    pub path: String,
    /// Device and inode, to tell whether the path still is that file; 0 for none.
    pub device: u64,
    /// See `device`.
    pub inode: u64,
    /// GNU build-id in hexadecimal; empty where the file has none.
    pub build_id: String,
}

/// What a process executes, from one moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which process.
    pub pid: Pid,
    /// Since when.
    pub time: Nanos,
    /// The program and its arguments, as the process was given them; the program's path
    /// alone where it was over before they could be read.
    pub words: Vec<String>,
}

/// How many events were lost, why, and of which kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Cause, in snake case (`ring_full`, …).
    pub cause: String,
    /// Kind of event or name of the probe (`alloc`, `free`, `resident`, …).
    pub probe: String,
    /// How many.
    pub count: u64,
}

/// Something that was less exact on the machine of the recording than it is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Degraded {
    /// Its name, in snake case; `docs/machines.md` lists them.
    pub name: String,
    /// What is less exact, and by how much.
    pub text: String,
}
