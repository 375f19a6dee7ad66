//! What this process got from its parent and the target is to get unchanged:
//! the signal mask, and what is done about SIGPIPE (Rust's runtime ignores it
//! before `main` begins, so it is read before that).

use std::mem::MaybeUninit;
use std::sync::OnceLock;

static INHERITED: OnceLock<Inherited> = OnceLock::new();

/// Signal state as it was when this process began.
#[derive(Clone, Copy)]
pub(super) struct Inherited {
    /// The signal mask.
    pub(super) mask: libc::sigset_t,
    /// Whether SIGPIPE was ignored.
    pub(super) pipe_ignored: bool,
}

/// Runs before Rust's runtime, like a C constructor.
#[used]
// SAFETY: the section holds pointers to functions without arguments that the C
// runtime calls on the main thread; this one only makes two system calls.
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;

extern "C" fn at_start() {
    let _ = INHERITED.set(read());
}

/// The state at the start; the present one if that was never read.
pub(super) fn inherited() -> Inherited {
    *INHERITED.get_or_init(read)
}

fn read() -> Inherited {
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut pipe = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: both calls only write to the structs given, for which all zero is
    // valid in case they fail.
    unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr());
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), pipe.as_mut_ptr());
        Inherited {
            mask: mask.assume_init(),
            pipe_ignored: pipe.assume_init().sa_sigaction == libc::SIG_IGN,
        }
    }
}
