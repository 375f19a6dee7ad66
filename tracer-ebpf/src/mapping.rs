//! System calls that make, move and release mappings.
//!
//! What releases addresses is sent when the call is entered, because another
//! thread may be given them before the call returns to this one; a call that
//! then fails is taken back by [`Kind::Failed`].

use crate::alloc::enclosing;
use crate::kernel::in_compat_syscall;
use crate::ring;
use crate::stack::{Regs, capture};
use crate::state::{
    NO_SYSCALL, Syscall, Thread, current_ids, current_thread, is_active, known_thread,
};
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::pt_regs;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tracer_ebpf::{Advise, Failed, Header, Kind, Loss, Map, Range, Remap};

/// x86-64 system call numbers (arch/x86/entry/syscalls/syscall_64.tbl).
mod number {
    pub(super) const MMAP: u32 = 9;
    pub(super) const MUNMAP: u32 = 11;
    pub(super) const BRK: u32 = 12;
    pub(super) const MREMAP: u32 = 25;
    pub(super) const MADVISE: u32 = 28;
    pub(super) const SHMAT: u32 = 30;
    pub(super) const SHMDT: u32 = 67;
}

/// i386 numbers of mmap, munmap, mmap2, mremap, brk and madvise
/// (syscall_32.tbl), as the kinds that they would have sent.
#[inline(always)]
fn compat_kind(nr: u32) -> Option<Kind> {
    match nr {
        90 | 192 => Some(Kind::Map),
        91 => Some(Kind::Unmap),
        163 => Some(Kind::RemapExit),
        45 => Some(Kind::Break),
        219 => Some(Kind::Advise),
        _ => None,
    }
}

/// The kind of event that a system call sends (of the last, if several).
#[inline(always)]
fn native_kind(nr: u32) -> Option<Kind> {
    match nr {
        number::MMAP => Some(Kind::Map),
        number::MUNMAP => Some(Kind::Unmap),
        number::BRK => Some(Kind::Break),
        number::MREMAP => Some(Kind::RemapExit),
        number::MADVISE => Some(Kind::Advise),
        number::SHMAT => Some(Kind::ShmAttach),
        number::SHMDT => Some(Kind::ShmDetach),
        _ => None,
    }
}

/// Every system call of every process enters here: the number is looked at
/// first, since it comes in a register.
#[raw_tracepoint(tracepoint = "sys_enter")]
fn sys_enter(ctx: RawTracePointContext) -> i32 {
    let nr: u64 = ctx.arg(1);
    let nr = nr as u32;
    if let Some(kind) = native_kind(nr) {
        if let Some(thread) = current_thread(kind)
            && !in_compat_syscall()
        {
            enter(&ctx, nr, kind, thread);
        }
    } else if let Some(kind) = compat_kind(nr) {
        let (pid, _) = current_ids();
        if is_active(pid) && in_compat_syscall() {
            ring::lose(Loss::Compat, kind);
        }
    }
    0
}

/// And leaves here.
#[raw_tracepoint(tracepoint = "sys_exit")]
fn sys_exit(ctx: RawTracePointContext) -> i32 {
    let (_, tid) = current_ids();
    if let Some(thread) = known_thread(tid)
        && thread.syscall.number != NO_SYSCALL
    {
        let result: i64 = ctx.arg(1);
        let call = thread.syscall;
        thread.syscall.number = NO_SYSCALL;
        exit(thread, tid, &call, result);
    }
    0
}

#[inline(always)]
fn enter(ctx: &RawTracePointContext, nr: u32, kind: Kind, thread: &mut Thread) {
    let regs: *const pt_regs = ctx.arg(0);
    // SAFETY: bpf_probe_read_kernel takes any address and fails on a bad one.
    let Ok(regs) = (unsafe { bpf_probe_read_kernel(regs) }) else {
        ring::lose(Loss::Unreadable, kind);
        return;
    };
    let (stack, flags) = match enclosing(thread, regs.rsp) {
        Some(known) => known,
        None => {
            let walk_from = Regs {
                ip: regs.rip,
                sp: regs.rsp,
                at_entry: false,
            };
            let stack = capture(ctx.as_ptr(), thread, walk_from);
            (stack.id, stack.flags)
        }
    };
    thread.syscall = Syscall {
        number: nr,
        flags: u32::from(flags),
        stack,
        args: [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9],
    };
    let (_, tid) = current_ids();
    announce(thread, tid, kind);
}

/// Sends what has to be known before the call takes effect.
#[inline(always)]
fn announce(thread: &mut Thread, tid: u32, kind: Kind) {
    let call = thread.syscall;
    let [address, length, third, fourth, ..] = call.args;
    match kind {
        Kind::Unmap => {
            let header = header(kind, thread, tid, &call);
            let event = Range {
                header,
                address,
                length,
            };
            ring::send(thread, kind, &event);
        }
        Kind::ShmDetach => {
            let header = header(kind, thread, tid, &call);
            let event = Range {
                header,
                address,
                length: 0,
            };
            ring::send(thread, kind, &event);
        }
        Kind::Advise => {
            let header = header(kind, thread, tid, &call);
            let advice = third as u32;
            let event = Advise {
                header,
                address,
                length,
                advice,
                _pad: 0,
            };
            ring::send(thread, kind, &event);
        }
        Kind::RemapExit => {
            let header = header(Kind::RemapEnter, thread, tid, &call);
            let (new_length, flags) = (third, fourth);
            let event = Remap {
                header,
                address,
                length,
                new_length,
                flags,
            };
            ring::send(thread, Kind::RemapEnter, &event);
        }
        _ => {}
    }
}

#[inline(always)]
fn header(kind: Kind, thread: &Thread, tid: u32, call: &Syscall) -> Header {
    ring::header(kind, thread.space, tid, call.flags as u16, call.stack)
}

/// Whether a system call's result is an error (the last page's worth of values).
#[inline(always)]
fn is_error(result: i64) -> bool {
    (-4095..0).contains(&result)
}

/// Sends what is known only when the call has returned.
#[inline(always)]
fn exit(thread: &mut Thread, tid: u32, call: &Syscall, result: i64) {
    let failed = is_error(result);
    match call.number {
        number::MMAP if !failed => mapped(thread, tid, call, result as u64),
        number::BRK => range(thread, tid, call, Kind::Break, result as u64, 0),
        number::MREMAP => {
            let address = if failed { 0 } else { result as u64 };
            range(thread, tid, call, Kind::RemapExit, address, call.args[2]);
        }
        number::SHMAT if !failed => {
            // An int: the upper half of the register means nothing.
            let segment = u64::from(call.args[0] as u32);
            range(thread, tid, call, Kind::ShmAttach, result as u64, segment);
        }
        number::MUNMAP | number::MADVISE | number::SHMDT if failed => {
            let kind = native_kind(call.number).map_or(0, |kind| kind as u32);
            let event = Failed {
                header: header(Kind::Failed, thread, tid, call),
                kind,
                errno: -result as i32,
            };
            ring::send(thread, Kind::Failed, &event);
        }
        _ => {}
    }
}

#[inline(always)]
fn mapped(thread: &mut Thread, tid: u32, call: &Syscall, address: u64) {
    let [_, length, prot, flags, fd, offset] = call.args;
    let event = Map {
        header: header(Kind::Map, thread, tid, call),
        address,
        length,
        offset,
        prot: prot as u32,
        flags: flags as u32,
        fd: fd as i32,
        _pad: 0,
    };
    ring::send(thread, Kind::Map, &event);
}

#[inline(always)]
fn range(thread: &mut Thread, tid: u32, call: &Syscall, kind: Kind, address: u64, length: u64) {
    let event = Range {
        header: header(kind, thread, tid, call),
        address,
        length,
    };
    ring::send(thread, kind, &event);
}
