//! What is kept for each thread: the walk under way and the last stack.

use super::mapping::{Mapping, Question};
use super::window::Window;
use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::btf_maps::{Array, HashMap};
use aya_ebpf::macros::btf_map;
use tracer_ebpf::{MAX_FRAMES, MAX_THREADS};

/// The walks of threads, by tid. Elements are 42 KiB, so they are only made for
/// threads that exist.
#[btf_map]
static WALKS: HashMap<u32, Walk, { MAX_THREADS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// What a new thread's walk is copied from: zeros, too large for a stack.
#[btf_map]
static NEW_WALK: Array<Walk, 1> = Array::new();

/// A frame of a stack.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// Instruction pointer (the innermost frame) or return address.
    pub(crate) pc: u64,
    /// Stack pointer.
    pub(super) sp: u64,
    /// rbp.
    pub(super) bp: u64,
    /// Hash of this frame and all that are further out.
    pub(super) hash: u64,
    /// Where the step to the caller read rbp, relative to the caller's `sp`;
    /// 0 where it kept it.
    pub(super) bp_slot: i32,
    /// Bits of [`frame`].
    pub(super) flags: u32,
}

/// Bits of [`Frame::flags`].
pub(super) mod frame {
    /// The step to the caller used rbp.
    pub(in crate::unwind) const USES_BP: u32 = 1;
    /// This step or one further out uses rbp as it is in this frame.
    pub(in crate::unwind) const NEEDS_BP: u32 = 2;
    /// The return address is not just below the caller's stack pointer.
    pub(in crate::unwind) const OPAQUE: u32 = 4;
    /// `pc` is the instruction at which the frame stands, not a return address.
    pub(in crate::unwind) const EXACT: u32 = 8;
    /// The frame is at the entry of its function.
    pub(in crate::unwind) const ENTRY: u32 = 16;
    /// This step or one further out was by a frame pointer that no table vouches for.
    pub(in crate::unwind) const DOUBTFUL: u32 = 32;
    /// This step or one further out is [`OPAQUE`].
    pub(in crate::unwind) const OPAQUE_OUTWARDS: u32 = 64;
}

/// What the next step of a walk does; [`Walk::mode`].
pub(super) mod mode {
    /// The current frame was reached: is it on the spine?
    pub(in crate::unwind) const ARRIVE: u32 = 0;
    /// The current frame is recorded: find its caller by the tables.
    pub(in crate::unwind) const STEP: u32 = 1;
    /// On the spine: check that the next frame still stands.
    pub(in crate::unwind) const FOLLOW: u32 = 2;
    /// It does not: record those that did.
    pub(in crate::unwind) const COPY: u32 = 3;
    /// On the spine: check many frames at once, in the hope that all still stand.
    pub(in crate::unwind) const GLIDE: u32 = 4;
}

/// A walk, and the stack that it found.
#[repr(C)]
pub(crate) struct Walk {
    /// 1 while a walk is under way.
    pub(super) busy: u32,
    /// One of [`mode`].
    pub(super) mode: u32,
    /// Hash of all that gives addresses their meaning; see `mappings::space`.
    pub(super) space: u64,
    /// The current frame's instruction pointer or return address, …
    pub(super) pc: u64,
    /// … stack pointer …
    pub(super) sp: u64,
    /// … and rbp.
    pub(super) bp: u64,
    /// While following: where rbp was last read, or 0: nowhere yet.
    pub(super) bp_address: u64,
    /// Where the current frame's rbx was saved; 0: it still is in the register,
    /// 1: nobody knows.
    pub(super) bx_address: u64,
    /// [`frame::EXACT`] and [`frame::ENTRY`] of the current frame.
    pub(super) flags: u32,
    /// Why the walk stopped (a `StackEnd`); 0: it has not.
    pub(super) end: u32,
    /// What the stack's end is given as instead, because a step was by a frame
    /// pointer that no table vouches for (a `StackEnd`); 0: none was.
    pub(super) doubt: u32,
    /// Frames in `fresh`.
    pub(super) fresh_count: u32,
    /// Frames in `spine`.
    pub(super) depth: u32,
    /// Frames of the spine that the walk has not passed.
    pub(super) cursor: u32,
    /// Frames of the spine at which the walk met it, and copies.
    pub(super) met: u32,
    /// 1: the spine must not serve again.
    pub(super) forget: u32,
    /// Why the walk that made the spine stopped.
    pub(super) spine_end: u32,
    /// 1: the walk stopped at code whose table is not loaded yet.
    pub(crate) pending: u32,
    /// Id of the last stack that was sent.
    pub(crate) sent: u64,
    /// Address of the kernel's uretprobe trampoline; 0: no call is pending.
    pub(crate) trampoline: u64,
    /// `struct return_instance` of the innermost pending call.
    pub(super) returns: u64,
    /// The mapping of the last frame.
    pub(super) mapping: Mapping,
    /// What the kernel is asked about an address.
    pub(super) question: Question,
    /// Words of the stack.
    pub(super) window: Window,
    /// The last stack, outermost first.
    pub(super) spine: [Frame; MAX_FRAMES],
    /// What this walk found on its own, innermost first.
    pub(super) fresh: [Frame; MAX_FRAMES],
}

/// [`Walk::bx_address`] where rbx is lost.
pub(super) const UNKNOWN: u64 = 1;

/// What the callbacks of a walk get.
#[repr(C)]
pub(super) struct Walker {
    /// The walk.
    pub(super) walk: *mut Walk,
}

/// A thread's walk, made if need be.
#[inline(always)]
pub(super) fn find(tid: u32) -> Option<&'static mut Walk> {
    let found = match WALKS.get_ptr_mut(tid) {
        Some(found) => found,
        None => add(tid)?,
    };
    // SAFETY: a thread's walk is used by programs that this thread runs; the
    // flag `busy` keeps out one that interrupts another.
    Some(unsafe { &mut *found })
}

/// Where a thread asks the kernel about an address; made if need be.
#[inline(always)]
pub(super) fn question(tid: u32) -> Option<&'static mut Question> {
    Some(&mut find(tid)?.question)
}

#[inline(always)]
fn add(tid: u32) -> Option<*mut Walk> {
    let new = NEW_WALK.get_ptr(0)?;
    // SAFETY: the element of an array is readable in its whole size.
    let new = unsafe { &*new };
    // A failure shows in the look-up that follows.
    let _ = WALKS.insert(tid, new, u64::from(BPF_NOEXIST));
    WALKS.get_ptr_mut(tid)
}

/// Forgets a thread that ended.
#[inline(always)]
pub(crate) fn forget_thread(tid: u32) {
    // It may never have been walked.
    let _ = WALKS.remove(tid);
}
