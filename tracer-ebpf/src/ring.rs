//! The way out: one ring buffer, and the count of what did not get through it.

use crate::atomic;
use crate::kernel::config;
use crate::state::Thread;
use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_ringbuf_output};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{PerCpuArray, RingBuf};
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
/// target an interrupt, and is done only when much is pending.
#[inline(always)]
pub(crate) fn send<T>(thread: &mut Thread, kind: Kind, event: &T) -> bool {
    let flags = wake_flags(thread.looks_at_ring());
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

/// Whether half of the buffer waits to be read (it is woken at a quarter).
#[inline(always)]
pub(crate) fn is_half_full() -> bool {
    EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) / 2 >= config!(wake_bytes)
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
