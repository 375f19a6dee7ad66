//! What is said of a budget, in lines for a log.

use super::{Check, Found, Limit, Metric, Verdict};
use crate::reports::text::{count, percent};
use crate::reports::{Concluded, text};
use crate::units::Bytes;

/// Frames of a stack that are shown.
const FRAMES: usize = 12;

impl Verdict {
    /// Lines for a log. The first word after `budget:` is `PASS` or `FAIL`, for `grep`; below a
    /// limit that was exceeded stand the stacks that did it.
    #[must_use]
    pub fn lines(&self, input: &Concluded) -> Vec<String> {
        let mut lines = Vec::new();
        for check in self.checks.iter().filter(|check| !check.is_kept()) {
            lines.push(format!("budget: FAIL: {}", exceeded(check)));
            for &(value, id) in &check.by {
                let location = text::printable(&input.symbols.location(id).to_string());
                let value = amount(check.limit.metric, value);
                lines.push(format!("    {value:>9}  {location}"));
                let frames = input.symbols.frames(id);
                for frame in frames.iter().take(FRAMES) {
                    let frame = text::printable(&frame.to_string());
                    lines.push(format!("               at {frame}"));
                }
                if frames.len() > FRAMES {
                    let more = frames.len() - FRAMES;
                    lines.push(format!("               and {more} more frames"));
                }
            }
        }
        if let Some(why) = &self.incomplete {
            lines.push(format!(
                "budget: FAIL: {why}, so that it may have come to more (--allow-lost takes it so)"
            ));
        }
        if self.is_kept() {
            let kept: Vec<String> = self.checks.iter().map(kept).collect();
            lines.push(format!("budget: PASS: {}", kept.join("; ")));
        }
        lines
    }
}

fn exceeded(check: &Check) -> String {
    let limit = &check.limit;
    let most = match limit.baseline {
        None => exact(limit.metric, limit.most),
        Some(base) => format!(
            "{}, of which the baseline came to {}",
            exact(limit.metric, limit.most),
            exact(limit.metric, base)
        ),
    };
    let more = |value: u64| {
        let over = value - limit.most;
        let over = amount(limit.metric, over);
        match limit.most {
            0 => over,
            most => format!("{over}, {}", percent(value - most, most)),
        }
    };
    match check.found {
        Found::All(value) => {
            let value_text = exact(limit.metric, value);
            format!(
                "{}: {value_text} of {most} (+{})",
                named(limit),
                more(value)
            )
        }
        Found::Process(value, pid) => format!(
            "{} (process {}): {} of {most} (+{})",
            named(limit),
            pid.0,
            exact(limit.metric, value),
            more(value)
        ),
        Found::Nobody => format!("{}: no process of that name ran", named(limit)),
    }
}

fn kept(check: &Check) -> String {
    let limit = &check.limit;
    let value = amount(limit.metric, check.found.value().unwrap_or_default());
    let most = amount(limit.metric, limit.most);
    format!("{} {value} of {most}", named(limit))
}

/// `resident`, `resident of python3`
fn named(limit: &Limit) -> String {
    match &limit.process {
        None => limit.metric.to_string(),
        Some(name) => format!("{} of {}", limit.metric, text::printable(name)),
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
