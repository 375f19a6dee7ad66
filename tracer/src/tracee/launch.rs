//! Starting a command so that it can be traced from its first instruction.
//!
//! A child is forked and waits; its process id is known, probes are attached;
//! it is released and executes the command. Working directory, environment,
//! descriptors, signal mask and dispositions are those that the tracer itself
//! was given; under sudo the command runs as root, as it would without us, unless
//! it is to run as another [`User`].
//!
//! Launch before anything changes what a child inherits: resource limits,
//! namespaces, the working directory.

use super::child::{Failure, Plan};
use super::command::{Command, Environment};
use super::process::{Target, pidfd_open};
use super::user::User;
use crate::units::Pid;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

/// A child that waits to become the command. Dropping it ends the child.
#[derive(Debug)]
pub struct Launch {
    target: Target,
    waiting: Waiting,
    candidates: Vec<PathBuf>,
    user: Option<User>,
    /// The child reports a failed exec here; a successful one closes it.
    report: File,
}

/// A child that nobody else waits for: dropping this ends and reaps it.
#[derive(Debug)]
struct Waiting {
    pid: Pid,
    /// A byte releases the child; closing it (or our death) makes it exit.
    go: Option<File>,
    /// Whether to reap it.
    ours: bool,
}

/// A command that could not be executed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// It could not be executed.
    #[error("{}: {error}", path.display())]
    Exec {
        /// What was tried.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It could not be run as the user that was asked for.
    #[error(
        "can't run the command as user {user}: {error}; this takes root, or CAP_SETUID and \
         CAP_SETGID"
    )]
    User {
        /// The user, as given.
        user: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The tracer could not start it.
    #[error("cannot start the command: {0}")]
    Start(#[from] io::Error),
}

impl LaunchError {
    /// The exit status that env(1) would give: 127 for a command that is not
    /// there, 126 for one that can't be executed; 125 where the tracer failed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exec { error, .. } if error.raw_os_error() == Some(libc::ENOENT) => 127,
            Self::Exec { .. } => 126,
            Self::User { .. } | Self::Start(_) => 125,
        }
    }
}

impl Launch {
    /// Forks a child that waits to execute the command.
    ///
    /// # Errors
    /// Where the system refuses a pipe or a process, or a word holds a NUL.
    pub fn new(command: &Command, environment: &Environment) -> io::Result<Self> {
        Self::as_user(command, environment, None)
    }

    /// The same; the command will run as this user, as far as there is one. The child becomes
    /// the user when it is released.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn as_user(
        command: &Command,
        environment: &Environment,
        user: Option<&User>,
    ) -> io::Result<Self> {
        let candidates = command.candidates(environment);
        let (go_read, go) = pipe()?;
        let (report, report_write) = pipe()?;
        let tracer = pidfd_open(Pid(std::process::id()))?;
        let mut plan = Plan::new(command, &candidates, user)?;
        plan.go = go_read.as_raw_fd();
        plan.report = report_write.as_raw_fd();
        plan.tracer = tracer.as_raw_fd();
        plan.unused = [go.as_raw_fd(), report.as_raw_fd()];
        let pid = plan.fork()?;
        // From here on, an error ends the child.
        let waiting = Waiting {
            pid,
            go: Some(go.into()),
            ours: true,
        };
        Ok(Self {
            target: Target::new(pid)?,
            waiting,
            candidates,
            user: user.cloned(),
            report: report.into(),
        })
    }

    /// The process id that the command will have.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.waiting.pid
    }

    /// Lets the child execute the command, and waits until it has.
    ///
    /// A child that a signal killed meanwhile is a target that ended so.
    ///
    /// # Errors
    /// [`LaunchError::Exec`] with what execve(2) said.
    pub fn release(mut self) -> Result<Target, LaunchError> {
        match self.waiting.go.as_ref().map(|mut go| go.write_all(&[1])) {
            // A child that is gone reads nothing; its status will say why.
            Some(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(error.into());
            }
            _ => {}
        }
        let mut message = Vec::new();
        (&self.report)
            .take(Failure::BYTES as u64)
            .read_to_end(&mut message)?;
        match Failure::decode(&message) {
            None => {
                self.waiting.ours = false;
                Ok(self.target)
            }
            Some(failure) => Err(self.failed(failure)),
        }
    }

    fn failed(&self, failure: Failure) -> LaunchError {
        let error = io::Error::from_raw_os_error(failure.errno);
        match &self.user {
            Some(user) if failure.candidate == Failure::USER => LaunchError::User {
                user: user.asked().to_owned(),
                error,
            },
            _ => LaunchError::Exec {
                path: self.tried(failure),
                error,
            },
        }
    }

    /// The file that failed; the bare name where PATH was searched in vain.
    fn tried(&self, failure: Failure) -> PathBuf {
        let path = self.candidates.get(failure.candidate);
        let searched = self.candidates.len() > 1 && failure.errno == libc::ENOENT;
        match (path, searched) {
            (Some(path), false) => path.clone(),
            (Some(path), true) => path.file_name().map(PathBuf::from).unwrap_or_default(),
            (None, _) => PathBuf::new(),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.go = None;
        if self.ours {
            // SAFETY: waits for a child of ours; a null status is allowed.
            unsafe { libc::waitpid(self.pid.0 as i32, std::ptr::null_mut(), 0) };
        }
    }
}

pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for the two descriptors.
    match unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } {
        // SAFETY: the kernel has just made them for us.
        0 => Ok(fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).into()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
