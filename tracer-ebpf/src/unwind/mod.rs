//! Full stacks without frame pointers: a walk by the tables that user space
//! made of `.eh_frame` (see `tracer_ebpf::tables`).
//!
//! A thread's last stack is remembered as a *spine*. A new walk steps outwards
//! by the tables (the `Step` mode) until it meets a frame that stands on the
//! spine: same address, same stack pointer. From there on every step would only
//! lead to the frames the spine has, provided that the words it was read from
//! are still in place; comparing those costs a fraction. Nearly always all of them are, and
//! are compared many at a time (the `Glide` mode).
//! Where one differs, they are compared one by one (`Follow`), and the walk goes on by the tables from the last frame that
//! holds (after `Copy` has put the frames that did into the new part).

mod hash;
mod mapping;
mod mappings;
mod offsets;
mod spine;
mod step;
mod walk;
mod window;
mod words;

pub(crate) use hash::mix;
pub(crate) use mappings::{end_of_mapping, note_executable_mapping, page_of_hugetlb};
pub(crate) use walk::{Walk, forget_thread};

use crate::kernel::current;
use crate::registers::Regs;
use aya_ebpf::helpers::generated::bpf_loop;
use core::ffi::c_void;
use offsets::{member, offset};
use tracer_ebpf::MAX_FRAMES;
use walk::{Walker, frame, mode};

/// Steps of a walk, of whatever mode: every frame followed, copied and stepped.
const MAX_STEPS: u32 = 3 * MAX_FRAMES as u32;

/// Walks the current thread's stack; `None` if there is no room for one more
/// thread, or a program of this thread was interrupted while it walked.
///
/// `image` tells apart what the same addresses meant at other times: it changes
/// with the process and with each exec.
#[inline(always)]
pub(crate) fn walk(tid: u32, image: u64, start: &Regs) -> Option<&'static mut Walk> {
    let walk = begin(tid, image, start)?;
    let mut walker = Walker { walk };
    // SAFETY: the callback gets the context as it is given here, and only while
    // this call lasts.
    unsafe {
        bpf_loop(
            MAX_STEPS,
            advance as *mut c_void,
            (&raw mut walker).cast(),
            0,
        );
    }
    spine::rebuild(walk);
    walk.busy = 0;
    Some(walk)
}

/// One iteration of a walk; 1 ends it.
unsafe extern "C" fn advance(_index: u32, walker: *mut Walker) -> i64 {
    // SAFETY: `walk` gave this context; the walk outlives it.
    let walk = unsafe { &mut *(*walker).walk };
    if walk.mode == mode::GLIDE {
        return i64::from(spine::glide(walk));
    }
    if walk.mode == mode::FOLLOW {
        return i64::from(spine::follow(walk));
    }
    if walk.mode == mode::COPY {
        return i64::from(!spine::copy(walk));
    }
    if walk.mode == mode::ARRIVE && !spine::arrive(walk) {
        return i64::from(walk.end != 0);
    }
    i64::from(!step::step(walk))
}

/// The thread's walk, set to its beginning.
#[inline(always)]
fn begin(tid: u32, image: u64, start: &Regs) -> Option<&'static mut Walk> {
    let walk = walk::find(tid)?;
    if walk.busy != 0 {
        return None;
    }
    walk.busy = 1;
    walk.mode = mode::ARRIVE;
    walk.pc = start.ip;
    walk.sp = start.sp;
    walk.bp = start.bp;
    walk.bp_address = 0;
    walk.bx_address = 0;
    walk.flags = if start.at_entry != 0 {
        frame::EXACT | frame::ENTRY
    } else {
        frame::EXACT
    };
    walk.end = 0;
    walk.doubt = 0;
    walk.pending = 0;
    walk.fresh_count = 0;
    walk.met = 0;
    walk.window.clear();
    spine::begin(walk, mappings::space(image));
    find_pending_returns(walk);
    Some(walk)
}

/// A pending uretprobe stands on the stack in place of a return address; the
/// kernel's list has the real ones (`struct return_instance`).
#[inline(always)]
fn find_pending_returns(walk: &mut Walk) {
    let task = current().0;
    walk.trampoline = 0;
    walk.returns = member(member(task, offset!(task_utask)), offset!(utask_returns));
    if walk.returns != 0 {
        let mm = member(task, offset!(task_mm));
        walk.trampoline = member(member(mm, offset!(mm_xol)), offset!(xol_address));
    }
}
