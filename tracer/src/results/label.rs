//! The default folder for results, named after the command.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Longest label, in bytes.
const LONGEST: usize = 64;

/// `out/<label>`; the label is the program's file name and its arguments, joined by `-`, with
/// everything that is awkward in a file name left out: `workload -t ureter` → `workload-t-ureter`.
pub(crate) fn default_out_dir(command: &[OsString]) -> PathBuf {
    Path::new("out").join(label(command))
}

fn label(command: &[OsString]) -> String {
    let mut words = command
        .iter()
        .map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let mut label = String::new();
    for c in std::iter::once(program)
        .chain(words)
        .flat_map(|word| format!("{word} ").chars().collect::<Vec<_>>())
    {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => label.push(c),
            '.' if !label.is_empty() && !label.ends_with(['.', '-']) => label.push(c),
            _ if !label.is_empty() && !label.ends_with('-') => label.push('-'),
            _ => {}
        }
        if label.len() >= LONGEST {
            break;
        }
    }
    match label.trim_end_matches(['-', '.']) {
        "" => "trace".to_owned(),
        label => label.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> String {
        label(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn labels_come_from_the_words() {
        assert_eq!(of(&["workload", "-t", "ureter"]), "workload-t-ureter");
        assert_eq!(of(&["/usr/bin/python3", "app.py"]), "python3-app.py");
    }

    #[test]
    fn labels_never_leave_the_folder() {
        assert_eq!(of(&["../..", "../x"]), "x");
        assert_eq!(of(&["..", ".."]), "trace");
        assert_eq!(of(&[""]), "trace");
        assert_eq!(of(&["a", &"b".repeat(500)]).len(), LONGEST);
    }
}
