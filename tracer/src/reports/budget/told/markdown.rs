//! The verdict as Markdown, for a job's summary.

use super::{Check, Verdict, exact, named, of, place, spread_of};
use crate::reports::text::{Table, code};

impl Verdict {
    /// A table of the limits, and who broke them.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::from("## Budget\n\n");
        let mut table = Table::new(&["came to", "limit", "", "of"]);
        for check in &self.checks {
            table.push(row(check));
        }
        out.push_str(&table.markdown());
        for check in self.told() {
            for culprit in &check.by {
                let (value, place) = (of(check, culprit), code(&place(culprit)));
                out.push_str(&format!("\n- {}: {value} by {place}", named(&check.limit)));
            }
        }
        if let Some(why) = self.doubt() {
            out.push_str(&format!("\n\n**{why}**"));
        }
        out.push_str("\n\n");
        out
    }
}

fn row(check: &Check) -> Vec<String> {
    let limit = &check.limit;
    let value = match check.found.value() {
        Some(value) => exact(limit.metric, value) + &spread_of(check),
        None => "no such process".to_owned(),
    };
    let sign = match check.is_kept() {
        true => "kept",
        false => "**exceeded**",
    };
    let most = exact(limit.metric, limit.most);
    vec![value, most, sign.to_owned(), code(&named(limit))]
}
