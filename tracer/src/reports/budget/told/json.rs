//! The verdict as JSON.

use super::{Found, Scope, Verdict};
use serde_json::{Value, json};

/// Goes up where a field changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

impl Verdict {
    /// Every check with its figures, in bytes or allocations; `docs/budgets.md` says what each
    /// field is.
    #[must_use]
    pub fn json(&self, command: &str) -> Value {
        json!({
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "kept": self.is_kept(),
            "incomplete": self.incomplete,
            "checks": self.checks.iter().map(check).collect::<Vec<_>>(),
        })
    }
}

fn check(check: &super::Check) -> Value {
    let (process, location) = match &check.limit.scope {
        Scope::All => (None, None),
        Scope::Process(name) => (Some(name), None),
        Scope::Location(name) => (None, Some(name)),
    };
    let pid = match check.found {
        Found::Process(_, pid) => Some(pid.0),
        Found::Value(_) | Found::Nobody => None,
    };
    let spread = check
        .spread
        .map(|spread| json!({ "runs": spread.runs, "least": spread.least, "most": spread.most }));
    let by = check.by.iter().map(|culprit| {
        let frames = culprit.stack.iter().map(ToString::to_string);
        json!({
            "value": culprit.value,
            "location": culprit.location.to_string(),
            "stack": frames.collect::<Vec<_>>(),
        })
    });
    json!({
        "metric": check.limit.metric.name(),
        "process": process,
        "location": location,
        "limit": check.limit.most,
        "baseline": check.limit.baseline,
        "value": check.found.value(),
        "pid": pid,
        "kept": check.is_kept(),
        "spread": spread,
        "by": by.collect::<Vec<_>>(),
    })
}
