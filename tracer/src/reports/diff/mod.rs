//! Two runs side by side: what of a location's figures changed.
//!
//! Locations are the same if function and file are: lines and addresses move from build to build.
//! What a program asks for is compared to the byte; resident memory is what the kernel made of it,
//! and counts as changed from 64 KiB and 1 % on.

mod side;

pub use side::Side;
pub(super) use side::{Key, key};

use super::metric::Figures;
use super::text::{Table, count, printable};
use super::{Style, part};
use crate::units::Bytes;
use std::cmp::Reverse;

/// Resident bytes of a location that come and go with the allocator and the kernel: so many, or
/// so great a part of the larger figure.
pub(super) const NOISE: u64 = 64 << 10;
const NOISE_PART: u64 = 100;

/// Rows of a table.
const ROWS: usize = 40;

/// Why two runs can't be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// The heap was followed in one of them alone.
    #[error("one was traced with --trace {0}, the other with --trace {1}: they count other things")]
    Modes(String, String),
    /// They are of other parts of a run.
    #[error("one is of {0}, the other of {1}")]
    Parts(String, String),
    /// A `stats.json` is none.
    #[error("no stats.json of this tool: {0}")]
    Stats(String),
}

/// Two runs, compared.
#[derive(Clone, Debug)]
pub struct Diff {
    base: Side,
    head: Side,
    /// What changed, the most bytes first.
    rows: Vec<(Key, Figures, Figures)>,
}

impl Diff {
    /// Compares them.
    ///
    /// # Errors
    /// [`DiffError::Modes`], [`DiffError::Parts`] where they did not follow the same.
    pub fn new(base: Side, head: Side) -> Result<Self, DiffError> {
        if base.mode != head.mode {
            return Err(DiffError::Modes(base.mode, head.mode));
        }
        if base.between != head.between {
            let [base, head] = [&base, &head].map(|side| part(side.between()));
            return Err(DiffError::Parts(base, head));
        }
        let keys = base.locations.keys().chain(head.locations.keys());
        let keys: std::collections::BTreeSet<&Key> = keys.collect();
        let of = |side: &Side, key: &Key| side.locations.get(key).copied().unwrap_or_default();
        let mut rows: Vec<_> = keys
            .into_iter()
            .map(|key| (key.clone(), of(&base, key), of(&head, key)))
            .filter(|(_, base, head)| changed(base, head))
            .collect();
        rows.sort_by_key(|(key, base, head)| (Reverse(weight(base, head)), key.clone()));
        Ok(Self { base, head, rows })
    }

    /// Whether nothing changed: no location, nor the whole. What no location answers for (the
    /// program's own pages, slack) is in the whole alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && !changed(&self.base.all, &self.head.all)
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let mut table = Table::new(&["reserved", "resident", "leaked", "calls", "location"]);
        table.push(cells("all", &self.base.all, &self.head.all));
        for (key, base, head) in self.rows.iter().take(ROWS) {
            let room = style.columns.saturating_sub(52).max(20);
            let name = crate::reports::text::cut_front(&key.name(), room);
            table.push(cells(&name, base, head));
        }
        let mut out = self.notes().concat();
        out.push_str(&table.text());
        out.push_str(&self.end());
        out
    }

    /// As Markdown, for a job's summary or a comment.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut table = Table::new(&["reserved", "resident", "leaked", "calls", "location"]);
        table.push(cells("all", &self.base.all, &self.head.all));
        for (key, base, head) in self.rows.iter().take(ROWS) {
            table.push(cells(&crate::reports::text::code(&key.name()), base, head));
        }
        let mut out = self.notes().join("\n");
        out.push_str(&table.markdown());
        out.push('\n');
        out.push_str(&self.end());
        out
    }

    /// What is to be known before the numbers are read, a line each.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.base.command != self.head.command {
            let commands = (printable(&self.base.command), printable(&self.head.command));
            notes.push(format!("from `{}` to `{}`\n", commands.0, commands.1));
        }
        for (side, what) in [(&self.base, "first"), (&self.head, "second")] {
            if side.incomplete {
                notes.push(format!(
                    "events of the {what} are missing: it may have come to more\n"
                ));
            }
        }
        if self.base.largest_only || self.head.largest_only {
            notes.push(
                "a stats.json has the largest locations alone: what left it shows as gone\n"
                    .to_owned(),
            );
        }
        notes
    }

    fn end(&self) -> String {
        match self.rows.len() {
            0 if self.is_empty() => "no change beyond noise\n".to_owned(),
            0 => "no location changed\n".to_owned(),
            rows if rows > ROWS => {
                format!("{} more locations changed\n", count((rows - ROWS) as u64))
            }
            _ => String::new(),
        }
    }
}

/// Whether a location did something else.
fn changed(base: &Figures, head: &Figures) -> bool {
    let resident = base.resident.abs_diff(head.resident);
    let noise = NOISE.max(base.resident.max(head.resident) / NOISE_PART);
    (base.reserved, base.leaked, base.calls) != (head.reserved, head.leaked, head.calls)
        || resident > noise
}

fn weight(base: &Figures, head: &Figures) -> (u64, u64) {
    let bytes = [
        base.reserved.abs_diff(head.reserved),
        base.resident.abs_diff(head.resident),
        base.leaked.abs_diff(head.leaked),
    ];
    let most = bytes.into_iter().max().unwrap_or_default();
    (most, base.calls.abs_diff(head.calls))
}

fn cells(name: &str, base: &Figures, head: &Figures) -> Vec<String> {
    let bytes = |n: u64| Bytes(n).to_string();
    vec![
        change(base.reserved, head.reserved, bytes),
        change(base.resident, head.resident, bytes),
        change(base.leaked, head.leaked, bytes),
        change(base.calls, head.calls, count),
        printable(name),
    ]
}

/// `+12 MiB`, `-3`, or `=`.
fn change(base: u64, head: u64, told: impl Fn(u64) -> String) -> String {
    match head.cmp(&base) {
        std::cmp::Ordering::Equal => "=".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", told(head - base)),
        std::cmp::Ordering::Less => format!("-{}", told(base - head)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn side(locations: &[(&str, [u64; 4])]) -> Side {
        let mut side = Side {
            command: "x".to_owned(),
            mode: "heap".to_owned(),
            between: None,
            all: Figures::default(),
            locations: BTreeMap::new(),
            incomplete: false,
            largest_only: false,
        };
        for (location, [reserved, resident, leaked, calls]) in locations {
            let figures = Figures {
                reserved: *reserved,
                resident: *resident,
                leaked: *leaked,
                calls: *calls,
            };
            side.add(location, figures);
        }
        side
    }

    #[test]
    fn locations_are_known_again_wherever_they_have_moved() {
        for (one, other) in [
            ("a::b:/x/y.rs:12", "a::b:/other/y.rs:345"),
            ("f:src/y.c:1", "f:y.c"),
            ("a::b", "a::b"),
        ] {
            assert_eq!(key(one), key(other));
        }
        assert_ne!(key("a::b:/x/y.rs:12"), key("a::c:/x/y.rs:12"));
        let nameless = Key::Location(("lib.so+0x12".to_owned(), String::new()));
        assert_eq!(key("lib.so+0x12"), nameless);
    }

    #[test]
    fn what_is_asked_for_is_compared_to_the_byte_and_what_is_resident_is_not() {
        let base = side(&[
            ("f:/a.c:1", [100, 1 << 20, 0, 1]),
            ("g:/a.c:9", [5, 0, 5, 1]),
        ]);
        let moved = side(&[
            ("f:/a.c:41", [100, (1 << 20) + 9999, 0, 1]),
            ("g:/a.c:9", [5, 0, 5, 1]),
        ]);
        let same = Diff::new(base.clone(), moved).unwrap();
        assert!(same.is_empty());
        assert!(
            same.text(Style::PLAIN)
                .ends_with("no change beyond noise\n")
        );
        let mut whole = base.clone();
        whole.all.resident = 1 << 20;
        let grown = Diff::new(base.clone(), whole).unwrap();
        assert!(grown.text(Style::PLAIN).ends_with("no location changed\n"));
        let more = side(&[("f:/a.c:1", [101, 2 << 20, 0, 1])]);
        let diff = Diff::new(base, more).unwrap();
        let text = diff.text(Style::PLAIN);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|c| !c.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(lines[2], ["+1 B", "+1 MiB", "=", "=", "f", "a.c"]);
        assert_eq!(lines[3], ["-5 B", "=", "-5 B", "-1", "g", "a.c"]);
    }

    #[test]
    fn what_is_not_the_same_kind_of_run_is_refused() {
        let mut pages = side(&[]);
        let mut cut = side(&[]);
        cut.between = Some(crate::reports::Between {
            from: Some("a".to_owned()),
            to: None,
        });
        let error = Diff::new(side(&[]), cut).expect_err("of another part");
        assert_eq!(
            error.to_string(),
            "one is of the whole run, the other of the part from \"a\" to the end"
        );
        pages.mode = "pages".to_owned();
        let error = Diff::new(side(&[]), pages).unwrap_err();
        assert_eq!(error, DiffError::Modes("heap".into(), "pages".into()));
        for text in [
            "",
            "[]",
            "{\"schema_version\": 2}",
            "{\"schema_version\": 1}",
        ] {
            assert!(Side::from_stats(text).is_err(), "{text}");
        }
    }
}
