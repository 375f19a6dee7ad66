//! The one place where a stack is captured.
//!
//! [`capture`] walks the user stack, names it by a hash of its frames, and sends
//! the frames themselves only when no event has named that stack before.

use crate::atomic;
use crate::ring;
use crate::state::{Thread, current_ids};
use crate::unwind::{self, Walk};
use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{LruHashMap, PerCpuArray};
use core::ffi::c_void;
use tracer_ebpf::{Kind, Loss, MAX_FRAMES, MAX_SENT_STACKS, Stack, flags};

/// Scratch buffers of a CPU. Uprobe programs can be preempted, so another
/// thread's program may need one while this one's is in use.
const SLOTS: u32 = 4;

/// A stack's record, as the ring buffer carries it.
#[repr(C)]
struct Record {
    head: Stack,
    frames: [u64; MAX_FRAMES],
}

#[repr(C)]
struct Scratch {
    /// 1: in use.
    taken: u64,
    record: Record,
}

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(SLOTS, 0);

/// Stacks that were sent. Least recently used ones are forgotten when it is
/// full, and sent again: nothing is lost by that but a little room.
#[map]
static SENT_STACKS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(MAX_SENT_STACKS, 0);

/// User registers to walk from.
#[derive(Clone, Copy)]
pub(crate) struct Regs {
    /// Instruction pointer.
    pub(crate) ip: u64,
    /// Stack pointer.
    pub(crate) sp: u64,
    /// Frame pointer, if the code keeps one.
    pub(crate) bp: u64,
    /// Whether the function has just been entered, before its first push: the
    /// return address is on top of the stack, whatever the tables say.
    pub(crate) at_entry: bool,
}

/// A captured stack, as events name it.
#[derive(Clone, Copy)]
pub(crate) struct Captured {
    /// Its id, 0 where there is none.
    pub(crate) id: u64,
    /// Bits for the event's header.
    pub(crate) flags: u16,
}

/// What events carry whose stack could not be had.
const LOST: Captured = Captured {
    id: 0,
    flags: flags::STACK_LOST,
};

/// Captures the current thread's user stack, and makes sure that its frames
/// were sent before the event that will name it.
#[inline(always)]
pub(crate) fn capture(thread: &mut Thread, regs: Regs) -> Captured {
    let (_, tid) = current_ids();
    thread.busy = 1;
    let walk = unwind::walk(tid, thread.seed, &regs);
    thread.busy = 0;
    let Some(walk) = walk else {
        ring::lose(Loss::NoScratch, Kind::Stack);
        return LOST;
    };
    let id = walk.id();
    if walk.sent == id {
        return Captured { id, flags: 0 };
    }
    if SENT_STACKS.get_ptr(id).is_none() {
        if !send(thread, walk, tid, id) {
            return LOST;
        }
        // Marked only once it is in the buffer: another CPU that finds the mark
        // may name the stack. A failure to mark costs no more than a second copy.
        let _ = SENT_STACKS.insert(id, 1, 0);
    }
    walk.sent = id;
    Captured { id, flags: 0 }
}

/// Sends a stack's frames, or counts the loss.
#[inline(always)]
fn send(thread: &mut Thread, walk: &mut Walk, tid: u32, id: u64) -> bool {
    let Some(scratch) = claim() else {
        ring::lose(Loss::NoScratch, Kind::Stack);
        return false;
    };
    // SAFETY: the buffer is claimed: nobody else touches it until released.
    let record = unsafe { &mut (*scratch).record };
    let count = walk.count();
    record.head = Stack {
        header: ring::header(Kind::Stack, thread.space, tid, 0, id),
        count,
        end: walk.end(),
        _pad: 0,
    };
    let mut copy = Copy { walk, record };
    // SAFETY: the callback gets the context as it is given here, and only while
    // this call lasts.
    unsafe { bpf_loop(count, copy_frame as *mut c_void, (&raw mut copy).cast(), 0) };
    let sent = if count <= MAX_FRAMES as u32 {
        let size = (size_of::<Stack>() as u64) + u64::from(count) * 8;
        let flags = ring::wake_flags(thread.looks_at_ring());
        ring::output(copy.record.cast_const().cast(), size, flags, Kind::Stack)
    } else {
        false
    };
    // SAFETY: a live element of the map.
    unsafe { atomic::swap(&raw mut (*scratch).taken, 0) };
    sent
}

/// Takes a free scratch buffer of this CPU.
#[inline(always)]
fn claim() -> Option<*mut Scratch> {
    for slot in 0..SLOTS {
        let scratch = SCRATCH.get_ptr_mut(slot)?;
        // SAFETY: a live element of the map.
        if unsafe { atomic::swap(&raw mut (*scratch).taken, 1) } == 0 {
            return Some(scratch);
        }
    }
    None
}

/// What [`copy_frame`] works on.
#[repr(C)]
struct Copy {
    walk: *mut Walk,
    record: *mut Record,
}

/// Copies one frame's address into the record.
unsafe extern "C" fn copy_frame(index: u32, copy: *mut Copy) -> i64 {
    // SAFETY: `send` gave this context; both pointers outlive it.
    let (walk, record) = unsafe { (&mut *(*copy).walk, &mut *(*copy).record) };
    let at = index as usize & (MAX_FRAMES - 1);
    // SAFETY: the mask keeps the index in the array.
    unsafe { *record.frames.get_unchecked_mut(at) = walk.address(index) };
    0
}
