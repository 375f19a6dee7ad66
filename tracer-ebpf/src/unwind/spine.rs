//! The remembered stack.

use super::hash::mix;
use super::walk::{Frame, UNKNOWN, Walk, Walker, frame, mode};
use super::words;
use aya_ebpf::helpers::generated::bpf_loop;
use core::ffi::c_void;
use tracer_ebpf::{MAX_FRAMES, StackEnd};

const MASK: usize = MAX_FRAMES - 1;
const _: () = assert!(MAX_FRAMES.is_power_of_two());

/// Makes the spine ready for a walk in `space`.
#[inline(always)]
pub(super) fn begin(walk: &mut Walk, space: u64) {
    if walk.space != space || walk.forget != 0 {
        walk.space = space;
        walk.forget = 0;
        walk.depth = 0;
        walk.mapping.clear();
    }
    walk.cursor = walk.depth;
}

/// A frame of the spine, counted from the outermost.
#[inline(always)]
fn at(walk: &mut Walk, index: u32) -> &mut Frame {
    // SAFETY: the mask keeps the index in the array.
    unsafe { walk.spine.get_unchecked_mut(index as usize & MASK) }
}

/// A frame of the new part, counted from the innermost.
#[inline(always)]
pub(super) fn fresh(walk: &mut Walk, index: u32) -> &mut Frame {
    // SAFETY: the mask keeps the index in the array.
    unsafe { walk.fresh.get_unchecked_mut(index as usize & MASK) }
}

/// Records a frame of the new part; false, and the end of the walk, if it is full.
#[inline(always)]
fn push(walk: &mut Walk, new: Frame) -> bool {
    let count = walk.fresh_count;
    if count >= MAX_FRAMES as u32 {
        walk.end = StackEnd::Cut as u32;
        return false;
    }
    *fresh(walk, count) = new;
    walk.fresh_count = count + 1;
    true
}

/// [`mode::ARRIVE`]: goes over to the spine if the current frame stands on it,
/// and records it if not. True: it is recorded.
#[inline(always)]
pub(super) fn arrive(walk: &mut Walk) -> bool {
    let (pc, sp, bp) = (walk.pc, walk.sp, walk.bp);
    if walk.cursor != 0 {
        let inner = *at(walk, walk.cursor - 1);
        if inner.sp < sp {
            walk.cursor -= 1;
            return false;
        }
        let same = inner.sp == sp
            && inner.pc == pc
            && (inner.flags ^ walk.flags) & (frame::EXACT | frame::ENTRY) == 0
            && (inner.bp == bp || inner.flags & frame::NEEDS_BP == 0);
        if same && walk.doubt == 0 && walk.cursor + walk.fresh_count <= MAX_FRAMES as u32 {
            walk.mode = match inner.flags & frame::OPAQUE_OUTWARDS {
                0 => mode::GLIDE,
                _ => mode::FOLLOW,
            };
            walk.met = walk.cursor;
            walk.bp_address = 0;
            return false;
        }
    }
    let flags = walk.flags;
    push(
        walk,
        Frame {
            pc,
            sp,
            bp,
            hash: 0,
            bp_slot: 0,
            flags,
        },
    )
}

/// Frames that [`glide`] passes at a time.
const AT_ONCE: u32 = 8;

/// [`mode::GLIDE`]: passes the innermost frames that are left, as long as the words that led
/// from each to the next are still there. Where one is not, [`follow`] begins anew and finds
/// out where. True: that was the whole stack.
#[inline(always)]
pub(super) fn glide(walk: &mut Walk) -> bool {
    let mut last = walk.cursor.wrapping_sub(1);
    for _ in 0..AT_ONCE {
        if last == 0 {
            arrived(walk);
            return true;
        }
        let bp_slot = at(walk, last).bp_slot;
        let to = at(walk, last.wrapping_sub(1));
        let (pc, sp, bp, flags) = (to.pc, to.sp, to.bp, to.flags);
        let mut holds = stands(walk, sp.wrapping_sub(8), pc);
        if bp_slot != 0 && flags & frame::NEEDS_BP != 0 {
            holds = holds && stands(walk, sp.wrapping_add(bp_slot as i64 as u64), bp);
        }
        if !holds {
            walk.mode = mode::FOLLOW;
            walk.cursor = walk.met;
            return false;
        }
        last = last.wrapping_sub(1);
    }
    walk.cursor = last.wrapping_add(1);
    false
}

/// Whether a word of the stack still has a value.
#[inline(always)]
fn stands(walk: &mut Walk, address: u64, value: u64) -> bool {
    match words::in_window(walk, address) {
        Some(word) => word == value,
        None => words::read(walk, address) && walk.window.word == value,
    }
}

/// The spine was followed to its end.
#[inline(always)]
fn arrived(walk: &mut Walk) {
    walk.end = walk.spine_end;
    let met = *at(walk, walk.met.wrapping_sub(1));
    if met.flags & frame::DOUBTFUL != 0 {
        walk.doubt = StackEnd::FramePointers as u32;
    }
}

/// [`mode::FOLLOW`]: passes the innermost frame that is left, if the words that
/// led from it to the next are still there. True: that was the whole stack.
#[inline(always)]
pub(super) fn follow(walk: &mut Walk) -> bool {
    let last = walk.cursor.wrapping_sub(1);
    if last == 0 {
        arrived(walk);
        return true;
    }
    let (from, to) = (*at(walk, last), *at(walk, last.wrapping_sub(1)));
    let holds = from.flags & frame::OPAQUE == 0
        && words::read_return(walk, to.sp.wrapping_sub(8))
        && walk.window.word == to.pc;
    if holds && bp_holds(walk, &from, &to) {
        walk.cursor = last;
    } else {
        walk.mode = mode::COPY;
    }
    false
}

/// Whether rbp still is what the frames further out need it to be.
#[inline(always)]
fn bp_holds(walk: &mut Walk, from: &Frame, to: &Frame) -> bool {
    if from.bp_slot == 0 {
        return true;
    }
    let address = to.sp.wrapping_add(from.bp_slot as i64 as u64);
    if to.flags & frame::NEEDS_BP != 0 && !(words::read(walk, address) && walk.window.word == to.bp)
    {
        return false;
    }
    walk.bp_address = address;
    true
}

/// [`mode::COPY`]: records a frame that was followed; after the last, the walk
/// goes on by the tables. False: there is no room, and the walk ended.
#[inline(always)]
pub(super) fn copy(walk: &mut Walk) -> bool {
    walk.met = walk.met.wrapping_sub(1);
    let mut next = *at(walk, walk.met);
    next.flags &= !(frame::NEEDS_BP | frame::OPAQUE_OUTWARDS);
    if !push(walk, next) {
        return false;
    }
    if walk.met.wrapping_add(1) == walk.cursor {
        walk.cursor = walk.met;
        walk.mode = mode::STEP;
        walk.bx_address = UNKNOWN;
        walk.pc = next.pc;
        walk.sp = next.sp;
        walk.flags = next.flags & (frame::EXACT | frame::ENTRY);
        if walk.bp_address != 0 && words::read(walk, walk.bp_address) {
            walk.bp = walk.window.word;
        }
    }
    true
}

/// Puts what the walk found on its own on the spine: the whole stack is then
/// there, and its hash is the innermost frame's.
#[inline(always)]
pub(super) fn rebuild(walk: &mut Walk) {
    let kept = if walk.mode == mode::FOLLOW || walk.mode == mode::GLIDE {
        walk.met
    } else {
        0
    };
    walk.depth = kept;
    walk.spine_end = walk.end;
    if !lasts(walk.end) || walk.doubt == StackEnd::NoTable as u32 {
        walk.forget = 1;
    }
    let count = walk.fresh_count;
    let mut walker = Walker { walk };
    // SAFETY: the callback gets the context as it is given here, and only while
    // this call lasts.
    unsafe {
        bpf_loop(count, lay as *mut c_void, (&raw mut walker).cast(), 0);
    }
}

/// Whether a stack with this end would be found the same again.
#[inline(always)]
fn lasts(end: u32) -> bool {
    end == StackEnd::Complete as u32
        || end == StackEnd::FramePointers as u32
        || end == StackEnd::Unsupported as u32
}

/// Moves one frame from the new part, outermost first, to the spine.
unsafe extern "C" fn lay(_index: u32, walker: *mut Walker) -> i64 {
    // SAFETY: `rebuild` gave this context; the walk outlives it.
    let walk = unsafe { &mut *(*walker).walk };
    let (depth, left) = (walk.depth, walk.fresh_count.wrapping_sub(1));
    let mut new = *fresh(walk, left);
    let (hash, outer) = if depth == 0 {
        (walk.space ^ u64::from(walk.end()), 0)
    } else {
        let outer = at(walk, depth.wrapping_sub(1));
        (outer.hash, outer.flags)
    };
    new.flags |= outer & (frame::DOUBTFUL | frame::OPAQUE_OUTWARDS);
    if new.flags & frame::OPAQUE != 0 {
        new.flags |= frame::OPAQUE_OUTWARDS;
    }
    if new.flags & frame::USES_BP != 0 || (new.bp_slot == 0 && outer & frame::NEEDS_BP != 0) {
        new.flags |= frame::NEEDS_BP;
    }
    new.hash = mix(hash, new.pc);
    *at(walk, depth) = new;
    walk.depth = depth.wrapping_add(1);
    walk.fresh_count = left;
    0
}

impl Walk {
    /// Identity of the stack: a hash of its frames, its end, and of what its
    /// addresses mean; never 0.
    #[inline(always)]
    pub(crate) fn id(&mut self) -> u64 {
        let depth = self.depth;
        if depth == 0 {
            return 1;
        }
        at(self, depth.wrapping_sub(1)).hash | 1
    }

    /// How it ended. Frame pointers that led to an entry are vouched for by that.
    #[inline(always)]
    pub(crate) fn end(&self) -> u16 {
        let proven =
            self.end == StackEnd::Complete as u32 && self.doubt == StackEnd::FramePointers as u32;
        (if self.doubt != 0 && !proven {
            self.doubt
        } else {
            self.end
        }) as u16
    }

    /// Number of its frames.
    #[inline(always)]
    pub(crate) fn count(&self) -> u32 {
        self.depth
    }

    /// The address of a frame, counted from the innermost.
    #[inline(always)]
    pub(crate) fn address(&mut self, index: u32) -> u64 {
        let depth = self.depth;
        at(self, depth.wrapping_sub(index).wrapping_sub(1)).pc
    }
}
