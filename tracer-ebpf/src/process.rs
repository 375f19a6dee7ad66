//! Processes: how they begin, change their image, and end.

use crate::atomic;
use crate::ids::{current_ids, thread_key};
use crate::kernel::{Kernel, config, current, id_in_namespace, kernel_counts, mapped};
use crate::registers::user_regs;
use crate::ring;
use crate::state::{
    Captured, Leaving, TARGETS, Thread, add_process, current_thread, forget_space, is_active,
    known_process, known_thread, process, remove_process, remove_thread,
};
use crate::touch::toucher;
use crate::untold::settle;
use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_send_signal};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tracer_ebpf::{Began, End, Fork, Header, KernelCounts, Kind, Loss, flags, target};

/// A thread or a process was made, and has not run yet.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn sched_process_fork(ctx: RawTracePointContext) -> i32 {
    let (pid, tid) = current_ids();
    if !is_active(pid) {
        return 0;
    }
    let (parent, child): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let child_id: u32 = Kernel(child).read(config!(task_pid)).unwrap_or(0);
    let group: u32 = Kernel(child).read(config!(task_tgid)).unwrap_or(0);
    if child_id == group && group != 0 {
        let id = match config!(namespace_level) {
            0 => group,
            _ => id_in_namespace(Kernel(child)),
        };
        forked(pid, tid, id, same_memory(Kernel(parent), Kernel(child)));
    }
    0
}

#[inline(always)]
fn same_memory(parent: Kernel, child: Kernel) -> bool {
    parent.follow(config!(task_mm)).0 == child.follow(config!(task_mm)).0
}

#[inline(always)]
fn forked(pid: u32, tid: u32, child: u32, shares_memory: bool) {
    let (space, image) =
        process(pid).map_or((pid, 0), |parent| (parent.space.get(), parent.image.get()));
    if TARGETS.insert(child, target::ACTIVE, 0).is_err() {
        ring::lose(Loss::ProcessesFull, Kind::Fork);
        return;
    }
    add_process(child, if shares_memory { space } else { child });
    if let Some(child) = known_process(child) {
        child.image.set(image);
        child.forked.set(u64::from(!shares_memory));
    }
    let event = Fork {
        header: header(Kind::Fork, pid, tid),
        child,
        shares_memory: u32::from(shares_memory),
    };
    ring::send_rare(Kind::Fork, &event);
}

/// An event's header, with the stack that the current thread entered the kernel with.
#[inline(always)]
fn header(kind: Kind, pid: u32, tid: u32) -> Header {
    let (stack, flags) = match current_thread(kind as u32) {
        Some(thread) => toucher(thread, &user_regs()),
        None => (0, 0),
    };
    ring::header(kind, pid, tid, flags, stack)
}

/// An exec has passed the point of no return: the old image is still there to
/// be read, and nothing of the new one has happened. From Linux 6.9 on.
#[raw_tracepoint(tracepoint = "sched_prepare_exec")]
fn sched_prepare_exec(_: RawTracePointContext) -> i32 {
    replace_image(thread_key(), current().follow(config!(task_mm)));
    0
}

/// An exec is done: the new image's mappings can be counted. Where there is no `sched_prepare_exec`, the image changes
/// here: the kernel has by then touched the new one's first pages, which only
/// their counters' next change will tell.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn sched_process_exec(ctx: RawTracePointContext) -> i32 {
    let (pid, tid) = current_ids();
    let replaced = known_process(pid).is_some_and(|process| process.old_mm.get() != 0);
    if config!(prepare_exec) == 0 && !replaced {
        // A thread that execs takes its leader's id.
        let old_tid: u64 = ctx.arg(1);
        replace_image(old_tid as u32, Kernel(0));
    }
    if is_active(pid) {
        if let Some(process) = known_process(pid) {
            process.old_mm.set(0);
        }
        let (mapped, stack) = mapped(current().follow(config!(task_mm)));
        let flags = if hold(pid, ctx.arg(1)) {
            flags::HELD
        } else {
            0
        };
        let header = ring::header(Kind::Began, pid, tid, flags, 0);
        let event = Began {
            header,
            mapped,
            stack,
        };
        if flags != 0 {
            ring::send_now(Kind::Began, &event);
        } else {
            ring::send_rare(Kind::Began, &event);
        }
    }
    0
}

/// Stops the process, before it has run an instruction of its new image, where the kernel's links
/// of probes have lost it: they know it by its first thread, and that is another one now.
#[inline(always)]
fn hold(pid: u32, old_tid: u64) -> bool {
    /// `SIGSTOP` (asm-generic/signal.h).
    const STOP: u32 = 19;
    // SAFETY: takes no argument and can't fail.
    let group = unsafe { bpf_get_current_pid_tgid() } >> 32;
    // SAFETY: takes a number.
    pid == config!(held) && old_tid as u32 != group as u32 && unsafe { bpf_send_signal(STOP) } == 0
}

#[inline(always)]
fn replace_image(key: u32, old: Kernel) {
    let (pid, _) = current_ids();
    replace_image_left(key, old, left_by_exec(pid));
}

#[inline(always)]
fn replace_image_left(key: u32, old: Kernel, left: Option<&Leaving>) {
    let (pid, tid) = current_ids();
    // SAFETY: the value is one word.
    let Some(&state) = (unsafe { TARGETS.get(pid) }) else {
        return;
    };
    let mut counts = KernelCounts::default();
    if state == target::ACTIVE {
        counts = match left {
            Some(left) => left.counts.get(),
            None => own_counts(pid, old),
        };
    } else if TARGETS.insert(pid, target::ACTIVE, 0).is_err() {
        ring::lose(Loss::ProcessesFull, Kind::Exec);
        return;
    }
    // The old image's stack, where it still is there.
    let header = match left {
        Some(left) => {
            let caller = left.caller.get();
            ring::header(Kind::Exec, pid, left.tid.get(), caller.flags, caller.id)
        }
        None if old.0 != 0 && state == target::ACTIVE => header(Kind::Exec, pid, tid),
        None => ring::header(Kind::Exec, pid, tid, 0, 0),
    };
    remove_thread(key);
    let caller = Captured {
        id: header.stack,
        flags: header.flags,
    };
    begin_image(pid, old, caller);
    send_end(Kind::Exec, header, counts, 0);
}

/// Notes what the current process is before its memory may go. `by_exec`: it enters an exec,
/// which may fail; elsewhere it ends, or may end.
#[inline(always)]
pub(crate) fn note_leaving(thread: &Thread, by_exec: bool) {
    if by_exec && config!(prepare_exec) != 0 {
        return;
    }
    let (id, flags) = toucher(thread, &user_regs());
    let mm = current().follow(config!(task_mm));
    let counts = own_counts(thread.pid.get(), mm);
    if let Some(process) = known_process(thread.pid.get()) {
        process.leaving.mm.set(mm.0);
        process.leaving.counts.set(counts);
        process.leaving.caller.set(Captured { id, flags });
        process.leaving.by_exec.set(u32::from(by_exec));
        process.leaving.key.set(thread_key());
        process.leaving.tid.set(thread.tid.get());
    }
}

/// Whether the current process has entered an exec and has other memory by now.
#[inline(always)]
pub(crate) fn has_left(thread: &Thread) -> bool {
    match left_by_exec(thread.pid.get()) {
        Some(left) => current().follow(config!(task_mm)).0 != left.mm.get(),
        None => false,
    }
}

/// The image that the exec under way leaves, as noted at its entry: only where
/// `sched_prepare_exec` does not tell.
#[inline(always)]
fn left_by_exec(pid: u32) -> Option<&'static Leaving> {
    if config!(prepare_exec) != 0 {
        return None;
    }
    let left = &known_process(pid)?.leaving;
    (left.by_exec.get() != 0).then_some(left)
}

/// [`replace_image`] of a process of which [`has_left`] is true. A function of its own, for its
/// frame is not to stand above that of a walk.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn replace_left_image(pid: u32) -> u32 {
    if let Some(left) = left_by_exec(pid) {
        replace_image_left(left.key.get(), Kernel(left.mm.get()), Some(left));
    }
    0
}

/// A signal is delivered. Where no handler takes it, it may be the end.
#[raw_tracepoint(tracepoint = "signal_deliver")]
fn signal_deliver(ctx: RawTracePointContext) -> i32 {
    let action: u64 = ctx.arg(2);
    let handler = Kernel(action).read(config!(action_handler));
    if handler == Some(0u64)
        && let Some(thread) = current_thread(Kind::Exit as u32)
    {
        settle(thread);
        note_leaving(thread, false);
    }
    0
}

/// What the kernel had counted for the process, unless its memory was another's.
#[inline(always)]
fn own_counts(pid: u32, mm: Kernel) -> KernelCounts {
    match known_process(pid) {
        Some(process) if process.space.get() != pid => KernelCounts::default(),
        Some(process) => kernel_counts(mm, process.resident()),
        None => kernel_counts(mm, 0),
    }
}

/// From here on the process has memory of its own, with nothing known of it.
#[inline(always)]
fn begin_image(pid: u32, old: Kernel, caller: Captured) {
    let Some(process) = process(pid) else {
        ring::lose(Loss::ProcessesFull, Kind::Exec);
        return;
    };
    forget_space(process.mm_id.get(), pid);
    process.space.set(pid);
    process.mm_id.set(0);
    process.old_mm.set(old.0);
    process.exec.set(caller);
    process.forked.set(0);
    process.image.set(ring::now());
    process.sizes.iter().for_each(|size| size.set(0));
    process.told.iter().for_each(|bytes| bytes.set(0));
    process.has_told.set(0);
    process.untold.iter().for_each(|pages| pages.set(0));
    process.leaving.mm.set(0);
    process.leaving.by_exec.set(0);
}

#[inline(always)]
fn send_end(kind: Kind, header: Header, counts: KernelCounts, status: u32) {
    let event = End {
        header,
        counts,
        status,
        _pad: 0,
    };
    ring::send_rare(kind, &event);
}

/// A thread ends. Up to Linux 6.15 its memory is gone by now: the counts and the stack are
/// those of the moment at which it was seen to leave.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn sched_process_exit(_: RawTracePointContext) -> i32 {
    let (pid, tid) = current_ids();
    let Some(state) = TARGETS.get_ptr_mut(pid) else {
        return 0;
    };
    let task = current();
    let signal = task.follow(config!(task_signal));
    let signal_flags: u32 = signal.read(config!(signal_flags)).unwrap_or(0);
    let others: u32 = signal.read(config!(signal_live)).unwrap_or(0);
    let mm = task.follow(config!(task_mm));
    // Without its memory there is no stack to walk.
    let left = match known_process(pid) {
        Some(process) if mm.0 == 0 && process.leaving.mm.get() != 0 => Some(&process.leaving),
        _ => None,
    };
    let header = match left {
        Some(left) => {
            let caller = left.caller.get();
            ring::header(Kind::Exit, pid, tid, caller.flags, caller.id)
        }
        None if others == 0 && mm.0 != 0 => header(Kind::Exit, pid, tid),
        None => ring::header(Kind::Exit, pid, tid, 0, 0),
    };
    end_thread(signal_flags & SIGNAL_GROUP_EXIT != 0);
    if others != 0 {
        return 0;
    }
    // Two threads may both see that none is left: the first one reports it.
    // SAFETY: a live element of the map, whichever thread it is.
    let state = unsafe { atomic::swap_half(state, target::ENDED) };
    if state == target::ENDED {
        return 0;
    }
    if state == target::ACTIVE {
        let counts = match left {
            Some(left) => left.counts.get(),
            None => own_counts(pid, mm),
        };
        send_end(
            Kind::Exit,
            header,
            counts,
            status(task, signal, signal_flags),
        );
    }
    remove_process(pid);
    // Last: user space takes it that nothing more will come of a process that
    // is not there. Another thread may have been first.
    let _ = TARGETS.remove(pid);
    0
}

/// `signal_struct.flags`: all threads are told to exit, and `group_exit_code`
/// holds the status (include/linux/sched/signal.h).
const SIGNAL_GROUP_EXIT: u32 = 4;

/// A thread that ends alone within an allocation leaves it unknown; one that
/// ends with its process leaves nothing that matters.
#[inline(always)]
fn end_thread(whole_group: bool) {
    if let Some(thread) = known_thread(thread_key())
        && thread.call.sp.get() != 0
        && !whole_group
    {
        ring::lose(Loss::NoReturn, thread.call.kind());
    }
    remove_thread(thread_key());
}

/// The wait status of the process (kernel/exit.c, `wait_task_zombie`).
#[inline(always)]
fn status(task: Kernel, signal: Kernel, signal_flags: u32) -> u32 {
    let status = if signal_flags & SIGNAL_GROUP_EXIT != 0 {
        signal.read(config!(signal_group_exit_code))
    } else {
        let leader = task.follow(config!(task_group_leader));
        leader.read(config!(task_exit_code))
    };
    status.unwrap_or(0)
}
