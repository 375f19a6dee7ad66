//! The records that the ring buffer carries, each beginning with a [`Header`].

#[cfg(doc)]
use crate::{Cause, Function, Kind, RssCounter, StackEnd};

/// What every event begins with.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Header {
    /// A [`Kind`].
    pub kind: u16,
    /// Bits of [`flags`].
    pub flags: u16,
    /// Thread-group id, in the tracer's pid namespace.
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
    /// The process is stopped, and wants to be continued (see [`Config::held`](crate::Config)).
    pub const HELD: u16 = 4;
}

/// A block handed out.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Alloc {
    /// What every event begins with.
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
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Free {
    /// What every event begins with.
    pub header: Header,
    /// The block; never 0.
    pub address: u64,
}

/// A block about to be resized.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Realloc {
    /// What every event begins with.
    pub header: Header,
    /// The live block; never 0.
    pub address: u64,
    /// Requested size in bytes.
    pub size: u64,
}

/// A new mapping.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Map {
    /// What every event begins with.
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
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Range {
    /// What every event begins with.
    pub header: Header,
    /// Where it begins.
    pub address: u64,
    /// How long it is, not rounded to pages.
    pub length: u64,
}

/// A segment of System V shared memory that was attached.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment {
    /// What every event begins with.
    pub header: Header,
    /// Where it is.
    pub address: u64,
    /// Its id.
    pub segment: u64,
    /// Zero: user space asks the kernel how long it is.
    pub length: u64,
}

/// A mapping about to move, grow or shrink.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Remap {
    /// What every event begins with.
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
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Advise {
    /// What every event begins with.
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

/// A memory system call that returned. Its stack is that of the call.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Returned {
    /// What every event begins with.
    pub header: Header,
    /// Nanoseconds between its entry and its return.
    pub took: u64,
    /// Its number.
    pub syscall: u32,
    /// errno, or 0 where it succeeded.
    pub errno: i32,
}

/// An image in place: what an exec mapped before the program's first instruction.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Began {
    /// What every event begins with.
    pub header: Header,
    /// Bytes of all mappings: program, dynamic linker, stack, vDSO.
    pub mapped: u64,
    /// Of them those of the stack.
    pub stack: u64,
}

/// A counter changed (`kmem:rss_stat`).
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Resident {
    /// Header; the stack is the toucher's where the cause is a fault.
    pub header: Header,
    /// Faulting address; without a fault that of the buffer that the system call works
    /// on, where it is one that makes pages resident by itself (mlock, direct I/O); or 0.
    pub address: u64,
    /// The kernel's count after the change, in bytes.
    pub size: u64,
    /// Nanoseconds between the fault and the first change that it caused; 0 elsewhere.
    pub took: u64,
    /// A [`RssCounter`].
    pub member: u16,
    /// A [`Cause`].
    pub cause: u16,
    /// x86 page-fault error code (bit 1: a write).
    pub error_code: u16,
    /// Number of the system call that is under way, or `u16::MAX`.
    pub syscall: u16,
}

/// A moment that the program named: by a call of the `access` family for a file whose name begins
/// with [`MARK`](crate::MARK).
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// What every event begins with.
    pub header: Header,
    /// The file's name, up to the first 0; what is longer is cut.
    pub name: [u8; 96],
}

/// A new process.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
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
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// VmHWM; 0 where this kernel does not let us read it.
    pub resident_peak: u64,
    /// VmPeak; likewise.
    pub virtual_peak: u64,
    /// VmStk: the first thread's stack; likewise.
    pub stack: u64,
}

/// An image or a process ended.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// What every event begins with.
    pub header: Header,
    /// What the kernel had counted.
    pub counts: KernelCounts,
    /// Wait status, as `wait(2)` gives it (Exit only).
    pub status: u32,
    /// Zero.
    pub _pad: u32,
}

/// What a stack event begins with; `count` frames (u64, innermost first) follow.
/// The header's `stack` is the id. Return addresses are as they stand on the
/// stack; the first frame is the instruction pointer itself, or lies within the
/// instruction that made a system call, one byte before it.
///
/// Where `copied` is 1, room for [`MAX_FRAMES`](crate::MAX_FRAMES) frames follows
/// whatever their count, then a [`StackCopy`] and the bytes of the stack.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Stack {
    /// What every event begins with.
    pub header: Header,
    /// Number of frames that follow.
    pub count: u32,
    /// A [`StackEnd`].
    pub end: u16,
    /// 1: a copy of the stack follows.
    pub copied: u16,
}

/// A copy of a stack that the programs could not walk, because a table was not
/// ready: user space walks it. `size` bytes follow, a whole number of pages; the
/// first is the one that `sp` lies in.
#[repr(C)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct StackCopy {
    /// Stack pointer.
    pub sp: u64,
    /// rbp.
    pub bp: u64,
    /// Bytes that follow.
    pub size: u32,
    /// 1: the function has just been entered, and has pushed nothing yet.
    pub at_entry: u32,
    /// Bit by page: 1 where it could not be read, as it was never touched.
    pub holes: u64,
    /// What stands on the stack in place of return addresses that a uretprobe
    /// replaced; 0 where none is pending.
    pub trampoline: u64,
    /// r15, r14, … rdi: as `struct pt_regs` has them
    /// (arch/x86/include/asm/ptrace.h).
    pub registers: [u64; 15],
}
