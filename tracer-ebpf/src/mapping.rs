//! System calls that make, move and release mappings.
//!
//! What releases addresses is sent when the call is entered, because another
//! thread may be given them before the call returns to this one. When a call has
//! returned, [`Kind::Returned`] says how long it took, and takes back one that failed.

use crate::fault::untold_hugetlb;
use crate::ids::thread_key;
use crate::kernel::{given_shared, in_compat_syscall};
use crate::mark;
use crate::process::note_leaving;
use crate::registers::{copy_arguments, user_regs};
use crate::ring;
use crate::state::{NO_SYSCALL, Thread, current_thread, known_thread};
use crate::touch::{has_buffer, toucher};
use crate::untold::{settle, settle_call, threads_count};
use crate::unwind::note_executable_mapping;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tracer_ebpf::arch::{compat, syscall};
use tracer_ebpf::{
    Advise, Cause, Header, Kind, Loss, Map, Range, Remap, Resident, Returned, RssCounter, Segment,
};

/// mmap's `PROT_EXEC` (mman-common.h).
const PROT_EXEC: u64 = 4;

/// By system call number: the kind of event that it sends (of the last, if
/// several), with [`COMPAT`] where that is so for the 32-bit ABI only; 0 for
/// calls of no interest. A table, because the verifier would follow each branch
/// of a `match` to the end.
static KIND_OF: [u8; syscall::COUNT] = {
    let mut table = [0; syscall::COUNT];
    table[syscall::MMAP as usize] = Kind::Map as u8;
    table[syscall::MUNMAP as usize] = Kind::Unmap as u8;
    table[syscall::BRK as usize] = Kind::Break as u8;
    table[syscall::MREMAP as usize] = Kind::RemapExit as u8;
    table[syscall::MADVISE as usize] = Kind::Advise as u8;
    table[syscall::SHMAT as usize] = Kind::ShmAttach as u8;
    table[syscall::SHMDT as usize] = Kind::ShmDetach as u8;
    // What they leave behind is noted, and nothing sent.
    table[syscall::EXECVE as usize] = Kind::Exec as u8;
    table[syscall::EXECVEAT as usize] = Kind::Exec as u8;
    table[syscall::EXIT as usize] = Kind::Exit as u8;
    table[syscall::EXIT_GROUP as usize] = Kind::Exit as u8;
    // They name moments, if they name such a file.
    table[syscall::ACCESS as usize] = Kind::Mark as u8;
    table[syscall::FACCESSAT as usize] = Kind::Mark as u8;
    table[syscall::FACCESSAT2 as usize] = Kind::Mark as u8;
    // Only how long they take is of interest.
    table[syscall::MPROTECT as usize] = Kind::Returned as u8;
    table[syscall::MLOCK as usize] = Kind::Returned as u8;
    table[syscall::MUNLOCK as usize] = Kind::Returned as u8;
    table[syscall::MLOCKALL as usize] = Kind::Returned as u8;
    table[syscall::MUNLOCKALL as usize] = Kind::Returned as u8;
    table[syscall::MLOCK2 as usize] = Kind::Returned as u8;
    table[syscall::PKEY_MPROTECT as usize] = Kind::Returned as u8;
    table[compat::BRK as usize] = Kind::Break as u8 | COMPAT;
    table[compat::MMAP as usize] = Kind::Map as u8 | COMPAT;
    table[compat::MMAP2 as usize] = Kind::Map as u8 | COMPAT;
    table[compat::MUNMAP as usize] = Kind::Unmap as u8 | COMPAT;
    table[compat::MREMAP as usize] = Kind::RemapExit as u8 | COMPAT;
    table[compat::MADVISE as usize] = Kind::Advise as u8 | COMPAT;
    table
};

/// See [`KIND_OF`].
const COMPAT: u8 = 0x80;

/// What [`KIND_OF`] says of a system call number. Volatile, so that it stays a
/// look-up.
#[inline(always)]
fn kind_of(nr: u64) -> u8 {
    if nr >= KIND_OF.len() as u64 {
        return 0;
    }
    // SAFETY: just checked.
    unsafe { core::ptr::read_volatile(KIND_OF.as_ptr().add(nr as usize)) }
}

/// Every system call of every process enters here: the number is looked at
/// first, since it comes in a register.
#[raw_tracepoint(tracepoint = "sys_enter")]
fn sys_enter(ctx: RawTracePointContext) -> i32 {
    let nr: u64 = ctx.arg(1);
    let kind = kind_of(nr);
    if kind == 0 {
        return 0;
    }
    let Some(thread) = current_thread(u32::from(kind & !COMPAT)) else {
        return 0;
    };
    // What a mark says is read when the call returns, of a thread that is known.
    if kind == Kind::Mark as u8 {
        return 0;
    }
    if in_compat_syscall() == (kind & COMPAT != 0) {
        if kind & COMPAT == 0 {
            settle(thread);
            match nr as u32 {
                syscall::EXIT | syscall::EXIT_GROUP => note_leaving(thread, false),
                syscall::EXECVE | syscall::EXECVEAT => note_leaving(thread, true),
                nr => enter(nr, thread),
            }
        } else {
            ring::lose_number(Loss::Compat, u32::from(kind & !COMPAT));
        }
    }
    0
}

/// And leaves here. Again the number is looked at first: a load from the saved
/// registers costs less than a look-up of the thread.
#[raw_tracepoint(tracepoint = "sys_exit")]
fn sys_exit(ctx: RawTracePointContext) -> i32 {
    let number = user_regs().syscall;
    let kind = kind_of(number as u64);
    let is_followed = kind != 0;
    if !is_followed && !(threads_count() && has_buffer(number)) {
        return 0;
    }
    let now = ring::now();
    let Some(thread) = known_thread(thread_key()) else {
        return 0;
    };
    settle_call(thread);
    if kind == Kind::Mark as u8 {
        if !in_compat_syscall() {
            // It always is 0: a global function has to return a number.
            let _ = mark::tell_mark(thread, number as u32);
        }
    } else if is_followed && thread.syscall.number.get() != NO_SYSCALL {
        let result: i64 = ctx.arg(1);
        // It always is 0: a global function has to return a number.
        let _ = leave(thread, result, now);
    }
    0
}

/// The followed call that is under way has returned. A function of its own, for its frame is not
/// to stand above that of a walk.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn leave(thread: *const Thread, result: i64, now: u64) -> u32 {
    if let Some(thread) = given_shared(thread) {
        exit(thread, result);
        returned(thread, result, now);
        thread.syscall.number.set(NO_SYSCALL);
    }
    0
}

#[inline(always)]
fn enter(nr: u32, thread: &Thread) {
    let (stack, flags) = toucher(thread, &user_regs());
    thread.syscall.number.set(nr);
    thread.syscall.flags.set(u32::from(flags));
    thread.syscall.stack.set(stack);
    copy_arguments(&thread.syscall.args);
    announce(thread);
    // Behind everything that tracing does here.
    thread.syscall.began.set(ring::now());
}

/// Sends what has to be known before the call takes effect.
#[inline(always)]
fn announce(thread: &Thread) {
    let [address, length, third, fourth, ..] = &thread.syscall.args;
    let (address, length) = (address.get(), length.get());
    match thread.syscall.number.get() {
        syscall::MUNMAP => {
            let kind = Kind::Unmap;
            let header = header(kind, thread);
            let event = Range {
                header,
                address,
                length,
            };
            thread.send(kind, &event);
        }
        syscall::SHMDT => {
            let kind = Kind::ShmDetach;
            let header = header(kind, thread);
            let event = Range {
                header,
                address,
                length: 0,
            };
            thread.send(kind, &event);
        }
        syscall::MADVISE => {
            let kind = Kind::Advise;
            let header = header(kind, thread);
            let advice = third.get() as u32;
            let event = Advise {
                header,
                address,
                length,
                advice,
                _pad: 0,
            };
            thread.send(kind, &event);
        }
        syscall::MREMAP => {
            let header = header(Kind::RemapEnter, thread);
            let (new_length, flags) = (third.get(), fourth.get());
            let event = Remap {
                header,
                address,
                length,
                new_length,
                flags,
            };
            thread.send(Kind::RemapEnter, &event);
        }
        _ => {}
    }
}

#[inline(always)]
fn header(kind: Kind, thread: &Thread) -> Header {
    let call = &thread.syscall;
    ring::header(
        kind,
        thread.space.get(),
        thread.tid.get(),
        call.flags.get() as u16,
        call.stack.get(),
    )
}

/// Whether a system call's result is an error (the last page's worth of values).
#[inline(always)]
fn is_error(result: i64) -> bool {
    (-4095..0).contains(&result)
}

/// Sends what is known only when the call has returned.
#[inline(always)]
fn exit(thread: &Thread, result: i64) {
    let failed = is_error(result);
    match thread.syscall.number.get() {
        syscall::MMAP if !failed => mapped(thread, result as u64),
        syscall::BRK => range(thread, Kind::Break, result as u64, 0),
        syscall::MREMAP => {
            let address = if failed { 0 } else { result as u64 };
            range(
                thread,
                Kind::RemapExit,
                address,
                thread.syscall.args[2].get(),
            );
        }
        syscall::SHMAT if !failed => attached(thread, result as u64),
        _ => {}
    }
}

/// Tells of a segment of System V shared memory.
#[inline(always)]
fn attached(thread: &Thread, address: u64) {
    let event = Segment {
        header: header(Kind::ShmAttach, thread),
        address,
        // An int: the upper half of the register means nothing.
        segment: u64::from(thread.syscall.args[0].get() as u32),
        length: 0,
    };
    thread.send(Kind::ShmAttach, &event);
}

/// Tells that a call is over.
#[inline(always)]
fn returned(thread: &Thread, result: i64, now: u64) {
    let errno = if is_error(result) { -result as i32 } else { 0 };
    let event = Returned {
        header: header(Kind::Returned, thread),
        took: now.saturating_sub(thread.syscall.began.get()),
        syscall: thread.syscall.number.get(),
        errno,
    };
    thread.send(Kind::Returned, &event);
    if let Some(usage) = untold_hugetlb(thread) {
        hugetlb(thread, result, usage);
    }
}

/// Tells that the call changed what the process has of hugetlbfs: it released, or populated.
#[inline(always)]
fn hugetlb(thread: &Thread, result: i64, usage: u64) {
    let number = thread.syscall.number.get();
    let address = if number == syscall::MMAP {
        result as u64
    } else {
        thread.syscall.args[0].get()
    };
    let event = Resident {
        header: header(Kind::Resident, thread),
        address,
        size: usage,
        took: 0,
        member: RssCounter::HugeTlb as u16,
        cause: Cause::Syscall as u16,
        error_code: 0,
        syscall: number as u16,
    };
    thread.send(Kind::Resident, &event);
}

#[inline(always)]
fn mapped(thread: &Thread, address: u64) {
    let [_, length, prot, flags, fd, offset] = &thread.syscall.args;
    let prot = prot.get();
    let event = Map {
        header: header(Kind::Map, thread),
        address,
        length: length.get(),
        offset: offset.get(),
        prot: prot as u32,
        flags: flags.get() as u32,
        fd: fd.get() as i32,
        _pad: 0,
    };
    thread.send(Kind::Map, &event);
    if prot & PROT_EXEC != 0 {
        note_executable_mapping(address);
    }
}

#[inline(always)]
fn range(thread: &Thread, kind: Kind, address: u64, length: u64) {
    let event = Range {
        header: header(kind, thread),
        address,
        length,
    };
    thread.send(kind, &event);
}
