//! Pages that a thread has counted and not told of yet.
//!
//! Up to Linux 6.1 a thread counts the pages of its faults by itself
//! (`task_struct.rss_stat`), and adds them to its memory's counters, which tells of them,
//! once in some 64 faults (mm/memory.c, `check_sync_rss_stat`). What it has not told of is
//! read here, at its next fault and around its memory calls, so that each page still comes
//! with the fault that brought it, and before the call that takes it away.

use crate::kernel::{completed_faults, config, current, given_shared};
use crate::registers::user_regs;
use crate::state::{COUNTERS, NO_SYSCALL, Process, Thread, process};
use crate::touch::{buffer, send_change, toucher};
use tracer_ebpf::ABSENT;

/// Whether this kernel's threads count by themselves.
#[inline(always)]
pub(crate) fn threads_count() -> bool {
    config!(task_rss_stat) != ABSENT
}

/// Tells of what the current thread has counted since it was last asked.
#[inline(always)]
pub(crate) fn settle(thread: &Thread) {
    if threads_count() {
        // It always is 0: a global function has to return a number.
        let _ = settle_thread(thread, false);
    }
}

/// [`settle`] where a system call returns: what no fault explains, the call did.
#[inline(always)]
pub(crate) fn settle_call(thread: &Thread) {
    if threads_count() {
        let _ = settle_thread(thread, true);
    }
}

/// Whether the thread has anything to tell of.
#[inline(always)]
fn has_untold(thread: &Thread, counts: &[i32; COUNTERS]) -> bool {
    counts[0] != thread.untold[0].get()
        || counts[1] != thread.untold[1].get()
        || counts[2] != thread.untold[2].get()
        || counts[3] != thread.untold[3].get()
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn settle_thread(thread: *const Thread, by_call: bool) -> u32 {
    let Some(thread) = given_shared(thread) else {
        return 0;
    };
    let Some(counts) = current().read::<[i32; COUNTERS]>(config!(task_rss_stat)) else {
        return 0;
    };
    if !has_untold(thread, &counts) {
        return 0;
    }
    if let Some(space) = process(thread.space.get())
        && space.has_told.get() == 0
    {
        learn(space);
    }
    if !by_last_fault(thread) {
        explain(thread, by_call);
    }
    let Some(space) = process(thread.space.get()) else {
        return 0;
    };
    settle_counter::<0>(thread, space, counts[0]);
    settle_counter::<1>(thread, space, counts[1]);
    settle_counter::<2>(thread, space, counts[2]);
    settle_counter::<3>(thread, space, counts[3]);
    0
}

/// What the current process's memory has, before anything of it was told: what a fork copied,
/// what an exec made.
#[inline(always)]
fn learn(space: &Process) {
    space.has_told.set(1);
    let mm = current().follow(config!(task_mm));
    if let Some(pages) = mm.read::<[u64; COUNTERS]>(config!(mm_rss_stat)) {
        let page = config!(page_size);
        space.told[0].set(pages[0].wrapping_mul(page));
        space.told[1].set(pages[1].wrapping_mul(page));
        space.told[2].set(pages[2].wrapping_mul(page));
        space.told[3].set(pages[3].wrapping_mul(page));
    }
}

#[inline(always)]
fn settle_counter<const COUNTER: usize>(thread: &Thread, space: &Process, count: i32) {
    let moved = count.wrapping_sub(thread.untold[COUNTER].get());
    if moved == 0 {
        return;
    }
    thread.untold[COUNTER].set(count);
    space.untold[COUNTER].set(space.untold[COUNTER].get().wrapping_add(i64::from(moved)));
    let size = size::<COUNTER>(space);
    space.sizes[COUNTER].set(size);
    let _ = send_change(thread, COUNTER as u32, size, 0);
}

/// Makes `thread.fault` say that it was a system call; with the call's stack where it is known
/// which one: it returns now.
#[inline(always)]
fn explain(thread: &Thread, by_call: bool) {
    thread.fault.forget();
    if !by_call {
        return;
    }
    let regs = user_regs();
    thread.fault.address.set(buffer(&regs));
    let (stack, flags) = if thread.syscall.number.get() == NO_SYSCALL {
        toucher(thread, &regs)
    } else {
        (
            thread.syscall.stack.get(),
            thread.syscall.flags.get() as u16,
        )
    };
    thread.fault.stack.set(stack);
    thread.fault.flags.set(flags);
}

/// Whether no other fault was completed than the last one that was seen: what pins pages
/// (`mlock`, direct I/O) completes faults that are no exceptions.
#[inline(always)]
fn by_last_fault(thread: &Thread) -> bool {
    let since = completed_faults().wrapping_sub(thread.fault.completed.get());
    thread.fault.cause.get() != 0 && since <= 1
}

/// Bytes of a counter: what was told of, and what was not.
#[inline(always)]
fn size<const COUNTER: usize>(space: &Process) -> u64 {
    let untold = space.untold[COUNTER]
        .get()
        .wrapping_mul(config!(page_size) as i64);
    let size = (space.told[COUNTER].get() as i64).wrapping_add(untold);
    if size < 0 { 0 } else { size as u64 }
}

/// Bytes of a counter of which the kernel told `bytes`; the current thread did, where there
/// is one.
#[inline(always)]
pub(crate) fn whole(space: &Process, thread: Option<&Thread>, counter: u32, bytes: u64) -> u64 {
    match counter {
        0 => add::<0>(space, thread, bytes),
        1 => add::<1>(space, thread, bytes),
        2 => add::<2>(space, thread, bytes),
        3 => add::<3>(space, thread, bytes),
        _ => bytes,
    }
}

#[inline(always)]
fn add<const COUNTER: usize>(space: &Process, thread: Option<&Thread>, bytes: u64) -> u64 {
    let moved = bytes.wrapping_sub(space.told[COUNTER].get()) as i64;
    space.told[COUNTER].set(bytes);
    if let Some(thread) = thread {
        // The thread's own counter is set to zero only behind the tracepoint: where it is what
        // the sum moved by, the thread has just added it.
        let offset = config!(task_rss_stat).wrapping_add(4 * COUNTER as u32);
        let count: i32 = current().read(offset).unwrap_or(0);
        if count != 0 && moved == i64::from(count).wrapping_mul(config!(page_size) as i64) {
            let known = i64::from(thread.untold[COUNTER].get());
            space.untold[COUNTER].set(space.untold[COUNTER].get().wrapping_sub(known));
            thread.untold[COUNTER].set(0);
        }
    }
    size::<COUNTER>(space)
}
