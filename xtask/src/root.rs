//! Becoming root for the steps that need it.

use crate::command::{command, succeeds};
use anyhow::{Result, bail};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// How a command is run as root here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// We are root.
    Already,
    /// `sudo` works, asking for a password where it must.
    Sudo,
}

impl Root {
    /// Finds out; the error is the one line a user needs.
    pub(crate) fn find() -> Result<Self> {
        if let Some(root) = Self::silent() {
            return Ok(root);
        }
        // A terminal lets sudo ask; without one it would only fail later.
        if std::io::IsTerminal::is_terminal(&std::io::stdin())
            && succeeds(command("sudo").arg("-V"))
        {
            return Ok(Self::Sudo);
        }
        bail!("tracing needs root: run this as root, or as a user that may use sudo");
    }

    /// The way that asks for no password, if there is one.
    pub(crate) fn silent() -> Option<Self> {
        if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            return Some(Self::Already);
        }
        succeeds(command("sudo").args(["-n", "true"])).then_some(Self::Sudo)
    }

    /// `program`, to be run as root with `variables` in its environment.
    pub(crate) fn command(self, program: &str, variables: &[(&str, String)]) -> Command {
        match self {
            Self::Already => {
                let mut it = command(program);
                it.envs(variables.iter().map(|(name, value)| (name, value)));
                it
            }
            Self::Sudo => {
                let mut it = command("sudo");
                it.arg("env");
                it.args(
                    variables
                        .iter()
                        .map(|(name, value)| format!("{name}={value}")),
                );
                it.arg(program);
                it
            }
        }
    }
}
