//! Signals sent to the tracer while a command runs.
//!
//! The terminal sends Ctrl-C and Ctrl-\ to the whole foreground process group, so
//! the command has it already; its hangup too, unless the tracer leads the session:
//! the leader alone is told then. What somebody sends to the tracer alone is passed on. In both cases the tracer goes on until the command
//! ends, and reports. A command that ignores Ctrl-C is killed by the third
//! within two seconds. Ctrl-Z needs nothing: tracer and command stop and go on
//! together, as members of one job.
//!
//! A signal that somebody else sends to the whole group (`kill -- -PGID`) can't
//! be told from one to the tracer alone: the command gets it twice.
//!
//! The signals are blocked and read from a signalfd, so that one `poll` waits
//! for them, for the command's end and for events, and no handler ever runs.
//! What the tracer's parent ignores (nohup) stays ignored.

use super::process::Target;
use crate::units::Pid;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// What is passed on.
const PASSED_ON: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];
/// So many Ctrl-C…
const INSISTENT: usize = 3;
/// …within this time kill the command.
const PATIENCE: Duration = Duration::from_secs(2);

/// The signals that this process takes.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    presses: VecDeque<Instant>,
}

/// A signal that this process got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Number of the signal.
    pub signal: i32,
    /// Who sent it; `None` for the kernel, on behalf of the terminal.
    pub sender: Option<Pid>,
}

/// What is to be done about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The command has it already.
    Nothing,
    /// Send the command this signal.
    PassOn(i32),
}

impl Signals {
    /// Takes the signals over. To be called before any thread is started: other
    /// threads inherit the mask. [`super::Launch`] gives the command the old one.
    ///
    /// # Errors
    /// Where the system has no descriptor left.
    pub fn take() -> io::Result<Self> {
        let set: SigSet = PASSED_ON.into_iter().collect();
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self {
            fd: SignalFd::with_flags(&set, flags)?,
            presses: VecDeque::new(),
        })
    }

    /// The next signal, if there is one. Readable (`poll`, POLLIN) then.
    ///
    /// # Errors
    /// Where reading fails.
    pub fn read(&mut self) -> io::Result<Option<Received>> {
        Ok(self.fd.read_signal()?.map(|info: siginfo| Received {
            signal: info.ssi_signo as i32,
            sender: (info.ssi_code != libc::SI_KERNEL).then_some(Pid(info.ssi_pid)),
        }))
    }

    /// Reads all signals and passes on what the command has not got itself.
    /// Returns them, with what was done.
    ///
    /// # Errors
    /// Where reading or sending fails.
    pub fn relay(&mut self, target: &Target) -> io::Result<Vec<(Received, Action)>> {
        let mut done = Vec::new();
        while let Some(received) = self.read()? {
            let got_it = has_it_already(received, target.pid());
            let action = self.decide(received, got_it, Instant::now());
            if let Action::PassOn(signal) = action {
                target.signal(signal)?;
            }
            done.push((received, action));
        }
        Ok(done)
    }

    /// Likewise to a tracer, which decides by itself when a command is to be killed.
    ///
    /// # Errors
    /// Where reading or sending fails.
    pub fn relay_to_tracer(&mut self, tracer: &Target) -> io::Result<()> {
        while let Some(received) = self.read()? {
            if !has_it_already(received, tracer.pid()) {
                tracer.signal(received.signal)?;
            }
        }
        Ok(())
    }

    fn decide(&mut self, received: Received, got_it: bool, now: Instant) -> Action {
        if received.signal == libc::SIGINT && received.sender.is_none() {
            self.presses.push_back(now);
            self.presses
                .retain(|&press| now.duration_since(press) < PATIENCE);
            if self.presses.len() >= INSISTENT {
                return Action::PassOn(libc::SIGKILL);
            }
        }
        match got_it {
            true => Action::Nothing,
            false => Action::PassOn(received.signal),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the command got a signal without us: from the terminal, if it is in
/// our process group; or because it, or a process below it, sent the signal (to
/// the whole group, most likely; it must not come back as an echo).
fn has_it_already(received: Received, target: Pid) -> bool {
    match received.sender {
        // SAFETY: no pointers.
        None if received.signal == libc::SIGHUP && unsafe { libc::getsid(0) == libc::getpid() } => {
            false
        }
        None => {
            // SAFETY: no pointers.
            let (ours, its) = unsafe { (libc::getpgrp(), libc::getpgid(target.0 as i32)) };
            ours == its
        }
        Some(sender) => descends_from(sender, target),
    }
}

/// Follows the chain of parents.
fn descends_from(mut pid: Pid, ancestor: Pid) -> bool {
    // Chains are short; one that changes under us must not hold us forever.
    for _ in 0..256 {
        match pid {
            Pid(0 | 1) => return false,
            _ if pid == ancestor => return true,
            _ => match parent(pid) {
                Some(parent) => pid = parent,
                None => return false,
            },
        }
    }
    false
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read(format!("/proc/{}/stat", pid.0)).ok()?;
    // The name before it may hold anything, a parenthesis too.
    let after = stat.iter().rposition(|&byte| byte == b')')?;
    let text = std::str::from_utf8(stat.get(after + 1..)?).ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok().map(Pid)
}

#[cfg(test)]
#[path = "signals_tests.rs"]
mod tests;
