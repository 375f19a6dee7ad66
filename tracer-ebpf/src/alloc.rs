//! The malloc family: uprobes at the functions' entries and returns, attached by
//! user space with the [`Function`]'s number as cookie.
//!
//! A function of the family may call another (calloc calls malloc, a wrapper
//! calls the real one). Only the outermost call of a thread counts. It is known
//! by its stack pointer: the return that leaves it finds the stack one word
//! above; calls inside it are deeper; and a call that is not deeper while it
//! still seems to be under way proves that it was left some other way, by a
//! longjmp or an exception.

use crate::kernel::{return_trampoline, user_word};
use crate::registers::{arguments, at_entry, result, stack_pointer};
use crate::ring;
use crate::stack::{capture, capture_by_kernel};
use crate::state::{Thread, probed_thread};
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::pt_regs;
use aya_ebpf::helpers::generated::bpf_get_attach_cookie;
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use tracer_ebpf::{Alloc, Free, Function, Kind, Loss, Realloc, flags};

/// Functions that make a block, or resize one.
#[uprobe]
fn alloc_enter(ctx: ProbeContext) -> u32 {
    enter(&ctx);
    0
}

/// Their return.
#[uretprobe]
fn alloc_exit(ctx: RetProbeContext) -> u32 {
    exit(&ctx);
    0
}

/// `free`. It has no return probe, which would cost as much again: what it does
/// inside (munmap, brk, madvise) is not marked as the allocator's own.
#[uprobe]
fn free_enter(ctx: ProbeContext) -> u32 {
    // SAFETY: the context of a uprobe program is the thread's registers.
    let regs = unsafe { &*ctx.regs };
    if arguments(regs).0 == 0 {
        return 0;
    }
    if let Some(thread) = probed_thread(Kind::Free)
        && is_outermost(thread, stack_pointer(regs))
    {
        let event = Free {
            header: ring::header(Kind::Free, thread.space.get(), thread.tid.get(), 0, 0),
            address: arguments(regs).0,
        };
        thread.send(Kind::Free, &event);
    }
    0
}

#[inline(always)]
fn enter(ctx: &ProbeContext) {
    // SAFETY: the context of a uprobe program is the thread's registers.
    let regs = unsafe { &*ctx.regs };
    let Some(thread) = probed_thread(Kind::Alloc) else {
        return;
    };
    if !is_outermost(thread, stack_pointer(regs)) {
        return;
    }
    let walk_from = at_entry(regs);
    let stack = match capture_by_kernel(ctx) {
        Some(stack) => stack,
        None => capture(thread, walk_from),
    };
    // Only now: the verifier would follow the capture once for each function.
    // SAFETY: the context is this program's own.
    let function = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) } as u32;
    let (size, pointer) = requested(function, regs);
    thread.call.sp.set(stack_pointer(regs));
    thread.call.size.set(size);
    thread.call.pointer.set(pointer);
    thread.call.stack.set(stack.id);
    thread.call.function.set(function);
    thread.call.flags.set(u32::from(stack.flags));
    if thread.call.resizes() {
        let kind = Kind::ReallocEnter;
        let event = Realloc {
            header: ring::header(
                kind,
                thread.space.get(),
                thread.tid.get(),
                stack.flags,
                stack.id,
            ),
            address: pointer,
            size,
        };
        thread.send(kind, &event);
    }
}

/// Whether a call entered with this stack pointer is not inside another one. A
/// call that proves to have been left without returning is counted and
/// forgotten here.
///
/// A call is inside another if it is not less deep (a jump in place of a last
/// call, as glibc's realloc makes to malloc, is as deep), and the other has not
/// been left.
#[inline(always)]
fn is_outermost(thread: &Thread, sp: u64) -> bool {
    if thread.call.sp.get() == 0 {
        return true;
    }
    if sp <= thread.call.sp.get() && is_pending(thread) {
        return false;
    }
    ring::lose(Loss::NoReturn, thread.call.kind());
    thread.call.sp.set(0);
    true
}

/// Whether the remembered call has not been left: the word at its stack pointer
/// is still the address that the return probe put there.
#[inline(always)]
fn is_pending(thread: &Thread) -> bool {
    if thread.trampoline.get() == 0 {
        thread.trampoline.set(return_trampoline());
    }
    thread.set_busy(true);
    let returns_to = user_word(thread.call.sp.get());
    thread.set_busy(false);
    returns_to == Some(thread.trampoline.get())
}

/// Requested size, and the old block or the place of the result. A product that
/// overflows is wrong here, but then the call fails and nothing is sent.
#[inline(always)]
fn requested(function: u32, regs: &pt_regs) -> (u64, u64) {
    let (first, second, third) = arguments(regs);
    match function {
        f if f == Function::Calloc as u32 => (first.wrapping_mul(second), 0),
        f if f == Function::Realloc as u32 => (second, first),
        f if f == Function::ReallocArray as u32 => (second.wrapping_mul(third), first),
        f if f == Function::PosixMemalign as u32 => (third, first),
        f if f == Function::AlignedAlloc as u32 || f == Function::Memalign as u32 => (second, 0),
        _ => (first, 0),
    }
}

#[inline(always)]
fn exit(ctx: &RetProbeContext) {
    // SAFETY: the context of a uprobe program is the thread's registers.
    let regs = unsafe { &*ctx.regs };
    let Some(thread) = probed_thread(Kind::Alloc) else {
        return;
    };
    // An inner call's return, or that of a call begun before the thread was
    // traced: neither is what was remembered.
    if thread.call.sp.get() == 0 || stack_pointer(regs) != thread.call.sp.get() + 8 {
        return;
    }
    thread.call.sp.set(0);
    let Some(address) = returned(thread, result(regs)) else {
        return;
    };
    let call = &thread.call;
    if address == 0 && !call.resizes() {
        return;
    }
    let kind = call.kind();
    let event = Alloc {
        header: ring::header(
            kind,
            thread.space.get(),
            thread.tid.get(),
            call.flags.get() as u16,
            call.stack.get(),
        ),
        address,
        size: call.size.get(),
        function: call.function.get(),
        _pad: 0,
    };
    thread.send(kind, &event);
}

/// The block that a call returned, or 0 where it failed; `None` (counted) where
/// it can't be read.
#[inline(always)]
fn returned(thread: &Thread, value: u64) -> Option<u64> {
    if thread.call.function.get() != Function::PosixMemalign as u32 {
        return Some(value);
    }
    // An int: the upper half of the register means nothing.
    if value as u32 != 0 {
        return Some(0);
    }
    let block = user_word(thread.call.pointer.get());
    if block.is_none() {
        ring::lose(Loss::Unreadable, Kind::Alloc);
    }
    block
}

impl crate::state::Call {
    /// The kind of the event that the call's return would have sent.
    #[inline(always)]
    pub(crate) fn kind(&self) -> Kind {
        if self.resizes() {
            Kind::ReallocExit
        } else {
            Kind::Alloc
        }
    }

    /// Whether there is an old block, which the call may move.
    #[inline(always)]
    fn resizes(&self) -> bool {
        let function = self.function.get();
        let resizes =
            function == Function::Realloc as u32 || function == Function::ReallocArray as u32;
        resizes && self.pointer.get() != 0
    }
}

/// The stack and flags for an event at this user stack pointer that comes from
/// inside a call of the malloc family, if it does.
///
/// The return probe has by then replaced the call's return address by that of a
/// trampoline, so that no unwinder gets out of the call. The stack at its entry,
/// captured before, stands for it: its first frame is the function's entry
/// rather than the instruction inside the allocator.
#[inline(always)]
pub(crate) fn enclosing(thread: &Thread, sp: u64) -> Option<(u64, u16)> {
    // At the very stack pointer of the entry nothing of the call has run yet,
    // and above it, it has just returned.
    if sp >= thread.call.sp.get() || !is_pending(thread) {
        return None;
    }
    let flags = thread.call.flags.get() as u16 | flags::IN_ALLOCATOR;
    Some((thread.call.stack.get(), flags))
}
