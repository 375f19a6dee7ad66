//! What processes execute: their own arguments, read while they run.

use crate::events::{Command, Module};
use crate::units::{Nanos, Pid};
use std::io::Read;

/// Bytes of arguments that are kept of a process; the kernel allows megabytes.
const MAX_BYTES: u64 = 16 << 10;

/// Executions that were seen and whose arguments were not read yet: the kernel puts them
/// in place some moments after it tells of the exec.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pending: Vec<Pending>,
    known: Vec<Command>,
}

#[derive(Debug)]
struct Pending {
    pid: Pid,
    time: Nanos,
    /// The first file that was mapped is the program.
    program: Option<String>,
    /// Whether the process has ended, or executed something else.
    over: bool,
}

impl Commands {
    /// A process executes another program.
    pub(super) fn executed(&mut self, time: Nanos, pid: Pid) {
        self.over(pid);
        self.pending.push(Pending {
            pid,
            time,
            program: None,
            over: false,
        });
    }

    /// Something was mapped.
    pub(super) fn mapped(&mut self, module: &Module) {
        let of = |p: &&mut Pending| p.pid == module.pid && p.time <= module.time && !p.over;
        if let Some(pending) = self.pending.iter_mut().find(of)
            && pending.program.is_none()
            && module.path.starts_with('/')
        {
            pending.program = Some(module.path.clone());
        }
    }

    /// What the process executed last is not there any more.
    pub(super) fn over(&mut self, pid: Pid) {
        let of = self.pending.iter_mut().filter(|p| p.pid == pid);
        of.for_each(|pending| pending.over = true);
    }

    /// Reads what can be read by now; of what is over there is the program alone.
    pub(super) fn look(&mut self) {
        let known = &mut self.known;
        self.pending.retain_mut(|pending| {
            let words = match pending.over {
                true => Vec::new(),
                false => arguments(pending.pid).unwrap_or_default(),
            };
            if words.is_empty() && !pending.over {
                return true;
            }
            let words = match words.is_empty() {
                true => pending.program.take().into_iter().collect(),
                false => words,
            };
            known.push(Command {
                pid: pending.pid,
                time: pending.time,
                words,
            });
            false
        });
    }

    /// Nothing more will become known.
    pub(super) fn all_over(&mut self) {
        self.look();
        let all = self.pending.iter_mut();
        all.for_each(|pending| pending.over = true);
        self.look();
    }

    /// What is known since the last call.
    pub(super) fn take(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.known)
    }
}

/// /proc/PID/cmdline (proc_pid_cmdline(5)): empty until the arguments are in place, and
/// once the process has ended.
fn arguments(pid: Pid) -> Option<Vec<String>> {
    let file = std::fs::File::open(format!("/proc/{}/cmdline", pid.0)).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    let text = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    if text.is_empty() {
        return None;
    }
    let words = text.split(|&byte| byte == 0);
    Some(
        words
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Identity;
    use crate::units::{Address, Bytes};

    /// No process has this id: pid_max is at most 2^22.
    const NOBODY: Pid = Pid(u32::MAX);

    fn module(time: u64, path: &str) -> Module {
        Module {
            pid: NOBODY,
            time: Nanos(time),
            address: Address(0x1000),
            length: Bytes(0x1000),
            offset: 0,
            path: path.to_owned(),
            identity: Identity::default(),
        }
    }

    #[test]
    fn our_own_arguments_are_read() {
        let own: Vec<String> = std::env::args().collect();
        assert_eq!(arguments(Pid(std::process::id())), Some(own));
        assert_eq!(arguments(NOBODY), None);
    }

    #[test]
    fn of_a_process_that_is_over_the_program_is_known() {
        let mut commands = Commands::default();
        commands.executed(Nanos(10), NOBODY);
        for (time, path) in [
            (9, "/old"),
            (11, "[vdso]"),
            (12, "/bin/true"),
            (13, "/lib/ld.so"),
        ] {
            commands.mapped(&module(time, path));
        }
        commands.look();
        assert_eq!(commands.take(), []);
        commands.executed(Nanos(20), NOBODY);
        commands.look();
        let first = Command {
            pid: NOBODY,
            time: Nanos(10),
            words: vec!["/bin/true".to_owned()],
        };
        assert_eq!(commands.take(), [first]);
        commands.over(NOBODY);
        commands.look();
        let second = commands.take();
        assert_eq!(second.len(), 1);
        assert!(second[0].words.is_empty());
    }
}
