//! Which process is which: numbers are given away again, commands are not.

use super::Run;
use super::text::{command_line, cut};
use crate::events::Command;
use crate::ledger::account::{Account, ProcessAccount};
use crate::units::{Nanos, Pid};
use rustc_hash::FxHashMap;

/// Columns of a command in one line.
const COMMAND: usize = 160;

/// The command of every process of an account, in its order: what it executed last; of one
/// that executed nothing, what its parent was running when it was made. The first process
/// runs what was asked for.
#[must_use]
pub fn commands(account: &Account, executed: &[Command], root: &[String]) -> Vec<Vec<String>> {
    let processes = &account.processes;
    let lives = Lives::new(processes);
    let mut own: Vec<Vec<&Command>> = vec![Vec::new(); processes.len()];
    for command in executed {
        if let Some(index) = lives.find(command.pid, command.time) {
            own[index].push(command);
        }
    }
    // The last one before a moment, up the line of parents.
    let before = |mut index: usize, mut moment: Nanos| {
        // A parent came before its children, so that this ends.
        for _ in 0..processes.len() {
            let known = own[index].iter().filter(|command| command.time <= moment);
            let last = known.max_by_key(|command| command.time);
            if let Some(command) = last.filter(|command| !command.words.is_empty()) {
                return command.words.clone();
            }
            if index == 0 {
                break;
            }
            let (parent, born) = (processes[index].parent, processes[index].began);
            match lives.find(parent, born) {
                Some(parent) if parent < index => (index, moment) = (parent, born),
                _ => return Vec::new(),
            }
        }
        root.to_vec()
    };
    let command = |index: usize| match index {
        0 => root.to_vec(),
        index => before(index, Nanos(u64::MAX)),
    };
    (0..processes.len()).map(command).collect()
}

/// Which process a number meant at a time.
#[derive(Debug, Default)]
pub(super) struct Lives(FxHashMap<Pid, Vec<(Nanos, usize)>>);

impl Lives {
    pub(super) fn new(processes: &[ProcessAccount]) -> Self {
        let mut lives: FxHashMap<Pid, Vec<(Nanos, usize)>> = FxHashMap::default();
        for (index, process) in processes.iter().enumerate() {
            let of_pid = lives.entry(process.pid).or_default();
            of_pid.push((process.began, index));
        }
        Self(lives)
    }

    /// The last one that began until then; what was noticed of the first one before it
    /// began is its own.
    pub(super) fn find(&self, pid: Pid, time: Nanos) -> Option<usize> {
        let lives = self.0.get(&pid)?;
        let begun = lives.partition_point(|&(began, _)| began <= time);
        lives.get(begun.saturating_sub(1)).map(|&(_, index)| index)
    }
}

/// The command of a process in one line; nothing where it is not known.
pub(super) fn line(run: &Run, index: usize) -> Option<String> {
    let words = run.commands.get(index).filter(|words| !words.is_empty())?;
    Some(cut(&command_line(words), COMMAND))
}

/// Its number and the name of its program, and of the script that this runs.
pub(super) fn name(run: &Run, account: &Account, index: usize) -> String {
    let pid = account.processes.get(index).map_or(0, |p| p.pid.0);
    let words = run.commands.get(index);
    let mut words = words.into_iter().flatten();
    let file = |word: &String| word.rsplit('/').next().unwrap_or(word).to_owned();
    let Some(program) = words.next().map(file) else {
        return format!("{pid} process");
    };
    match words.next().filter(|word| !word.starts_with('-')) {
        Some(word) => format!("{pid} {program} {}", cut(&file(word), 30)),
        None => format!("{pid} {program}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, began: u64) -> ProcessAccount {
        ProcessAccount {
            pid: Pid(pid),
            parent: Pid(parent),
            began: Nanos(began),
            ..ProcessAccount::default()
        }
    }

    fn executed(pid: u32, time: u64, word: &str) -> Command {
        Command {
            pid: Pid(pid),
            time: Nanos(time),
            words: word.split_whitespace().map(ToOwned::to_owned).collect(),
        }
    }

    #[test]
    fn a_process_has_the_command_that_it_executed_last_or_was_born_with() {
        let account = Account {
            processes: vec![
                process(1, 0, 10),
                process(2, 1, 20),
                process(3, 2, 30),
                process(2, 1, 50),
                process(4, 1, 60),
                process(5, 9, 70),
            ],
            ..Account::default()
        };
        let executed = [
            executed(1, 9, "env sh"),
            executed(2, 25, "first -c"),
            executed(2, 35, "second"),
            executed(2, 55, "reused"),
            executed(1, 58, "sh"),
            executed(4, 61, ""),
        ];
        let found = commands(&account, &executed, &["asked".to_owned()]);
        let found: Vec<_> = found.iter().map(|words| words.join(" ")).collect();
        let expected = ["asked", "second", "first -c", "reused", "sh", ""];
        assert_eq!(found, expected);
    }
}
