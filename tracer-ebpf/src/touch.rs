//! Who touches memory, and the event that says so.

use crate::alloc::enclosing;
use crate::kernel::{given_shared, in_compat_syscall, user_word};
use crate::registers::{Regs, UserRegs, user_regs};
use crate::ring;
use crate::stack::capture;
use crate::state::Thread;
use tracer_ebpf::arch::syscall;
use tracer_ebpf::{Kind, Resident};

/// Sends a change that `thread.fault` explains. A function of its own, for its frame is not
/// to stand above that of the walk.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn send_change(
    thread: *const Thread,
    member: u32,
    size: u64,
    took: u64,
) -> u32 {
    let Some(thread) = given_shared(thread) else {
        return 0;
    };
    let fault = &thread.fault;
    let event = Resident {
        header: ring::header(
            Kind::Resident,
            thread.space.get(),
            thread.tid.get(),
            fault.flags.get(),
            fault.stack.get(),
        ),
        address: fault.address.get(),
        size,
        took,
        member: member as u16,
        cause: fault.cause.get(),
        error_code: fault.error_code.get(),
        syscall: syscall_number(&user_regs()),
    };
    thread.send(Kind::Resident, &event);
    0
}

/// The current thread's stack and the flags that go with it.
#[inline(always)]
pub(crate) fn toucher(thread: &Thread, regs: &UserRegs) -> (u64, u16) {
    if let Some(known) = enclosing(thread, regs.sp) {
        return known;
    }
    let walk_from = Regs {
        ip: regs.ip,
        sp: regs.sp,
        bp: regs.bp,
        at_entry: 0,
    };
    let stack = capture(thread, walk_from);
    (stack.id, stack.flags)
}

/// The system call under way, `u16::MAX` for none.
#[inline(always)]
fn syscall_number(regs: &UserRegs) -> u16 {
    u16::try_from(regs.syscall).unwrap_or(u16::MAX)
}

/// Where the memory is that a system call makes resident without a fault: `mlock` populates a
/// range, as does `mprotect` where it makes locked memory writable; direct I/O pins its buffer. 0 for other calls.
#[inline(always)]
pub(crate) fn buffer(regs: &UserRegs) -> u64 {
    let [first, second] = regs.args;
    let place = match place_of(regs.syscall) {
        Argument::First => first,
        Argument::Second => second,
        Argument::Vector => user_word(second).unwrap_or(0),
        Argument::Nowhere => 0,
    };
    if place == 0 || in_compat_syscall() {
        return 0;
    }
    place
}

/// Whether a system call is one that makes the memory of an argument resident by itself.
#[inline(always)]
pub(crate) fn has_buffer(syscall: i64) -> bool {
    !matches!(place_of(syscall), Argument::Nowhere)
}

/// Which argument of a system call says where its memory is.
#[derive(Clone, Copy)]
enum Argument {
    Nowhere,
    First,
    Second,
    /// The second points to an `iovec`: its first buffer.
    Vector,
}

#[inline(always)]
fn place_of(number: i64) -> Argument {
    if !(0..i64::from(u32::MAX)).contains(&number) {
        return Argument::Nowhere;
    }
    match number as u32 {
        syscall::MPROTECT | syscall::MLOCK | syscall::MLOCK2 | syscall::PKEY_MPROTECT => {
            Argument::First
        }
        syscall::READ | syscall::WRITE | syscall::PREAD64 | syscall::PWRITE64 => Argument::Second,
        syscall::READV
        | syscall::WRITEV
        | syscall::VMSPLICE
        | syscall::PREADV
        | syscall::PWRITEV
        | syscall::PREADV2
        | syscall::PWRITEV2 => Argument::Vector,
        _ => Argument::Nowhere,
    }
}
