//! The results as a table, on the terminal and in `docs/kernels.md`.

use super::cases::CASES;
use super::kernels::Kernel;
use super::matrix::{Done, Outcome};
use std::collections::BTreeSet;
use std::fmt::Write;

/// What the committed page begins with.
const HEAD: &str = "# Kernels that it was tried on

Written by `cargo xtask vm --all --write`: Debian's kernels under QEMU (TCG, `-cpu max`), the real
tracer over programs that know their own truth; the tests and their tolerances are those of
`cargo xtask test`. *ok*: right. *degraded*: right within what the named lack allows, which the
summary names too. *refused*: nothing recorded, one line says why, exit status 125, and `tracer
doctor` says so before.
";

/// A row for each case, a column for each kernel.
pub(crate) fn table(kernels: &[Kernel], done: &[Done]) -> String {
    let mut rows = vec![header(kernels)];
    let mut notes: Vec<String> = Vec::new();
    for case in &CASES {
        let cells: Vec<_> = kernels
            .iter()
            .map(|kernel| {
                let one = done
                    .iter()
                    .find(|one| one.kernel == kernel.name && one.case == case.name);
                one.map_or_else(String::new, |one| cell(&one.outcome, &mut notes))
            })
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            rows.push([vec![case.name.to_owned()], cells].concat());
        }
    }
    let mut text = aligned(&rows);
    for (number, note) in notes.iter().enumerate() {
        let _ = write!(text, "\n{}. {note}", number + 1);
    }
    if !notes.is_empty() {
        text.push('\n');
    }
    text
}

/// The page for the repository.
pub(crate) fn page(kernels: &[Kernel], done: &[Done], runs: u32, date: &str) -> String {
    let mut page = format!(
        "{HEAD}\nOn {date}; what may differ from time to time ran so often: {runs}. With:\n\n"
    );
    for kernel in kernels {
        let _ = writeln!(page, "- {}: `{}`", kernel.name, kernel.package);
    }
    let _ = write!(page, "\n{}", table(kernels, done));
    let programs: BTreeSet<_> = done.iter().flat_map(|one| one.verified.keys()).collect();
    let mut rows = vec![header(kernels)];
    for program in programs {
        let counts = kernels.iter().map(|kernel| {
            let own = done.iter().filter(|one| one.kernel == kernel.name);
            let count = own.filter_map(|one| one.verified.get(program)).max();
            count.map_or_else(String::new, u64::to_string)
        });
        rows.push([vec![format!("`{program}`")], counts.collect()].concat());
    }
    let _ = write!(
        page,
        "\n## Instructions that the verifier goes through (of a million that it allows)\n\n{}",
        aligned(&rows)
    );
    page
}

fn header(kernels: &[Kernel]) -> Vec<String> {
    let names = kernels.iter().map(|kernel| kernel.name.clone());
    [String::new()].into_iter().chain(names).collect()
}

/// A short cell; what a refusal or a failure says becomes a numbered note.
fn cell(outcome: &Outcome, notes: &mut Vec<String>) -> String {
    let mut note = |word: &str, text: &str| {
        let number = notes.iter().position(|known| known == text);
        let number = number.unwrap_or_else(|| {
            notes.push(text.to_owned());
            notes.len() - 1
        });
        format!("{word} ({})", number + 1)
    };
    match outcome {
        Outcome::Ok | Outcome::Degraded(_) => outcome.to_string(),
        Outcome::Refused(line) => note("refused", line),
        Outcome::Failed(why) => note("**failed**", why),
    }
}

/// Rows as Markdown, the first of them the header.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!(" {cell:width$} "));
        let _ = writeln!(text, "|{}|", cells.collect::<Vec<_>>().join("|"));
        if number == 0 {
            let rule = widths.iter().map(|width| "-".repeat(width + 2));
            let _ = writeln!(text, "|{}|", rule.collect::<Vec<_>>().join("|"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Outcome, aligned, cell};

    #[test]
    fn equal_notes_are_written_once() {
        let mut notes = Vec::new();
        let refused = |line: &str| Outcome::Refused(line.to_owned());
        assert_eq!(cell(&refused("no BPF"), &mut notes), "refused (1)");
        assert_eq!(
            cell(&Outcome::Failed("hung".into()), &mut notes),
            "**failed** (2)"
        );
        assert_eq!(cell(&refused("no BPF"), &mut notes), "refused (1)");
        assert_eq!(cell(&Outcome::Ok, &mut notes), "ok");
        assert_eq!(notes, ["no BPF", "hung"]);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["", "6.1"], ["doctor", "ok"]].map(|row| row.map(str::to_owned).to_vec());
        let expected = "|        | 6.1 |\n|--------|-----|\n| doctor | ok  |\n";
        assert_eq!(aligned(&rows), expected);
    }
}
