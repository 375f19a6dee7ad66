//! What reports say of the moments that the programs named.

use super::Concluded;
use super::text::{Line, count, printable, seconds};
use crate::events::Mark;
use serde::Serialize;

/// Marks that the summary names.
const NAMED: usize = 6;

/// What a summary says of the marks, and of the part that is shown.
pub(super) fn lines(input: &Concluded) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(cut) = &input.cut {
        let place = |mark: &Option<Mark>, otherwise: &str| match mark {
            Some(mark) => named(input, mark),
            None => otherwise.to_owned(),
        };
        let text = format!(
            "only from {} to {}: times are since then, what was never freed is of blocks made since \
             then, and the kernel's own peaks, which are of the whole run, are left out",
            place(&cut.from, "the beginning"),
            place(&cut.to, "the end")
        );
        lines.push(("between", text));
    }
    if !input.marks.is_empty() {
        let named = input.marks.iter().take(NAMED);
        let mut names: Vec<String> = named.map(|mark| self::named(input, mark)).collect();
        let rest = input.marks_total.saturating_sub(names.len() as u64);
        if rest > 0 {
            names.push(format!("{} more", count(rest)));
        }
        lines.push(("marks", names.join(", ")));
    }
    lines
}

fn named(input: &Concluded, mark: &Mark) -> String {
    let at = seconds(since_start(input, mark));
    format!("{} ({at})", printable(&mark.name))
}

/// Nanoseconds since the first event of the run.
fn since_start(input: &Concluded, mark: &Mark) -> u64 {
    mark.time.0.saturating_sub(input.began.0)
}

/// `marks` in `stats.json`.
#[derive(Serialize)]
pub(super) struct MarkStats<'a> {
    name: &'a str,
    at_ns: u64,
    pid: u32,
    tid: u32,
}

/// `between` in `stats.json`.
#[derive(Serialize)]
pub(super) struct BetweenStats<'a> {
    from: Option<MarkStats<'a>>,
    to: Option<MarkStats<'a>>,
}

/// The marks of the run, the first ones where there are very many.
pub(super) fn marks(input: &Concluded) -> Vec<MarkStats<'_>> {
    let marks = input.marks.iter();
    marks.map(|mark| mark_stats(input, mark)).collect()
}

/// What is shown of the run, where it is a part.
pub(super) fn between(input: &Concluded) -> Option<BetweenStats<'_>> {
    let cut = input.cut.as_ref()?;
    Some(BetweenStats {
        from: cut.from.as_ref().map(|mark| mark_stats(input, mark)),
        to: cut.to.as_ref().map(|mark| mark_stats(input, mark)),
    })
}

fn mark_stats<'a>(input: &Concluded, mark: &'a Mark) -> MarkStats<'a> {
    MarkStats {
        name: &mark.name,
        at_ns: since_start(input, mark),
        pid: mark.pid.0,
        tid: mark.tid.0,
    }
}
