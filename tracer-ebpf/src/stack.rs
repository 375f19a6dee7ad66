//! The one place where a stack is captured.
//!
//! [`capture`] walks the user stack, names it by a hash of its frames, and sends
//! the frames themselves only when no event has named that stack before.

use crate::atomic;
use crate::kernel::{user_word, user_words};
use crate::ring;
use crate::state::{Thread, current_ids};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{LruHashMap, PerCpuArray};
use tracer_ebpf::{Kind, Loss, MAX_FRAMES, MAX_SENT_STACKS, Stack, StackEnd, flags};

/// Scratch buffers of a CPU. Uprobe programs can be preempted, so another
/// thread's program may need one while this one's is in use.
const SLOTS: u32 = 4;

/// Words of a stack record's head.
const HEAD: usize = size_of::<Stack>() / 8;

/// Room for the head and the frames.
const WORDS: usize = HEAD + MAX_FRAMES;

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
    /// Frame pointer, if the code keeps one.
    pub(crate) bp: u64,
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
pub(crate) fn capture(thread: &mut Thread, regs: Regs) -> Captured {
    let Some(scratch) = claim() else {
        ring::lose(Loss::NoScratch, Kind::Stack);
        return LOST;
    };
    thread.busy = 1;
    let captured = walk_and_send(thread, regs, scratch);
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
fn walk_and_send(thread: &mut Thread, regs: Regs, scratch: *mut Scratch) -> Captured {
    // SAFETY: the buffer is claimed: nobody else writes to it until released.
    let words = unsafe { &raw mut (*scratch).words }.cast::<u64>();
    // The result goes through memory, where the verifier forgets what it knew
    // of it: it goes on once from here, rather than once for each number of
    // frames.
    // SAFETY: likewise.
    unsafe { (&raw mut (*scratch).walk).write_volatile(walk(thread.seed, regs, words)) };
    // SAFETY: likewise.
    let walk = unsafe { (&raw const (*scratch).walk).read_volatile() };
    let id = walk.hash;
    if SENT_STACKS.get_ptr(id).is_some() {
        return Captured { id, flags: 0 };
    }
    if !send(thread, words, walk) {
        return LOST;
    }
    // Marked only once it is in the buffer: another CPU that finds the mark
    // may name the stack. A failure to mark costs no more than a second copy.
    let _ = SENT_STACKS.insert(id, 1, 0);
    Captured { id, flags: 0 }
}

/// The outcome of a walk, whose frames lie behind the record's head.
#[repr(C)]
#[derive(Clone, Copy)]
struct Walk {
    /// Number of frames.
    count: u64,
    /// A `StackEnd`.
    end: u64,
    /// The stack's id.
    hash: u64,
}

/// Walks the chain of frame pointers.
///
/// Not through `bpf_get_stack`: at a function's entry it knows the caller for
/// some first instructions only, it gives 127 frames by default, and where the
/// chain runs into code without frame pointers it reads whatever the register
/// holds, which costs a page fault each time.
#[inline(always)]
fn walk(seed: u64, regs: Regs, words: *mut u64) -> Walk {
    let mut walk = Walk {
        count: 0,
        end: StackEnd::FramePointers as u64,
        hash: seed,
    };
    walk.push(words, regs.ip);
    if regs.at_entry {
        match user_word(regs.sp) {
            Some(caller) => walk.push(words, caller),
            None => walk.end = StackEnd::Unreadable as u64,
        }
    }
    let (mut frame, mut lowest) = (regs.bp, regs.sp);
    for _ in 0..MAX_FRAMES {
        // Frames lie one above the other; another value is no frame pointer.
        if frame < lowest || frame % 8 != 0 {
            break;
        }
        if walk.count >= MAX_FRAMES as u64 {
            walk.end = StackEnd::Cut as u64;
            break;
        }
        let Some([next, returns_to]) = user_words(frame) else {
            break;
        };
        if returns_to == 0 {
            break;
        }
        walk.push(words, returns_to);
        (frame, lowest) = (next, frame + 16);
    }
    if walk.hash == 0 {
        walk.hash = 1;
    }
    walk
}

impl Walk {
    /// Adds a frame, and mixes it into the stack's id. Ids are seeded by process
    /// and image, in which equal addresses mean other code.
    #[inline(always)]
    fn push(&mut self, words: *mut u64, frame: u64) {
        const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
        if self.count >= MAX_FRAMES as u64 {
            return;
        }
        // SAFETY: within the buffer, see WORDS.
        unsafe { *words.add(HEAD + self.count as usize) = frame };
        self.count += 1;
        self.hash = (self.hash ^ frame).wrapping_mul(MULTIPLIER);
        self.hash ^= self.hash >> 29;
    }
}

#[inline(always)]
fn send(thread: &mut Thread, words: *mut u64, walk: Walk) -> bool {
    let (_, tid) = current_ids();
    let head = Stack {
        header: ring::header(Kind::Stack, thread.space, tid, 0, walk.hash),
        count: walk.count as u32,
        end: walk.end as u16,
        _pad: 0,
    };
    // SAFETY: the head lies before the frames, see WORDS.
    unsafe { words.cast::<Stack>().write(head) };
    if walk.count > MAX_FRAMES as u64 {
        return false;
    }
    let size = (HEAD as u64 + walk.count) * 8;
    let flags = ring::wake_flags(thread.looks_at_ring());
    ring::output(words.cast_const().cast(), size, flags, Kind::Stack)
}
