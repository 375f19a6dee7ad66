//! The part of a run between two of its marks.

use super::text::printable;
use crate::events::Mark;
use crate::ledger::Window;
use crate::units::Nanos;

/// Names that an error lists.
const NAMED: usize = 6;

/// The names of the marks that a part of a run begins and ends with; none for the run's own
/// beginning and end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Between {
    /// The mark that it begins with: the first of that name.
    pub from: Option<String>,
    /// The mark that it ends with: the first of that name behind the other.
    pub to: Option<String>,
}

/// The marks of a run that were looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    pub(super) from: Option<Mark>,
    pub(super) to: Option<Mark>,
}

/// A mark that is not in a recording.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no mark {:?}{behind} in this recording, which {has}", printable(name))]
pub struct NoMark {
    name: String,
    behind: String,
    has: String,
}

impl Between {
    /// Finds them among all marks, which are gone through more than once: there may be more than
    /// fit into memory.
    ///
    /// # Errors
    /// [`NoMark`], with the names that there are.
    pub fn find<I: Iterator<Item = Mark>>(&self, marks: impl Fn() -> I) -> Result<Cut, NoMark> {
        let first = |name: &str, since: Nanos| {
            let found = marks().filter(|mark| mark.name == name && mark.time > since);
            found.min_by_key(|mark| mark.time)
        };
        let no_mark = |name: &str, behind: String| NoMark {
            name: name.to_owned(),
            behind,
            has: has(marks()),
        };
        let mut cut = Cut::default();
        if let Some(name) = &self.from {
            let found = first(name, Nanos(0));
            cut.from = Some(found.ok_or_else(|| no_mark(name, String::new()))?);
        }
        if let Some(name) = &self.to {
            let since = cut.from.as_ref().map_or(Nanos(0), |from| from.time);
            let behind = || match &cut.from {
                Some(from) => format!(" behind the mark {:?}", printable(&from.name)),
                None => String::new(),
            };
            let found = first(name, since);
            cut.to = Some(found.ok_or_else(|| no_mark(name, behind()))?);
        }
        Ok(cut)
    }
}

fn has(marks: impl Iterator<Item = Mark>) -> String {
    let mut names: Vec<String> = Vec::new();
    for mark in marks {
        let name = format!("{:?}", printable(&mark.name));
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() > NAMED {
            names[NAMED] = "…".to_owned();
            break;
        }
    }
    match names.is_empty() {
        true => "has none".to_owned(),
        false => format!("has {}", names.join(", ")),
    }
}

/// `from A to B`, or `the whole run`.
#[must_use]
pub fn part(between: Option<&Between>) -> String {
    let Some(between) = between else {
        return "the whole run".to_owned();
    };
    let name = |name: &Option<String>, otherwise: &str| match name {
        Some(name) => format!("{:?}", printable(name)),
        None => otherwise.to_owned(),
    };
    let from = name(&between.from, "the beginning");
    format!("the part from {from} to {}", name(&between.to, "the end"))
}

impl Cut {
    /// The names that were looked for.
    pub(super) fn between(&self) -> Between {
        let name = |mark: &Option<Mark>| mark.as_ref().map(|mark| mark.name.clone());
        Between {
            from: name(&self.from),
            to: name(&self.to),
        }
    }

    /// Which events count.
    #[must_use]
    pub fn window(&self) -> Window {
        let time = |mark: &Option<Mark>| mark.as_ref().map(|mark| mark.time);
        Window {
            after: time(&self.from).unwrap_or(Window::WHOLE.after),
            until: time(&self.to).unwrap_or(Window::WHOLE.until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Pid, Tid};

    fn mark(name: &str, time: u64) -> Mark {
        Mark {
            time: Nanos(time),
            pid: Pid(1),
            tid: Tid(1),
            name: name.to_owned(),
        }
    }

    fn between(from: &str, to: &str) -> Between {
        let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Between {
            from: name(from),
            to: name(to),
        }
    }

    #[test]
    fn the_first_of_a_name_and_the_first_of_the_other_behind_it() {
        let marks = [mark("b", 1), mark("a", 2), mark("b", 3), mark("a", 4)];
        let window = |from, to| {
            between(from, to)
                .find(|| marks.iter().cloned())
                .map(|cut| cut.window())
        };
        let of = |after, until| Window {
            after: Nanos(after),
            until: Nanos(until),
        };
        assert_eq!(window("a", "b"), Ok(of(2, 3)));
        assert_eq!(window("b", "b"), Ok(of(1, 3)));
        assert_eq!(window("", "a"), Ok(of(0, 2)));
        assert_eq!(window("a", ""), Ok(of(2, u64::MAX)));
        assert_eq!(window("", ""), Ok(Window::WHOLE));
    }

    #[test]
    fn a_mark_that_is_not_there_is_told_with_those_that_are() {
        let said = |from, to, marks: &[Mark]| {
            let found = between(from, to).find(|| marks.iter().cloned());
            found.unwrap_err().to_string()
        };
        assert_eq!(
            said("x", "", &[mark("b", 1), mark("a", 2), mark("b", 3)]),
            "no mark \"x\" in this recording, which has \"b\", \"a\""
        );
        assert_eq!(
            said("a", "b", &[mark("b", 1), mark("a", 2)]),
            "no mark \"b\" behind the mark \"a\" in this recording, which has \"b\", \"a\""
        );
        assert_eq!(
            said("", "x", &[]),
            "no mark \"x\" in this recording, which has none"
        );
        let many: Vec<Mark> = (0..50).map(|n| mark(&n.to_string(), n)).collect();
        assert!(said("x", "", &many).ends_with("\"5\", …"));
    }
}
