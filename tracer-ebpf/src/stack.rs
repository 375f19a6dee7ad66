//! The one place where a stack is captured.
//!
//! [`capture`] walks the user stack, names it by a hash of its frames, and sends
//! the frames themselves only when no event has named that stack before.

use crate::atomic;
use crate::ids::thread_key;
use crate::kernel::{config, given, given_shared};
use crate::registers::{Regs, copy_user_registers};
use crate::ring;
use crate::state::{Captured, Thread};
use crate::unwind::{self, Walk};
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::BPF_F_USER_STACK;
use aya_ebpf::helpers::generated::{bpf_get_stackid, bpf_loop, bpf_probe_read_user};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruHashMap, PerCpuArray, StackTrace};
use core::ffi::c_void;
use core::mem::offset_of;
use tracer_ebpf::{
    COPY_PAGE, Kind, Loss, MAX_COPY, MAX_FRAMES, MAX_SENT_STACKS, Stack, StackCopy, flags, stacks,
};

/// Scratch buffers of a CPU. Uprobe programs can be preempted, so another
/// thread's program may need one while this one's is in use.
const SLOTS: u32 = 4;

/// Buffers for copies, of all CPUs together: they are too large for a map of
/// each CPU's own.
const COPY_SLOTS: u32 = 8;

/// A stack's record, as the ring buffer carries it.
#[repr(C)]
struct Record {
    head: Stack,
    frames: [u64; MAX_FRAMES],
}

/// The record of a stack that is copied.
#[repr(C)]
struct CopyRecord {
    record: Record,
    copy: StackCopy,
    bytes: [u8; MAX_COPY],
}

#[repr(C)]
struct Scratch<T> {
    /// 1: in use.
    taken: u64,
    record: T,
}

#[map]
static SCRATCH: PerCpuArray<Scratch<Record>> = PerCpuArray::with_max_entries(SLOTS, 0);

#[map]
static COPIES: Array<Scratch<CopyRecord>> = Array::with_max_entries(COPY_SLOTS, 0);

/// The kernel's stacks, for [`capture_by_kernel`]; the loader sets its size.
#[map]
static KERNEL_STACKS: StackTrace = StackTrace::with_max_entries(1, 0);

/// Stacks that were sent. Least recently used ones are forgotten when it is
/// full, and sent again: nothing is lost by that but a little room.
#[map]
static SENT_STACKS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(MAX_SENT_STACKS, 0);

/// Captures the current thread's user stack, and makes sure that its frames
/// were sent before the event that will name it.
#[inline(always)]
pub(crate) fn capture(thread: &Thread, mut regs: Regs) -> Captured {
    let wanted = match config!(stacks) {
        stacks::TABLES => true,
        stacks::TABLES_OF_CALLS => regs.at_entry != 0,
        _ => false,
    };
    if !wanted {
        return Captured { id: 0, flags: 0 };
    }
    match capture_stack(thread, &raw mut regs) {
        0 => Captured {
            id: 0,
            flags: flags::STACK_LOST,
        },
        id => Captured { id, flags: 0 },
    }
}

/// The id of the current thread's stack, sent if need be; 0 where it could not
/// be had.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_stack(thread: *const Thread, regs: *mut Regs) -> u64 {
    let (Some(thread), Some(regs)) = (given_shared(thread), given(regs)) else {
        return 0;
    };
    thread.set_busy(true);
    let walk = unwind::walk(thread_key(), thread.seed.get(), regs);
    thread.set_busy(false);
    let Some(walk) = walk else {
        ring::lose(Loss::NoScratch, Kind::Stack);
        return 0;
    };
    if walk.pending != 0 || config!(copy_all) != 0 {
        return capture_copy(thread, walk, regs);
    }
    let id = walk.id();
    if walk.sent == id {
        return id;
    }
    if SENT_STACKS.get_ptr(id).is_none() {
        if !send(thread, walk, id) {
            return 0;
        }
        // Marked only once it is in the buffer: another CPU that finds the mark
        // may name the stack. A failure to mark costs no more than a second copy.
        let _ = SENT_STACKS.insert(id, 1, 0);
    }
    walk.sent = id;
    id
}

/// What [`capture`] is compared with, where the configuration asks for it: the
/// kernel's own walk by frame pointers.
#[inline(always)]
pub(crate) fn capture_by_kernel<C: EbpfContext>(ctx: &C) -> Option<Captured> {
    if config!(stacks) != stacks::KERNEL {
        return None;
    }
    // SAFETY: the context is this program's own, and the map is one of stacks.
    let id = unsafe {
        bpf_get_stackid(
            ctx.as_ptr(),
            (&raw const KERNEL_STACKS).cast_mut().cast(),
            u64::from(BPF_F_USER_STACK),
        )
    };
    let id = if id < 0 { 0 } else { id as u64 };
    Some(Captured { id, flags: 0 })
}

/// [`capture_stack`] of one that goes with a copy: user space walks what no table
/// was ready for. Such a stack has an id of its own: what its bytes stand for is
/// not known here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn capture_copy(thread: *const Thread, walk: *mut Walk, regs: *mut Regs) -> u64 {
    let (Some(thread), Some(walk), Some(regs)) = (given_shared(thread), given(walk), given(regs))
    else {
        return 0;
    };
    let mut id = walk.id();
    if walk.pending != 0 {
        id = unwind::mix(id ^ u64::from(thread.tid.get()), ring::now()) | 1;
    } else if SENT_STACKS.get_ptr(id).is_some() {
        return id;
    }
    let Some(scratch) = claim_copy() else {
        ring::lose(Loss::NoScratch, Kind::Stack);
        return 0;
    };
    // SAFETY: the buffer is claimed: nobody else touches it until released.
    let record = unsafe { &mut (*scratch).record };
    fill(&mut record.record, thread, walk, id);
    thread.set_busy(true);
    let copied = copy(record, walk, regs);
    thread.set_busy(false);
    let size = if copied == 0 {
        bare_size(record.record.head.count)
    } else {
        record.record.head.copied = 1;
        (offset_of!(CopyRecord, bytes) as u64) + (copied & COPY_MASK)
    };
    let flags = ring::wake_flags(thread.looks_at_ring());
    let record = core::ptr::from_ref(record).cast();
    let sent = ring::output(record, size, flags, Kind::Stack);
    release(scratch);
    if !sent {
        return 0;
    }
    if walk.pending == 0 {
        // A failure to mark costs no more than a second copy.
        let _ = SENT_STACKS.insert(id, 1, 0);
    }
    id
}

/// Bytes that are copied where nobody can tell how far the stack goes.
const BLIND_COPY: u64 = MAX_COPY as u64 / 2;

/// Sizes of copies are smaller than this, and the verifier sees it.
const COPY_MASK: u64 = 2 * MAX_COPY as u64 - 1;

/// Copies registers and stack into a record: the number of bytes, or 0 where the
/// ring buffer has better uses for its room.
#[inline(always)]
fn copy(record: &mut CopyRecord, walk: &Walk, regs: &Regs) -> u64 {
    let end = unwind::end_of_mapping(regs.sp);
    let first = regs.sp & !(COPY_PAGE as u64 - 1);
    let mut size = end.wrapping_sub(first);
    // Only in a uprobe no lock is held and the CPU can be given to the reader: a fault
    // is told of under the lock of a page table.
    if !ring::has_room(regs.at_entry != 0) {
        return 0;
    }
    // The list of mappings was busy: what is not stack will be holes.
    if end == 0 {
        size = BLIND_COPY;
    }
    if size > MAX_COPY as u64 {
        size = MAX_COPY as u64;
    }
    record.copy.sp = regs.sp;
    record.copy.bp = regs.bp;
    record.copy.size = size as u32;
    record.copy.at_entry = regs.at_entry as u32;
    record.copy.holes = 0;
    record.copy.trampoline = walk.trampoline;
    copy_user_registers(&mut record.copy.registers);
    let pages = (size / COPY_PAGE as u64) as u32;
    let mut copy = CopyPages {
        first,
        record: core::ptr::from_mut(record).cast(),
    };
    // SAFETY: the callback gets the context as it is given here, and only while
    // this call lasts.
    unsafe { bpf_loop(pages, copy_page as *mut c_void, (&raw mut copy).cast(), 0) };
    size
}

/// What [`copy_page`] works on.
#[repr(C)]
struct CopyPages {
    first: u64,
    /// A [`CopyRecord`]. LLVM lists types that are only pointed to in an order of
    /// its own each time: with two of them, no two builds are the same.
    record: *mut c_void,
}

/// Copies one page of the stack.
unsafe extern "C" fn copy_page(index: u32, copy: *mut CopyPages) -> i64 {
    // SAFETY: `copy` gave this context; the record outlives it.
    let (first, record) = unsafe { ((*copy).first, &mut *(*copy).record.cast::<CopyRecord>()) };
    let at = index as usize & (MAX_COPY / COPY_PAGE - 1);
    let offset = at * COPY_PAGE;
    // SAFETY: the helper takes any source address and fails on a bad one; the
    // mask keeps the page in the array.
    let failed = unsafe {
        bpf_probe_read_user(
            (&raw mut record.bytes).cast::<u8>().add(offset).cast(),
            COPY_PAGE as u32,
            first.wrapping_add(offset as u64) as *const c_void,
        )
    };
    if failed != 0 {
        record.copy.holes |= 1 << at;
    }
    0
}

/// Fills in what every record has.
#[inline(always)]
fn fill(record: &mut Record, thread: &Thread, walk: &mut Walk, id: u64) {
    let count = walk.count();
    record.head = Stack {
        header: ring::header(Kind::Stack, thread.space.get(), thread.tid.get(), 0, id),
        count,
        end: walk.end(),
        copied: 0,
    };
    let mut copy = Copy {
        walk,
        record: core::ptr::from_mut(record).cast(),
    };
    // SAFETY: the callback gets the context as it is given here, and only while
    // this call lasts.
    unsafe { bpf_loop(count, copy_frame as *mut c_void, (&raw mut copy).cast(), 0) };
}

/// Bytes of a record without a copy; a count that can't be is cut to size.
#[inline(always)]
fn bare_size(count: u32) -> u64 {
    let count = if count <= MAX_FRAMES as u32 { count } else { 0 };
    // Hidden from the compiler, which would multiply before it compares: the
    // verifier would not see the bound.
    let count = core::hint::black_box(count);
    (size_of::<Stack>() as u64) + u64::from(count) * 8
}

/// Sends a stack's frames, or counts the loss.
#[inline(always)]
fn send(thread: &Thread, walk: &mut Walk, id: u64) -> bool {
    let Some(scratch) = claim() else {
        ring::lose(Loss::NoScratch, Kind::Stack);
        return false;
    };
    // SAFETY: the buffer is claimed: nobody else touches it until released.
    let record = unsafe { &mut (*scratch).record };
    fill(record, thread, walk, id);
    let size = bare_size(record.head.count);
    let flags = ring::wake_flags(thread.looks_at_ring());
    let record = core::ptr::from_ref(record).cast();
    let sent = ring::output(record, size, flags, Kind::Stack);
    release(scratch);
    sent
}

/// Gives a scratch buffer back.
#[inline(always)]
fn release<T>(scratch: *mut Scratch<T>) {
    // SAFETY: a live element of the map.
    unsafe { atomic::swap(&raw mut (*scratch).taken, 0) };
}

/// Takes a free scratch buffer of this CPU.
#[inline(always)]
fn claim() -> Option<*mut Scratch<Record>> {
    for slot in 0..SLOTS {
        let scratch = SCRATCH.get_ptr_mut(slot)?;
        // SAFETY: a live element of the map.
        if unsafe { atomic::swap(&raw mut (*scratch).taken, 1) } == 0 {
            return Some(scratch);
        }
    }
    None
}

/// Takes a free buffer for a copy, whichever CPU this is.
#[inline(always)]
fn claim_copy() -> Option<*mut Scratch<CopyRecord>> {
    for slot in 0..COPY_SLOTS {
        let scratch = COPIES.get_ptr_mut(slot)?;
        // SAFETY: a live element of the map.
        if unsafe { atomic::swap(&raw mut (*scratch).taken, 1) } == 0 {
            return Some(scratch);
        }
    }
    None
}

/// What [`copy_frame`] works on.
#[repr(C)]
struct Copy {
    walk: *mut Walk,
    /// A [`Record`]; see [`CopyPages::record`].
    record: *mut c_void,
}

/// Copies one frame's address into the record.
unsafe extern "C" fn copy_frame(index: u32, copy: *mut Copy) -> i64 {
    // SAFETY: `send` gave this context; both pointers outlive it.
    let (walk, record) = unsafe { (&mut *(*copy).walk, &mut *(*copy).record.cast::<Record>()) };
    let at = index as usize & (MAX_FRAMES - 1);
    // SAFETY: the mask keeps the index in the array.
    unsafe { *record.frames.get_unchecked_mut(at) = walk.address(index) };
    0
}
