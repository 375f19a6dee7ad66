//! Which ELF programs run when a command is executed: the command itself, or
//! the interpreter that its `#!` line names.

use crate::tracee::command::{Command, Environment};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// As many interpreters as the kernel follows (BINPRM_MAX_RECURSION of fs/exec.c).
const MAX_DEPTH: usize = 5;
/// What the kernel reads of a file (BINPRM_BUF_SIZE).
const MAX_LINE: usize = 256;

/// The ELF files that will run, in order; more than one where `env` starts another.
pub(super) fn programs(command: &Command, environment: &Environment) -> Vec<PathBuf> {
    let mut command = command.clone();
    let mut programs = Vec::new();
    for _ in 0..=MAX_DEPTH {
        let Some(file) = command.file(environment) else {
            break;
        };
        match interpreter(&file) {
            Some((interpreter, argument)) => {
                // The kernel runs: interpreter [argument] file arguments…
                let own = std::mem::take(&mut command.arguments);
                command.program = interpreter;
                command.arguments = argument.into_iter().collect();
                command.arguments.push(file.into());
                command.arguments.extend(own);
            }
            None => {
                let is_env = file.file_name() == Some(OsStr::new("env"));
                programs.push(file);
                match is_env.then(|| started_by_env(&command.arguments)).flatten() {
                    Some(started) => command = started,
                    None => break,
                }
            }
        }
    }
    programs
}

/// The interpreter and its one argument, by the rules of fs/binfmt_script.c.
fn interpreter(file: &Path) -> Option<(OsString, Option<OsString>)> {
    let mut line = Vec::new();
    let file = std::fs::File::open(file).ok()?;
    file.take(MAX_LINE as u64).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?;
    let line = line.split(|&byte| byte == b'\n').next()?.trim_ascii();
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = line.iter().position(blank).unwrap_or(line.len());
    let (name, argument) = line.split_at(end);
    let argument = argument.trim_ascii();
    let own = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    (!name.is_empty()).then(|| (own(name), (!argument.is_empty()).then(|| own(argument))))
}

/// What `env` starts, where that is plain to see: only assignments, options
/// without arguments and `-S` (one string, split at blanks) before it.
fn started_by_env(arguments: &[OsString]) -> Option<Command> {
    let mut words: Vec<OsString> = arguments.to_vec();
    if let Some(first) = arguments.first().and_then(|word| word.to_str())
        && let Some(string) = first.strip_prefix("-S")
    {
        let split = string.split_ascii_whitespace().map(OsString::from);
        words.splice(..1, split.collect::<Vec<_>>());
    }
    let start = words.iter().position(|word| {
        let word = word.as_bytes();
        !matches!(word, b"-i" | b"-" | b"--" | b"-v" | b"-0") && !word.contains(&b'=')
    })?;
    let plain = !words[start].as_bytes().starts_with(b"-");
    plain.then(|| Command::new(&words[start..]))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn run(directory: &Path, script: &str) -> Vec<PathBuf> {
        let file = directory.join("script");
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        let environment = Environment {
            path: Some("/usr/bin".into()),
            ..Environment::default()
        };
        let command = Command::new(&[file.into()]).unwrap();
        programs(&command, &environment)
    }

    #[test]
    fn interpreters_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let itself = directory.join("script");
        for (script, expected) in [
            ("#!/usr/bin/dash\n", &["/usr/bin/dash"][..]),
            ("#! /usr/bin/dash -e -u \necho", &["/usr/bin/dash"]),
            ("#!/usr/bin/env dash\n", &["/usr/bin/env", "/usr/bin/dash"]),
            (
                "#!/usr/bin/env -S A=1 dash -e\n",
                &["/usr/bin/env", "/usr/bin/dash"],
            ),
            ("#!/usr/bin/env -u dash\n", &["/usr/bin/env"]),
            ("#!/nonexistent\n", &[]),
            ("#!\n", &[itself.to_str().unwrap()]),
            ("", &[itself.to_str().unwrap()]),
        ] {
            let expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(run(directory, script), expected, "{script:?}");
        }
        let endless = format!("#!{}\n", itself.display());
        assert!(run(directory, &endless).is_empty());
    }
}
