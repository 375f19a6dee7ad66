//! The way out: one ring buffer, and the count of what did not get through it.

use crate::atomic;
use crate::kernel::config;
use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_loop, bpf_ringbuf_output};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{PerCpuArray, RingBuf};
use core::ffi::c_void;
use tracer_ebpf::{Header, KINDS, Kind, LOSSES as CAUSES, Loss, RING_BYTES};

/// Every event, in the order in which the programs sent them. The loader sets
/// its size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// What was lost, by cause and kind.
#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(CAUSES * KINDS, 0);

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: takes no argument and can't fail.
    unsafe { bpf_ktime_get_ns() }
}

/// Counts a loss.
#[inline(always)]
pub(crate) fn lose(cause: Loss, kind: Kind) {
    lose_number(cause, kind as u32);
}

/// Counts a loss of a kind given by its number.
#[inline(always)]
pub(crate) fn lose_number(cause: Loss, kind: u32) {
    if let Some(count) = LOSSES.get_ptr_mut(cause as u32 * KINDS + kind) {
        // The slot is this CPU's, but a program may be preempted by another.
        // SAFETY: a live element of the map.
        unsafe { atomic::add(count, 1) };
    }
}

/// The header of an event of the current thread.
#[inline(always)]
pub(crate) fn header(kind: Kind, pid: u32, tid: u32, flags: u16, stack: u64) -> Header {
    Header {
        kind: kind as u16,
        flags,
        pid,
        tid,
        _pad: 0,
        time_ns: now(),
        stack,
    }
}

/// Sends an event, or counts its loss. Says whether it got through.
///
/// The reader looks by itself every few milliseconds: waking it costs the
/// target an interrupt, and is done only when much is pending; `looks` says whether to see if it is.
#[inline(always)]
pub(crate) fn send<T>(looks: bool, kind: Kind, event: &T) -> bool {
    let flags = wake_flags(looks);
    output(
        core::ptr::from_ref(event).cast(),
        size_of::<T>() as u64,
        flags,
        kind,
    )
}

/// [`send`] for events that no thread state goes with: rare ones.
#[inline(always)]
pub(crate) fn send_rare<T>(kind: Kind, event: &T) -> bool {
    output(
        core::ptr::from_ref(event).cast(),
        size_of::<T>() as u64,
        wake_flags(true),
        kind,
    )
}

/// [`send_rare`] for what user space must act on at once.
#[inline(always)]
pub(crate) fn send_now<T>(kind: Kind, event: &T) -> bool {
    output(
        core::ptr::from_ref(event).cast(),
        size_of::<T>() as u64,
        u64::from(BPF_RB_FORCE_WAKEUP),
        kind,
    )
}

/// Sends `size` bytes of a record that begins with its header.
#[inline(always)]
pub(crate) fn output(record: *const u8, size: u64, flags: u64, kind: Kind) -> bool {
    // SAFETY: the callers give records that are readable for `size` bytes; the
    // verifier proves it.
    let sent = unsafe {
        bpf_ringbuf_output(
            (&raw const EVENTS).cast_mut().cast(),
            record.cast_mut().cast(),
            size,
            flags,
        )
    };
    if sent < 0 {
        lose(Loss::RingFull, kind);
    }
    sent == 0
}

/// Looks at the buffer while [`has_room`] waits: some ten milliseconds in all.
const LOOKS: u32 = 200_000;

/// Whether less than half of the buffer waits to be read (its reader is woken at
/// a quarter): the rest is for events. A thread that `may_wait` is held back for a while, until it
/// is less than an eighth: what the thread does next may have to be told where it can't wait.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn has_room(may_wait: bool) -> bool {
    let looks = if may_wait { LOOKS } else { 1 };
    let mut room = 0u64;
    // SAFETY: the callback gets the context as it is given here, and only while
    // this call lasts.
    unsafe {
        bpf_loop(
            looks,
            look_for_room as *mut c_void,
            (&raw mut room).cast(),
            0,
        );
    }
    room != 0
}

/// Looks once; 1 ends the wait.
unsafe extern "C" fn look_for_room(_index: u32, room: *mut u64) -> i64 {
    let pending = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    let has_room = u64::from(pending / 2 < config!(wake_bytes));
    // SAFETY: `has_room` gave this context.
    unsafe { *room = has_room };
    i64::from(pending * 2 < config!(wake_bytes))
}

/// Flags for the next record: a wake-up if asked to look and much is pending.
#[inline(always)]
pub(crate) fn wake_flags(look: bool) -> u64 {
    if look && EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) >= config!(wake_bytes) {
        u64::from(BPF_RB_FORCE_WAKEUP)
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    }
}
