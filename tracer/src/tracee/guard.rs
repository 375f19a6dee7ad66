//! Nobody leaves the target stopped: a small process that outlives us, should we be killed.
//!
//! The BPF programs stop the command for some milliseconds where its probes have to be attached
//! anew. Were the tracer killed just then, nobody would continue it. The guard waits for that; in
//! all other cases it ends with the tracer.

use super::capabilities::{self, Capabilities};
use super::process::pidfd_open;
use crate::units::Pid;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// How often the guard looks at a target that a killed tracer has left, …
const LOOKS: u32 = 100;

/// … and how long it waits between two looks, in milliseconds.
const PAUSE: i32 = 10;

/// The guard of one process. Dropping it ends the guard.
#[derive(Debug)]
pub struct Guard {
    pid: libc::pid_t,
    /// A byte dismisses the guard; that it is closed without one means that we were killed.
    dismissal: Option<File>,
}

impl Guard {
    /// Forks it. Call this before any thread is started.
    ///
    /// # Errors
    /// Where the system refuses a pipe or a process.
    pub fn start(target: Pid) -> io::Result<Self> {
        let (read, write) = super::launch::pipe()?;
        let target_fd = pidfd_open(target)?;
        let stat = std::ffi::CString::new(format!("/proc/{}/stat", target.0))?;
        // SAFETY: the child makes system calls only, and never returns.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let watch = Watch {
                    tracer: read.as_raw_fd(),
                    target: target_fd.as_raw_fd(),
                    stat: &stat,
                };
                // SAFETY: this is the freshly forked child.
                unsafe { watch.run(&write) }
            }
            pid => Ok(Self {
                pid,
                dismissal: Some(write.into()),
            }),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut dismissal) = self.dismissal.take() {
            // A guard that is gone reads nothing.
            let _ = dismissal.write_all(&[1]);
        }
        // SAFETY: waits for a child of ours; a null status is allowed.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

/// What the guard's own process does.
struct Watch<'a> {
    tracer: RawFd,
    target: RawFd,
    stat: &'a std::ffi::CStr,
}

impl Watch<'_> {
    /// Waits for the end of the tracer; if it was killed, continues a target that it left stopped.
    ///
    /// # Safety
    /// To be called in a freshly forked child only.
    unsafe fn run(&self, write: &OwnedFd) -> ! {
        // SAFETY: system calls, on descriptors that are this process's own copies.
        unsafe {
            libc::prctl(libc::PR_SET_NAME, c"tracer-guard".as_ptr());
            // Neither the terminal's signals nor a group's reach it here.
            libc::setsid();
            self.keep_only(write.as_raw_fd());
            capabilities::clear_ambient();
            capabilities::set(Capabilities::KILL);
            let mut byte = 0_u8;
            let read = loop {
                match libc::read(self.tracer, (&raw mut byte).cast(), 1) {
                    -1 if *libc::__errno_location() == libc::EINTR => {}
                    read => break read,
                }
            };
            if read == 0 {
                self.release();
            }
            libc::_exit(0)
        }
    }

    /// Closes all descriptors but its own two: those of the user's pipes must not stay open.
    ///
    /// # Safety
    /// See [`Watch::run`].
    unsafe fn keep_only(&self, also_closed: RawFd) {
        let (low, high) = (self.tracer.min(self.target), self.tracer.max(self.target));
        let ranges = [(0, low - 1), (low + 1, high - 1), (high + 1, RawFd::MAX)];
        // SAFETY: closes descriptors that nothing of this process uses.
        unsafe {
            libc::close(also_closed);
            for (first, last) in ranges {
                if first <= last {
                    libc::syscall(libc::SYS_close_range, first, last, 0);
                }
            }
        }
    }

    /// The stop may still be under way when the tracer is gone: hence more than one look.
    ///
    /// # Safety
    /// See [`Watch::run`].
    unsafe fn release(&self) {
        for _ in 0..LOOKS {
            // SAFETY: system calls; the null pointer stands for kill(2)'s siginfo.
            unsafe {
                if self.is_stopped() {
                    libc::syscall(
                        libc::SYS_pidfd_send_signal,
                        self.target,
                        libc::SIGCONT,
                        std::ptr::null::<libc::siginfo_t>(),
                        0,
                    );
                }
                // The target's end is the end of the wait.
                let mut ended = libc::pollfd {
                    fd: self.target,
                    events: libc::POLLIN,
                    revents: 0,
                };
                if libc::poll(&raw mut ended, 1, PAUSE) > 0 {
                    return;
                }
            }
        }
    }

    /// Whether `/proc/PID/stat` has the target as stopped (`T`; proc_pid_stat(5)).
    ///
    /// # Safety
    /// See [`Watch::run`].
    unsafe fn is_stopped(&self) -> bool {
        let mut text = [0_u8; 128];
        // SAFETY: the path ends with a null, the buffer is as long as said.
        let length = unsafe {
            let file = libc::open(self.stat.as_ptr(), libc::O_RDONLY);
            let length = libc::read(file, text.as_mut_ptr().cast(), text.len());
            libc::close(file);
            length
        };
        let text = usize::try_from(length)
            .ok()
            .and_then(|length| text.get(..length));
        text.is_some_and(is_stopped)
    }
}

/// The state stands behind the last parenthesis: a name may hold others.
fn is_stopped(stat: &[u8]) -> bool {
    let end = stat.iter().rposition(|&byte| byte == b')');
    end.is_some_and(|end| stat.get(end + 2) == Some(&b'T'))
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
