//! The forked child, up to its exec.
//!
//! Between fork and exec only what is async-signal-safe is allowed: another
//! thread may have held the allocator's lock when we forked. So all memory is
//! prepared before ([`Plan`]), and [`Plan::run`] makes system calls only.

use super::capabilities::{self, Capabilities};
use super::command::Command;
use super::inherited::inherited;
use super::user::User;
use crate::units::Pid;
use std::ffi::CString;
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

/// What the child needs. The pointers are into `_words` and `candidates`.
pub(super) struct Plan {
    /// Its end of the pipe on which it waits.
    pub(super) go: RawFd,
    /// Its end of the pipe for a [`Failure`].
    pub(super) report: RawFd,
    /// A pidfd of the tracer.
    pub(super) tracer: RawFd,
    /// The tracer's ends of both pipes.
    pub(super) unused: [RawFd; 2],
    candidates: Vec<CString>,
    /// Program, arguments, null.
    arguments: Vec<*const libc::c_char>,
    /// `/bin/sh`, room for the file, arguments, null.
    shell: Vec<*const libc::c_char>,
    /// Variables, null; nothing where those of this process stay.
    environment: Option<Vec<*const libc::c_char>>,
    /// Whom to become.
    user: Option<User>,
    /// What the pointers point to.
    _words: Vec<CString>,
}

/// Why the command could not be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What the system call said.
    pub(super) errno: i32,
    /// Of which candidate.
    pub(super) candidate: usize,
}

impl Failure {
    /// Length of its encoding.
    pub(super) const BYTES: usize = 8;

    /// Stands for a candidate where not even the user could be changed.
    pub(super) const USER: usize = u32::MAX as usize;

    fn encode(self) -> [u8; Self::BYTES] {
        let both = (self.candidate as u64) << 32 | u64::from(self.errno as u32);
        both.to_le_bytes()
    }

    /// Nothing, where nothing was sent.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let both = u64::from_le_bytes(bytes.try_into().ok()?);
        Some(Self {
            errno: both as u32 as i32,
            candidate: (both >> 32) as usize,
        })
    }
}

impl Plan {
    /// Prepares everything but the descriptors.
    pub(super) fn new(
        command: &Command,
        candidates: &[PathBuf],
        user: Option<&User>,
    ) -> io::Result<Self> {
        let mut words = std::iter::once(&command.program)
            .chain(&command.arguments)
            .map(|word| CString::new(word.as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        let candidates = candidates
            .iter()
            .map(|path| CString::new(path.as_os_str().as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        let number = words.len();
        let variables = user.map(User::environment);
        let changed = variables.is_some();
        // A pointer to what a CString holds stays valid when the CString is moved.
        words.extend(variables.into_iter().flatten());
        let pointers = || words[..number].iter().map(|word| word.as_ptr());
        let shell = [c"/bin/sh".as_ptr(), ptr::null()].into_iter();
        Ok(Self {
            go: -1,
            report: -1,
            tracer: -1,
            unused: [-1; 2],
            arguments: pointers().chain([ptr::null()]).collect(),
            shell: shell
                .chain(pointers().skip(1))
                .chain([ptr::null()])
                .collect(),
            environment: changed.then(|| {
                let variables = words[number..].iter().map(|word| word.as_ptr());
                variables.chain([ptr::null()]).collect()
            }),
            user: user.cloned(),
            candidates,
            _words: words,
        })
    }

    /// Forks. Signals are blocked meanwhile, so that no handler of ours ever
    /// runs in the child.
    pub(super) fn fork(mut self) -> io::Result<Pid> {
        let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the sets are valid for the calls; in the child, `run` keeps to
        // what is async-signal-safe and never returns.
        let (pid, error) = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            let pid = libc::fork();
            if pid == 0 {
                self.run();
            }
            let error = io::Error::last_os_error();
            libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
            (pid, error)
        };
        u32::try_from(pid).map(Pid).map_err(|_| error)
    }

    /// The child's life.
    ///
    /// # Safety
    /// To be called in a freshly forked child only.
    unsafe fn run(&mut self) -> ! {
        // SAFETY: system calls on descriptors of ours and on memory that outlives
        // them; all of them async-signal-safe.
        unsafe {
            for fd in self.unused {
                libc::close(fd);
            }
            restore_signals();
            if self.released() {
                let failure = match self.change_user() {
                    Ok(()) => self.exec(),
                    Err(failure) => failure,
                };
                let failure = failure.encode();
                libc::write(self.report, failure.as_ptr().cast(), failure.len());
            }
            libc::_exit(127)
        }
    }

    /// Waits for the tracer's byte; false if the tracer gave up or died.
    ///
    /// Its death closes the pipe, but for a copy of our end that another child,
    /// forked at the same time, may hold: hence the pidfd.
    ///
    /// # Safety
    /// See [`Plan::run`].
    unsafe fn released(&self) -> bool {
        let wait = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut fds = [wait(self.go), wait(self.tracer)];
        let mut byte = 0_u8;
        // SAFETY: the array and the byte are valid for the calls.
        unsafe {
            while libc::poll(fds.as_mut_ptr(), 2, -1) < 0 {}
            // Whoever made the poll return: what counts is whether there is a byte.
            fds[0].revents & libc::POLLIN != 0
                && libc::read(self.go, (&raw mut byte).cast(), 1) == 1
        }
    }

    /// Becomes the user, if there is one: groups first, while it may. No user but root keeps
    /// a capability; what a program has by its set-user-ID bit it gets as ever.
    ///
    /// These are the bare system calls: glibc's own would tell other threads, of which a forked
    /// child has none.
    ///
    /// # Safety
    /// See [`Plan::run`].
    unsafe fn change_user(&self) -> Result<(), Failure> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        let (uid, gid) = (user.uid, user.gid);
        let check = |result: libc::c_long| match result {
            -1 => Err(Failure {
                // SAFETY: the place is this thread's own.
                errno: unsafe { *libc::__errno_location() },
                candidate: Failure::USER,
            }),
            _ => Ok(()),
        };
        // SAFETY: the list is valid for the call; the others have no pointers.
        unsafe {
            let groups = user.groups.as_ptr();
            check(libc::syscall(
                libc::SYS_setgroups,
                user.groups.len(),
                groups,
            ))?;
            check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
            check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
        }
        if uid == 0 {
            return Ok(());
        }
        // Securebits may have kept what setresuid takes away otherwise.
        capabilities::clear_ambient();
        match capabilities::set(Capabilities::NONE) {
            true => Ok(()),
            false => check(-1),
        }
    }

    /// execvp(3), by the rules of POSIX and glibc; returns why it failed.
    ///
    /// # Safety
    /// See [`Plan::run`].
    unsafe fn exec(&mut self) -> Failure {
        let mut failure = Failure {
            errno: libc::ENOENT,
            candidate: 0,
        };
        let variables = match &self.environment {
            Some(variables) => variables.as_ptr(),
            // SAFETY: nothing changes it in a process of one thread.
            None => unsafe { environ },
        };
        for (candidate, path) in self.candidates.iter().enumerate() {
            // SAFETY: null-terminated arrays of C strings that live on.
            let errno = unsafe {
                libc::execve(path.as_ptr(), self.arguments.as_ptr(), variables);
                let errno = *libc::__errno_location();
                match (errno, self.shell.get_mut(1)) {
                    (libc::ENOEXEC, Some(place)) => {
                        *place = path.as_ptr();
                        libc::execve(c"/bin/sh".as_ptr(), self.shell.as_ptr(), variables);
                        libc::ENOEXEC
                    }
                    _ => errno,
                }
            };
            match errno {
                // Not here: look on, but remember what was forbidden.
                libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {
                    if failure.errno == libc::ENOENT {
                        failure = Failure { errno, candidate };
                    }
                }
                libc::EACCES => failure = Failure { errno, candidate },
                _ => return Failure { errno, candidate },
            }
        }
        failure
    }
}

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

/// Gives the target the dispositions and the mask that the tracer was given:
/// handlers of ours become the default, what was ignored stays ignored.
///
/// # Safety
/// See [`Plan::run`].
unsafe fn restore_signals() {
    let inherited = inherited();
    // SAFETY: plain data, for which all zero is the default disposition; the
    // calls only read and write the structs given.
    unsafe {
        let default: libc::sigaction = zeroed();
        for signal in 1..=64 {
            let mut action: libc::sigaction = zeroed();
            let known = libc::sigaction(signal, ptr::null(), &mut action) == 0;
            let ours = action.sa_sigaction != libc::SIG_IGN
                || (signal == libc::SIGPIPE && !inherited.pipe_ignored);
            if known && ours && action.sa_sigaction != libc::SIG_DFL {
                libc::sigaction(signal, &default, ptr::null_mut());
            }
        }
        libc::sigprocmask(libc::SIG_SETMASK, &inherited.mask, ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn failures_survive_the_pipe() {
        let failure = Failure {
            errno: libc::EACCES,
            candidate: 7,
        };
        assert_eq!(Failure::decode(&failure.encode()), Some(failure));
        assert_eq!(Failure::decode(&[]), None);
    }
}
