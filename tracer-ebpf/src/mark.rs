//! Moments that a program names (see [`Mark`]): it asks whether it may access a file of such a
//! name. Every language has that call, no privilege and no library is needed for it, it changes
//! nothing, and the kernel has read the name when it returns, whatever page that is in.

use crate::kernel::given_shared;
use crate::registers::copy_arguments;
use crate::ring;
use crate::state::Thread;
use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use tracer_ebpf::arch::syscall;
use tracer_ebpf::{Kind, MARK, Mark};

/// A call of the `access` family returns.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn tell_mark(thread: *const Thread, number: u32) -> u32 {
    let Some(thread) = given_shared(thread) else {
        return 0;
    };
    copy_arguments(&thread.syscall.args);
    let [first, second, ..] = &thread.syscall.args;
    let path = match number {
        syscall::ACCESS => first.get(),
        _ => second.get(),
    };
    let mut mark = Mark {
        header: ring::header(Kind::Mark, thread.space.get(), thread.tid.get(), 0, 0),
        name: [0; 96],
    };
    // SAFETY: the name has room for its length; the helper fails on a bad address.
    let length = unsafe {
        bpf_probe_read_user_str(
            (&raw mut mark.name).cast(),
            mark.name.len() as u32,
            path as *const _,
        )
    };
    // One that can't be read is no name to the kernel either.
    if length > 0 && is_mark(&mark.name) {
        thread.send(Kind::Mark, &mark);
    }
    0
}

/// Whether the name begins with [`MARK`].
#[inline(always)]
fn is_mark(name: &[u8; 96]) -> bool {
    let mut at = 0;
    while at < MARK.len() {
        if name[at] != MARK[at] {
            return false;
        }
        at += 1;
    }
    true
}
