//! Reading the stack: a window of it at a time, as frames lie close together.

use super::offsets::{member, offset};
use super::walk::Walk;
use super::window::WORDS;
use crate::kernel::given;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_user};
use core::ffi::c_void;

/// Bytes of the window that lie below the word asked for: callee-saved
/// registers are read after the return address and lie there.
const BELOW: u64 = 48;

/// Pending uretprobes that are looked through for a return address.
const MAX_PENDING: u32 = 32;

/// The word at `address`, if the window has it.
#[inline(always)]
pub(super) fn in_window(walk: &Walk, address: u64) -> Option<u64> {
    let offset = address.wrapping_sub(walk.window.base);
    if offset >= (WORDS * 8) as u64 || offset & 7 != 0 {
        return None;
    }
    let index = (core::hint::black_box(offset) >> 3) as usize & (WORDS - 1);
    // SAFETY: the mask keeps the index in the array.
    Some(unsafe { *walk.window.words.get_unchecked(index) })
}

/// Reads the word at `address` into `window.word`; false if it can't be read.
#[inline(always)]
pub(super) fn read(walk: &mut Walk, address: u64) -> bool {
    read_word(walk, address)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn read_word(walk: *mut Walk, address: u64) -> bool {
    let Some(walk) = given(walk) else {
        return false;
    };
    let window = &mut walk.window;
    let mut offset = address.wrapping_sub(window.base);
    if offset >= (WORDS * 8) as u64 || offset & 7 != 0 {
        let base = address.wrapping_sub(BELOW);
        // SAFETY: the helper takes any source address and fails on a bad one;
        // the destination is the size that it is told.
        let failed = unsafe {
            bpf_probe_read_user(
                (&raw mut window.words).cast(),
                (WORDS * 8) as u32,
                base as *const _,
            )
        };
        if failed != 0 || address & 7 != 0 {
            window.base = u64::MAX;
            // SAFETY: as above.
            return unsafe {
                bpf_probe_read_user((&raw mut window.word).cast(), 8, address as *const _)
            } == 0;
        }
        window.base = base;
        offset = BELOW;
    }
    // The compiler knows that the offset is small; hidden from it, the mask
    // stays in the code, where the verifier wants to see it.
    let index = (core::hint::black_box(offset) >> 3) as usize & (WORDS - 1);
    // SAFETY: the mask keeps the index in the array.
    window.word = unsafe { *window.words.get_unchecked(index) };
    true
}

/// Reads the return address at `address` into `window.word`, the real one where
/// a uretprobe is pending; false if it can't be read.
#[inline(always)]
pub(super) fn read_return(walk: &mut Walk, address: u64) -> bool {
    if !read(walk, address) {
        return false;
    }
    if walk.trampoline != 0 && walk.window.word == walk.trampoline {
        return find_pending(walk, address);
    }
    true
}

/// What the search for a pending uretprobe gets and gives.
#[repr(C)]
struct Search {
    stack: u64,
    pending: u64,
    address: u64,
}

/// Finds the return address that a uretprobe replaced at `address`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find_pending(walk: *mut Walk, address: u64) -> bool {
    let Some(walk) = given(walk) else {
        return false;
    };
    let mut search = Search {
        stack: address,
        pending: walk.returns,
        address: 0,
    };
    // SAFETY: the callback gets the context as it is given here, and only while
    // this call lasts.
    unsafe {
        bpf_loop(
            MAX_PENDING,
            look as *mut c_void,
            (&raw mut search).cast(),
            0,
        );
    }
    walk.window.word = search.address;
    search.address != 0
}

/// Looks at one pending uretprobe; 1 ends the search.
unsafe extern "C" fn look(_index: u32, search: *mut Search) -> i64 {
    // SAFETY: `find_pending` gave this context.
    let search = unsafe { &mut *search };
    if search.pending == 0 {
        return 1;
    }
    if member(search.pending, offset!(return_stack)) == search.stack {
        search.address = member(search.pending, offset!(return_address));
        return 1;
    }
    search.pending = member(search.pending, offset!(return_next));
    0
}
