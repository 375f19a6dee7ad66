//! Page faults, and the kernel's counters of resident memory.
//!
//! The exceptions say where a thread touched memory, before it is known what
//! will come of it; `kmem:rss_stat` says what came of it, for every way in
//! which memory becomes resident or stops being so. The two are joined here.

use crate::ids::current_ids;
use crate::kernel::{completed_faults, config, current, given_shared, hugetlb_usage};
use crate::process::{has_left, replace_left_image};
use crate::registers::{UserRegs, user_regs};
use crate::ring;
use crate::state::{
    Captured, Process, SPACES, Thread, current_thread, is_active, known_process, process,
};
use crate::touch::{buffer, send_change, toucher};
use crate::untold::{settle, threads_count, whole};
use crate::unwind::page_of_hugetlb;
use aya_ebpf::macros::{raw_tracepoint, tracepoint};
use aya_ebpf::programs::{RawTracePointContext, TracePointContext};
use tracer_ebpf::arch::fault::{PRESENT, WRITE_TO_PRESENT};
use tracer_ebpf::{Cause, Kind, Loss, Range, Resident, RssCounter};

/// A fault in user mode.
#[raw_tracepoint(tracepoint = "page_fault_user")]
fn page_fault_user(ctx: RawTracePointContext) -> i32 {
    remember(&ctx, Cause::UserFault);
    0
}

/// A fault in kernel mode, say `read` into fresh memory.
#[raw_tracepoint(tracepoint = "page_fault_kernel")]
fn page_fault_kernel(ctx: RawTracePointContext) -> i32 {
    remember(&ctx, Cause::KernelFault);
    0
}

/// The current thread, in the image whose memory it touches now.
#[inline(always)]
fn touching_thread() -> Option<&'static Thread> {
    let thread = current_thread(Kind::Resident as u32)?;
    if config!(prepare_exec) == 0 && has_left(thread) {
        // The image has changed, and nothing but this says so.
        // It always is 0: a global function has to return a number.
        let _ = replace_left_image(thread.pid.get());
        return current_thread(Kind::Resident as u32);
    }
    Some(thread)
}

#[inline(always)]
fn remember(ctx: &RawTracePointContext, cause: Cause) {
    let Some(thread) = touching_thread() else {
        return;
    };
    if thread.is_busy() {
        return;
    }
    settle(thread);
    let (address, error_code): (u64, u64) = (ctx.arg(0), ctx.arg(2));
    let fault = &thread.fault;
    fault.address.set(address);
    fault.began.set(ring::now());
    fault.error_code.set(error_code as u16);
    fault.cause.set(cause as u16);
    fault.completed.set(completed_faults());
    fault.captured.set(0);
    let copies = error_code & WRITE_TO_PRESENT == WRITE_TO_PRESENT && is_forked(thread.space.get());
    // Its pages are told of at the next fault, when its stack is gone; or its writer now.
    if threads_count() || copies {
        let (stack, flags) = match exec_under_way(thread.pid.get()) {
            Some(process) => {
                let caller = process.exec.get();
                (caller.id, caller.flags)
            }
            None => toucher(thread, &user_regs()),
        };
        thread.fault.stack.set(stack);
        thread.fault.flags.set(flags);
        thread.fault.captured.set(1);
    }
    if copies {
        // It always is 0: a global function has to return a number.
        let _ = tell_of_write(thread);
    }
    if error_code & PRESENT == 0
        && let Some(usage) = hugetlb_usage()
    {
        tell_of_hugetlb_fault(thread, address, usage);
    }
}

/// Whether a process has its memory from a fork, and has not executed anything since.
#[inline(always)]
fn is_forked(space: u32) -> bool {
    known_process(space).is_some_and(|process| process.forked.get() != 0)
}

/// The current thread writes to a page that is there, and gets a copy of its own. A function of its
/// own, for its frame is not to stand above that of a walk.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tell_of_write(thread: *const Thread) -> u32 {
    let Some(thread) = given_shared(thread) else {
        return 0;
    };
    let (_, tid) = current_ids();
    let (stack, flags) = (thread.fault.stack.get(), thread.fault.flags.get());
    let event = Range {
        header: ring::header(Kind::Written, thread.space.get(), tid, flags, stack),
        address: thread.fault.address.get(),
        length: 0,
    };
    thread.send(Kind::Written, &event);
    0
}

/// What `kmem:rss_stat` says (its `format` file; the same from Linux 5.6 on).
#[derive(Clone, Copy)]
struct Change {
    mm_id: u32,
    member: u32,
    size: u64,
}

/// A counter of some process's memory changed. As a classic tracepoint it gives
/// the sum over all CPUs, which the kernel's own per-CPU counters don't.
#[tracepoint(category = "kmem", name = "rss_stat")]
fn rss_stat(ctx: TracePointContext) -> u32 {
    // SAFETY: the offsets are those of the record's format.
    let (mm_id, curr, member, size) = unsafe {
        (
            ctx.read_at::<u32>(8),
            ctx.read_at::<u32>(12),
            ctx.read_at::<u32>(16),
            ctx.read_at::<i64>(24),
        )
    };
    let (Ok(mm_id), Ok(curr), Ok(member), Ok(size)) = (mm_id, curr, member, size) else {
        return 0;
    };
    let change = Change {
        mm_id,
        member,
        size: size.max(0) as u64,
    };
    if curr != 0 {
        changed_own(change);
    } else {
        changed_remotely(change);
    }
    0
}

/// The current process changed its own memory.
#[inline(always)]
fn changed_own(mut change: Change) {
    let Some(thread) = touching_thread() else {
        return;
    };
    let exec = match exec_under_way(thread.pid.get()) {
        // The memory is still that of the image before.
        Some(process) if current().follow(config!(task_mm)).0 == process.old_mm.get() => return,
        Some(process) => Some(process.exec.get()),
        None => None,
    };
    let Some(space) = process(thread.space.get()) else {
        ring::lose(Loss::ProcessesFull, Kind::Resident);
        return;
    };
    if space.mm_id.get() != change.mm_id {
        space.mm_id.set(change.mm_id);
        // Without it only remote changes go unseen, until the table has room.
        let _ = SPACES.insert(change.mm_id, thread.space.get(), 0);
    }
    if threads_count() {
        change.size = whole(space, Some(thread), change.member, change.size);
        if space.size(change.member).get() == change.size {
            // The thread added what had been told of already.
            return;
        }
    }
    let grew = note(space, change);
    tell(thread, change, grew, exec);
}

/// Tells of a change together with what the current thread is doing; `exec` is the caller of
/// the exec that is under way.
#[inline(always)]
fn tell(thread: &Thread, change: Change, grew: bool, exec: Option<Captured>) {
    let now = ring::now();
    let took = touch(thread, &user_regs(), grew, exec, now);
    // It always is 0: a global function has to return a number.
    let _ = send_change(thread, change.member, change.size, took);
}

/// The current thread faults on a page of hugetlbfs. The kernel leaves those out of what
/// `kmem:rss_stat` tells of, so this tells of one more in advance: where none comes, what is
/// told next puts it right.
#[inline(always)]
fn tell_of_hugetlb_fault(thread: &Thread, address: u64, usage: u64) {
    let page = page_of_hugetlb(address);
    if page == 0 {
        return;
    }
    let change = Change {
        mm_id: 0,
        member: RssCounter::HugeTlb as u32,
        size: usage + page,
    };
    if let Some(space) = process(thread.space.get()) {
        note(space, change);
    }
    tell(thread, change, true, None);
}

/// What the current process has of hugetlbfs, where that is not what was last told.
#[inline(always)]
pub(crate) fn untold_hugetlb(thread: &Thread) -> Option<u64> {
    let usage = hugetlb_usage()?;
    let known = known_process(thread.space.get())?.size(RssCounter::HugeTlb as u32);
    if known.get() == usage {
        return None;
    }
    known.set(usage);
    Some(usage)
}

/// The process, if it has begun an exec that is not done.
#[inline(always)]
fn exec_under_way(pid: u32) -> Option<&'static Process> {
    known_process(pid).filter(|process| process.old_mm.get() != 0)
}

/// Somebody else changed a traced process's memory: reclaim, khugepaged, a
/// debugger. Whose it is was learnt from the process's own changes.
#[inline(always)]
fn changed_remotely(mut change: Change) {
    // SAFETY: the value is one word.
    let Some(&owner) = (unsafe { SPACES.get(change.mm_id) }) else {
        return;
    };
    if !is_active(owner) {
        return;
    }
    if let Some(space) = known_process(owner) {
        if threads_count() {
            change.size = whole(space, None, change.member, change.size);
        }
        note(space, change);
    }
    let (_, tid) = current_ids();
    let event = Resident {
        header: ring::header(Kind::Resident, owner, tid, 0, 0),
        address: 0,
        size: change.size,
        took: 0,
        member: change.member as u16,
        cause: if in_kernel_thread() {
            Cause::Kernel as u16
        } else {
            Cause::Remote as u16
        },
        error_code: 0,
        syscall: u16::MAX,
    };
    ring::send_rare(Kind::Resident, &event);
}

/// Whether the current thread is the kernel's own: those have no memory.
#[inline(always)]
fn in_kernel_thread() -> bool {
    current().follow(config!(task_mm)).0 == 0
}

/// Remembers a counter. Says whether it grew.
#[inline(always)]
fn note(space: &Process, change: Change) -> bool {
    let size = space.size(change.member);
    let grew = change.size > size.get();
    size.set(change.size);
    grew
}

/// What the current thread is doing. A fault is being handled as long as the
/// number of completed ones stands. Without a fault it is a system call, whose
/// stack is of interest where memory grew (MAP_POPULATE, mlock, pinning), not
/// where it was released. One fault may change several counters (a page of a
/// file becomes a private copy), and has one stack. What it is stands in `thread.fault` then;
/// returned is how long the fault took up to here, where that is news.
#[inline(always)]
fn touch(thread: &Thread, regs: &UserRegs, grew: bool, exec: Option<Captured>, now: u64) -> u64 {
    let faulting =
        thread.fault.cause.get() != 0 && thread.fault.completed.get() == completed_faults();
    if !faulting {
        thread.fault.forget();
        if grew {
            thread.fault.address.set(buffer(regs));
        }
    }
    let mut took = 0;
    // One place for both cases: the verifier follows a capture twice otherwise.
    if if faulting {
        thread.fault.captured.get() == 0
    } else {
        grew
    } {
        if faulting {
            took = now.saturating_sub(thread.fault.began.get());
        }
        let (stack, flags) = match exec {
            Some(caller) => (caller.id, caller.flags),
            None => toucher(thread, regs),
        };
        thread.fault.stack.set(stack);
        thread.fault.flags.set(flags);
        thread.fault.captured.set(1);
    }
    took
}
