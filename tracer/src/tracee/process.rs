//! A running process, held by a pidfd.

use super::status::{Ended, Status};
use crate::units::Pid;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// The running command, a child of ours. Dropping it leaves it running.
#[derive(Debug)]
pub struct Target {
    pid: Pid,
    pidfd: OwnedFd,
    ended: Option<Ended>,
}

impl Target {
    /// A child that has not been waited for.
    ///
    /// # Errors
    /// Where the system has no descriptor left.
    pub fn new(pid: Pid) -> io::Result<Self> {
        Ok(Self {
            pid,
            pidfd: pidfd_open(pid)?,
            ended: None,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, if it has. It becomes readable (`poll`, POLLIN) then.
    ///
    /// # Errors
    /// Where somebody else has waited for it.
    pub fn try_wait(&mut self) -> io::Result<Option<Ended>> {
        self.wait4(libc::WNOHANG)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Where somebody else has waited for it.
    pub fn wait(&mut self) -> io::Result<Ended> {
        loop {
            if let Some(ended) = self.wait4(0)? {
                return Ok(ended);
            }
        }
    }

    /// Sends it a signal. One that has ended is left alone.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: no pointer but a null one, which stands for kill(2)'s siginfo.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        match (result, io::Error::last_os_error()) {
            (0, _) => Ok(()),
            (_, error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            (_, error) => Err(error),
        }
    }

    fn wait4(&mut self, options: i32) -> io::Result<Option<Ended>> {
        if self.ended.is_some() {
            return Ok(self.ended);
        }
        let mut status = 0;
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        let pid = self.pid.0 as i32;
        // SAFETY: both places are valid for the call.
        match unsafe { libc::wait4(pid, &mut status, options, usage.as_mut_ptr()) } {
            0 => {}
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            _ => {
                // SAFETY: plain data, written by the kernel or zero.
                let usage = unsafe { usage.assume_init() };
                self.ended = Some(Ended {
                    status: Status::from_wait(status as u32),
                    user: duration(usage.ru_utime),
                    system: duration(usage.ru_stime),
                });
            }
        }
        Ok(self.ended)
    }
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

fn duration(time: libc::timeval) -> Duration {
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_micros(part(time.tv_usec))
}

/// A descriptor that stands for a process: readable (`poll`, POLLIN) once it has
/// ended, and never another's, though its number be reused.
///
/// # Errors
/// ESRCH if there is no such process.
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: no pointers. The descriptor is close-on-exec.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made it for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
