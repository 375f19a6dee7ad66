//! Page faults, and the kernel's counters of resident memory.
//!
//! The exceptions say where a thread touched memory, before it is known what
//! will come of it; `kmem:rss_stat` says what came of it, for every way in
//! which memory becomes resident or stops being so. The two are joined here.

use crate::ids::current_ids;
use crate::kernel::{completed_faults, config, current, hugetlb_usage};
use crate::process::{has_left, replace_left_image};
use crate::registers::{UserRegs, user_regs};
use crate::ring;
use crate::state::{
    Captured, Fault, Process, SPACES, Thread, current_thread, is_active, known_process, process,
};
use crate::touch::{NO_FAULT, buffer, send_change, toucher};
use crate::untold::{settle, threads_count, whole};
use crate::unwind::page_of_hugetlb;
use aya_ebpf::macros::{raw_tracepoint, tracepoint};
use aya_ebpf::programs::{RawTracePointContext, TracePointContext};
use tracer_ebpf::arch::fault::{PRESENT, WRITE_TO_PRESENT};
use tracer_ebpf::{Cause, Kind, Loss, Member, Range, Resident};

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
fn touching_thread() -> Option<&'static mut Thread> {
    let thread = current_thread(Kind::Resident as u32)?;
    if config!(prepare_exec) == 0 && has_left(thread) {
        // The image has changed, and nothing but this says so.
        replace_left_image(thread.pid);
        return current_thread(Kind::Resident as u32);
    }
    Some(thread)
}

#[inline(always)]
fn remember(ctx: &RawTracePointContext, cause: Cause) {
    let Some(thread) = touching_thread() else {
        return;
    };
    if thread.busy != 0 {
        return;
    }
    settle(thread);
    let (address, error_code): (u64, u64) = (ctx.arg(0), ctx.arg(2));
    let fault = &mut thread.fault;
    fault.address = address;
    fault.began = ring::now();
    fault.error_code = error_code as u16;
    fault.cause = cause as u16;
    fault.completed = completed_faults();
    fault.captured = 0;
    let copies = error_code & WRITE_TO_PRESENT == WRITE_TO_PRESENT && is_forked(thread.space);
    // Its pages are told of at the next fault, when its stack is gone; or its writer now.
    if threads_count() || copies {
        let (stack, flags) = match exec_under_way(thread.pid) {
            Some((_, caller)) => (caller.id, caller.flags),
            None => toucher(thread, &user_regs()),
        };
        thread.fault.stack = stack;
        thread.fault.flags = flags;
        thread.fault.captured = 1;
    }
    if copies {
        tell_of_write(thread);
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
    known_process(space).is_some_and(|process| process.forked != 0)
}

/// The current thread writes to a page that is there, and gets a copy of its own.
#[inline(always)]
fn tell_of_write(thread: &mut Thread) {
    let (_, tid) = current_ids();
    let Fault {
        address,
        stack,
        flags,
        ..
    } = thread.fault;
    let event = Range {
        header: ring::header(Kind::Written, thread.space, tid, flags, stack),
        address,
        length: 0,
    };
    thread.send(Kind::Written, &event);
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
    let exec = match exec_under_way(thread.pid) {
        Some((true, _)) => return,
        Some((false, caller)) => Some(caller),
        None => None,
    };
    let Some(space) = process(thread.space) else {
        ring::lose(Loss::ProcessesFull, Kind::Resident);
        return;
    };
    if space.mm_id != change.mm_id {
        space.mm_id = change.mm_id;
        // Without it only remote changes go unseen, until the table has room.
        let _ = SPACES.insert(change.mm_id, thread.space, 0);
    }
    if threads_count() {
        change.size = whole(space, Some(&mut *thread), change.member, change.size);
        if *space.size_mut(change.member) == change.size {
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
fn tell(thread: &mut Thread, change: Change, grew: bool, exec: Option<Captured>) {
    let now = ring::now();
    let took = touch(thread, &user_regs(), grew, exec, now);
    // It always is 0: a global function has to return a number.
    let _ = send_change(thread, change.member, change.size, took);
}

/// The current thread faults on a page of hugetlbfs. The kernel leaves those out of what
/// `kmem:rss_stat` tells of, so this tells of one more in advance: where none comes, what is
/// told next puts it right.
#[inline(always)]
fn tell_of_hugetlb_fault(thread: &mut Thread, address: u64, usage: u64) {
    let page = page_of_hugetlb(address);
    if page == 0 {
        return;
    }
    let change = Change {
        mm_id: 0,
        member: Member::HugeTlb as u32,
        size: usage + page,
    };
    if let Some(space) = process(thread.space) {
        note(space, change);
    }
    tell(thread, change, true, None);
}

/// What the current process has of hugetlbfs, where that is not what was last told.
#[inline(always)]
pub(crate) fn untold_hugetlb(thread: &Thread) -> Option<u64> {
    let usage = hugetlb_usage()?;
    let known = known_process(thread.space)?.size_mut(Member::HugeTlb as u32);
    if *known == usage {
        return None;
    }
    *known = usage;
    Some(usage)
}

/// The exec that has begun and is not done, if there is one: whether the memory is still that
/// of the image before, and who called it.
#[inline(always)]
fn exec_under_way(pid: u32) -> Option<(bool, Captured)> {
    let process = known_process(pid)?;
    if process.old_mm == 0 {
        return None;
    }
    let mm = current().follow(config!(task_mm)).0;
    Some((mm == process.old_mm, process.exec))
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
fn note(space: &mut Process, change: Change) -> bool {
    let size = space.size_mut(change.member);
    let grew = change.size > *size;
    *size = change.size;
    grew
}

/// What the current thread is doing. A fault is being handled as long as the
/// number of completed ones stands. Without a fault it is a system call, whose
/// stack is of interest where memory grew (MAP_POPULATE, mlock, pinning), not
/// where it was released. One fault may change several counters (a page of a
/// file becomes a private copy), and has one stack. What it is stands in `thread.fault` then;
/// returned is how long the fault took up to here, where that is news.
#[inline(always)]
fn touch(
    thread: &mut Thread,
    regs: &UserRegs,
    grew: bool,
    exec: Option<Captured>,
    now: u64,
) -> u64 {
    let faulting = thread.fault.cause != 0 && thread.fault.completed == completed_faults();
    if !faulting {
        thread.fault = NO_FAULT;
        if grew {
            thread.fault.address = buffer(regs);
        }
    }
    let mut took = 0;
    // One place for both cases: the verifier follows a capture twice otherwise.
    if if faulting {
        thread.fault.captured == 0
    } else {
        grew
    } {
        if faulting {
            took = now.saturating_sub(thread.fault.began);
        }
        let (stack, flags) = match exec {
            Some(caller) => (caller.id, caller.flags),
            None => toucher(thread, regs),
        };
        thread.fault.stack = stack;
        thread.fault.flags = flags;
        thread.fault.captured = 1;
    }
    took
}
