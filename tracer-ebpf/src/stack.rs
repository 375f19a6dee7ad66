//! The one place where a stack is captured.
//!
//! [`capture`] walks the user stack, names it by a hash of its frames, and sends
//! the frames themselves only when no event has named that stack before.

use crate::atomic;
use crate::kernel::{config, user_word};
use crate::ring;
use crate::state::{Thread, current_ids};
use aya_ebpf::bindings::BPF_F_USER_STACK;
use aya_ebpf::helpers::generated::bpf_get_stack;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{LruHashMap, PerCpuArray};
use core::ffi::c_void;
use tracer_ebpf::{Kind, Loss, MAX_FRAMES, MAX_SENT_STACKS, Stack, StackEnd, flags};

/// Scratch buffers of a CPU. Uprobe programs can be preempted, so another
/// thread's program may need one while this one's is in use.
const SLOTS: u32 = 4;

/// Words of a stack record's head.
const HEAD: usize = size_of::<Stack>() / 8;

/// Room for the head, one frame more than the kernel gives, and the frames.
const WORDS: usize = HEAD + 1 + MAX_FRAMES;

#[repr(C)]
struct Scratch {
    /// 1: in use.
    taken: u64,
    /// See [`Walk`].
    walk: Walk,
    words: [u64; WORDS],
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
    /// Whether the function has just been entered: its return address is at
    /// the stack pointer, and the frame pointer is still the caller's.
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
pub(crate) fn capture(ctx: *mut c_void, thread: &mut Thread, regs: Regs) -> Captured {
    let Some(scratch) = claim() else {
        ring::lose(Loss::NoScratch, Kind::Stack);
        return LOST;
    };
    thread.busy = 1;
    let captured = walk_and_send(ctx, thread, regs, scratch);
    thread.busy = 0;
    // SAFETY: a live element of the map.
    unsafe { atomic::swap(&raw mut (*scratch).taken, 0) };
    captured
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

#[inline(always)]
fn walk_and_send(
    ctx: *mut c_void,
    thread: &mut Thread,
    regs: Regs,
    scratch: *mut Scratch,
) -> Captured {
    // SAFETY: the buffer is claimed: nobody else writes to it until released.
    let words = unsafe { &raw mut (*scratch).words }.cast::<u64>();
    // The result goes through memory, where the verifier forgets what it knew
    // of it: it goes on once from here, rather than once for each way through
    // the walk.
    // SAFETY: likewise.
    unsafe { (&raw mut (*scratch).walk).write_volatile(walk(ctx, regs, words)) };
    // SAFETY: likewise.
    let walk = unsafe { (&raw const (*scratch).walk).read_volatile() };
    let id = identify(thread.seed, words, walk);
    if SENT_STACKS.get_ptr(id).is_some() {
        return Captured { id, flags: 0 };
    }
    if !send(thread, id, words, walk) {
        return LOST;
    }
    // Marked only once it is in the buffer: another CPU that finds the mark
    // may name the stack. A failure to mark costs no more than a second copy.
    let _ = SENT_STACKS.insert(id, 1, 0);
    Captured { id, flags: 0 }
}

/// Where a walk put its frames, and how it ended.
#[repr(C)]
#[derive(Clone, Copy)]
struct Walk {
    /// Words between the buffer's beginning and the record's: 0 or 1.
    begin: u64,
    /// Number of frames, which follow the record's head.
    count: u64,
    /// A `StackEnd`.
    end: u64,
}

/// Walks the chain of frame pointers through `bpf_get_stack`.
///
/// At a function's entry that chain misses the caller, unless the kernel knows
/// the instruction as an entry and adds it (arch/x86/events/core.c,
/// `is_uprobe_at_func_entry`: Linux 6.11, `push %rbp` and `endbr64` only).
/// Where it did not, the caller is read off the stack and put in its place.
#[inline(always)]
fn walk(ctx: *mut c_void, regs: Regs, words: *mut u64) -> Walk {
    // SAFETY: within the buffer, see WORDS.
    let frames = unsafe { words.add(HEAD + 1) };
    let bytes = (MAX_FRAMES * 8) as u32;
    // SAFETY: the buffer has room for MAX_FRAMES words from `frames` on.
    let got = unsafe { bpf_get_stack(ctx, frames.cast(), bytes, u64::from(BPF_F_USER_STACK)) };
    let mut count = if got > 0 { got as u64 / 8 } else { 0 };
    let mut end = StackEnd::FramePointers;
    if count >= u64::from(config!(frame_limit)) {
        end = StackEnd::Cut;
    }
    if count == 0 {
        end = StackEnd::Unreadable;
        // SAFETY: within the buffer.
        unsafe { *frames = regs.ip };
        count = 1;
    }
    let mut begin = 1;
    if regs.at_entry
        && let Some(caller) = user_word(regs.sp)
    {
        // SAFETY: within the buffer; a stale second word where count is 1 is
        // excluded by the condition.
        let known = count > 1 && unsafe { *frames.add(1) } == caller;
        if !known && count < MAX_FRAMES as u64 {
            // SAFETY: within the buffer: the word before `frames` is spare.
            unsafe {
                *frames = caller;
                *frames.sub(1) = regs.ip;
            }
            begin = 0;
            count += 1;
        }
    }
    Walk {
        begin,
        count,
        end: end as u64,
    }
}

/// A 64-bit hash of the frames, never 0. The seed differs by process and image:
/// equal addresses mean other code there.
#[inline(always)]
fn identify(seed: u64, words: *mut u64, walk: Walk) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = seed ^ walk.count;
    let begin = (walk.begin & 1) as usize;
    for index in 0..MAX_FRAMES {
        if index as u64 >= walk.count {
            break;
        }
        // SAFETY: begin is at most 1 and index less than MAX_FRAMES, so this is
        // within the buffer, and the walk wrote it.
        let frame = unsafe { *words.add(begin + HEAD + index) };
        hash = (hash ^ frame).wrapping_mul(MULTIPLIER);
        hash ^= hash >> 29;
    }
    if hash == 0 { 1 } else { hash }
}

#[inline(always)]
fn send(thread: &mut Thread, id: u64, words: *mut u64, walk: Walk) -> bool {
    let (_, tid) = current_ids();
    let head = Stack {
        header: ring::header(Kind::Stack, thread.space, tid, 0, id),
        count: walk.count as u32,
        end: walk.end as u16,
        _pad: 0,
    };
    // SAFETY: the head fits before the frames, see WORDS.
    let record = unsafe { words.add((walk.begin & 1) as usize) };
    // SAFETY: likewise.
    unsafe { record.cast::<Stack>().write(head) };
    if walk.count > MAX_FRAMES as u64 {
        return false;
    }
    let size = (HEAD as u64 + walk.count) * 8;
    let flags = ring::wake_flags(thread.looks_at_ring());
    ring::output(record.cast_const().cast(), size, flags, Kind::Stack)
}
