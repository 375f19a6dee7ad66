//! How a process ended.

use std::fmt;
use std::time::Duration;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Exited(u8),
    /// A signal killed it.
    Signaled {
        /// Number of the signal.
        signal: u8,
        /// Whether it left a core dump.
        core: bool,
    },
}

/// How a process ended and what it used, its waited-for children included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub status: Status,
    /// Time in user mode.
    pub user: Duration,
    /// Time in the kernel.
    pub system: Duration,
}

impl Status {
    /// From a wait status as `wait(2)` and the kernel's `task->exit_code` have it.
    #[must_use]
    pub const fn from_wait(status: u32) -> Self {
        match (status & 0x7f) as u8 {
            0 => Self::Exited((status >> 8) as u8),
            signal => Self::Signaled {
                signal,
                core: status & 0x80 != 0,
            },
        }
    }

    /// The exit status that passes it on, as shells do: 128+N for signal N.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled { signal, .. } => 128 | signal,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signaled { signal, core } => {
                match nix::sys::signal::Signal::try_from(i32::from(signal)) {
                    Ok(name) => write!(f, "killed by {name}")?,
                    Err(_) => write!(f, "killed by signal {signal}")?,
                }
                f.write_str(if core { " (core dumped)" } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_are_decoded() {
        let signaled = |signal, core| Status::Signaled { signal, core };
        for (wait, status, code, text) in [
            (0x0000, Status::Exited(0), 0, "exit status 0"),
            (0x0300, Status::Exited(3), 3, "exit status 3"),
            (0xff00, Status::Exited(255), 255, "exit status 255"),
            (0x0009, signaled(9, false), 137, "killed by SIGKILL"),
            (
                0x008b,
                signaled(11, true),
                139,
                "killed by SIGSEGV (core dumped)",
            ),
            (0x0022, signaled(34, false), 162, "killed by signal 34"),
        ] {
            assert_eq!(Status::from_wait(wait), status);
            assert_eq!(status.exit_code(), code);
            assert_eq!(status.to_string(), text);
        }
    }
}
