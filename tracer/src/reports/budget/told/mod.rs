//! What is said of a budget: in lines for a log, and in the forms that machines read.

mod github;
mod json;
mod junit;
mod markdown;

use super::{Check, Culprit, Found, Limit, Metric, Scope, Spread, Verdict};
use crate::reports::text::{count, percent, printable};
use crate::units::Bytes;

/// Frames of a stack that are shown.
const FRAMES: usize = 12;

/// Locations that have grown of which a log tells all; of the others it tells how many they are.
const GROWN: usize = 10;

impl Verdict {
    /// Lines for a log. The first word after `budget:` is `PASS` or `FAIL`, for `grep`; below a
    /// limit that was exceeded stand the stacks that did it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for check in self.told() {
            lines.push(format!("budget: FAIL: {}", exceeded(check)));
            for culprit in &check.by {
                lines.push(format!("    {:>9}  {}", of(check, culprit), place(culprit)));
                lines.extend(stack(culprit).map(|line| format!("               {line}")));
            }
        }
        let more = self.failed().count() - self.told().count();
        if more > 0 {
            let more = count(more as u64);
            lines.push(format!(
                "budget: FAIL: {more} more locations have grown (`tracer diff` names them)"
            ));
        }
        lines.extend(self.doubt().map(|why| format!("budget: FAIL: {why}")));
        if self.is_kept() {
            let kept: Vec<String> = self.checks.iter().map(kept).collect();
            lines.push(format!("budget: PASS: {}", kept.join("; ")));
        }
        lines
    }

    /// The checks of limits that were exceeded.
    fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.is_kept())
    }

    /// Likewise, without the locations that are too many to be told.
    fn told(&self) -> impl Iterator<Item = &Check> {
        let mut locations = 0;
        self.failed().filter(move |check| {
            locations += usize::from(matches!(check.limit.scope, Scope::Location(_)));
            locations <= GROWN || !matches!(check.limit.scope, Scope::Location(_))
        })
    }

    /// Why it is not known whether it was kept.
    fn doubt(&self) -> Option<String> {
        let why = self.incomplete.as_ref()?;
        Some(format!(
            "{why}, so that it may have come to more (--allow-lost takes it so)"
        ))
    }
}

/// How much a location took.
fn of(check: &Check, culprit: &Culprit) -> String {
    amount(check.limit.metric, culprit.value)
}

/// Which location that is.
fn place(culprit: &Culprit) -> String {
    printable(&culprit.location.to_string())
}

/// The frames of its largest stack, a line each.
fn stack(culprit: &Culprit) -> impl Iterator<Item = String> {
    let frames = culprit.stack.iter().take(FRAMES);
    let frames = frames.map(|frame| format!("at {}", printable(&frame.to_string())));
    let more = culprit.stack.len().saturating_sub(FRAMES);
    let more = (more > 0).then(|| format!("and {more} more frames"));
    frames.chain(more)
}

/// What came of a limit that was exceeded, in a sentence.
fn exceeded(check: &Check) -> String {
    let (limit, name) = (&check.limit, named(&check.limit));
    let (value, process) = match check.found {
        Found::Value(value) => (value, String::new()),
        Found::Process(value, pid) => (value, format!(" (process {})", pid.0)),
        Found::Nobody => return format!("{name}: no process of that name ran"),
    };
    let over = value.saturating_sub(limit.most);
    let part = match limit.most {
        0 => String::new(),
        most => format!(", {}", percent(over, most)),
    };
    let baseline = limit.baseline.map(|base| {
        let base = exact(limit.metric, base);
        format!(", of which the baseline came to {base}")
    });
    format!(
        "{name}{process}: {} of {}{} (+{}{part}){}",
        exact(limit.metric, value),
        exact(limit.metric, limit.most),
        baseline.unwrap_or_default(),
        amount(limit.metric, over),
        spread_of(check)
    )
}

/// What came of a limit that was kept.
fn kept(check: &Check) -> String {
    let limit = &check.limit;
    let value = amount(limit.metric, check.found.value().unwrap_or_default());
    let most = amount(limit.metric, limit.most);
    format!("{} {value} of {most}{}", named(limit), spread_of(check))
}

/// How far several runs were apart: `, the median of 5 runs from 1 MiB to 2 MiB`.
fn spread_of(check: &Check) -> String {
    let metric = check.limit.metric;
    let text = |Spread { least, most, runs }| {
        let (least, most) = (amount(metric, least), amount(metric, most));
        format!(", the median of {runs} runs from {least} to {most}")
    };
    check.spread.map(text).unwrap_or_default()
}

/// What several runs came to, and how far they were apart, in a line; nothing where none ran.
pub(in crate::reports) fn spread(metric: Metric, values: &[u64]) -> Option<String> {
    let Spread { least, most, runs } = Spread::of(values)?;
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let median = sorted[runs / 2];
    let apart = percent(most - least, median);
    let [median, least, most] = [median, least, most].map(|value| amount(metric, value));
    Some(format!(
        "runs: {metric} {median}, the median of {runs}, from {least} to {most} ({apart} apart)"
    ))
}

/// `resident`, `resident of python3`, `resident at parse  json.c`
fn named(limit: &Limit) -> String {
    match &limit.scope {
        Scope::All => limit.metric.to_string(),
        Scope::Process(name) => format!("{} of {}", limit.metric, printable(name)),
        Scope::Location(name) => format!("{} at {}", limit.metric, printable(name)),
    }
}

fn amount(metric: Metric, value: u64) -> String {
    match metric {
        Metric::Allocs => count(value),
        _ => Bytes(value).to_string(),
    }
}

/// With every digit, for those who set the limit.
fn exact(metric: Metric, value: u64) -> String {
    match metric {
        Metric::Allocs => count(value),
        _ => format!("{} ({} bytes)", Bytes(value), count(value)),
    }
}

#[cfg(test)]
mod tests;
