//! Annotations, as GitHub's runners take them out of a log: `::error file=…,line=…,title=…::text`
//! (docs.github.com, "Workflow commands for GitHub Actions").

use super::{Check, Culprit, Verdict, exceeded, named, of, place};
use crate::recording::Frame;
use std::path::Path;

impl Verdict {
    /// A line for each location that broke a limit, at the first of its frames whose source is in
    /// the `workspace` (the folder of the checkout); and for each limit that nobody is known to have
    /// broken.
    #[must_use]
    pub fn annotations(&self, workspace: Option<&Path>) -> Vec<String> {
        let mut lines = Vec::new();
        for check in self.told() {
            let by = check.by.iter();
            lines.extend(by.map(|culprit| at(check, culprit, workspace)));
            if check.by.is_empty() {
                lines.push(error(&[("title", &title(check))], &exceeded(check)));
            }
        }
        let doubt = self.doubt();
        lines.extend(doubt.map(|why| error(&[("title", "tracer: budget")], &why)));
        lines
    }
}

fn at(check: &Check, culprit: &Culprit, workspace: Option<&Path>) -> String {
    let text = format!(
        "{} by {}\n{}",
        of(check, culprit),
        place(culprit),
        exceeded(check)
    );
    let title = title(check);
    let frames = std::iter::once(&culprit.location).chain(&culprit.stack);
    match frames
        .into_iter()
        .find_map(|frame| source(frame, workspace))
    {
        Some((file, line)) => error(
            &[("file", &file), ("line", &line), ("title", &title)],
            &text,
        ),
        None => error(&[("title", &title)], &text),
    }
}

fn title(check: &Check) -> String {
    format!("tracer: {}", named(&check.limit))
}

/// File and line of a frame, as the checkout has it.
fn source(frame: &Frame, workspace: Option<&Path>) -> Option<(String, String)> {
    let file = Path::new(frame.file.as_deref()?);
    let within = match file.is_absolute() {
        true => file.strip_prefix(workspace?).ok()?,
        false => file,
    };
    Some((within.to_str()?.to_owned(), frame.line?.to_string()))
}

fn error(properties: &[(&str, &str)], text: &str) -> String {
    let property = |(name, value): &(&str, &str)| format!("{name}={}", escape(value, true));
    let properties: Vec<String> = properties.iter().map(property).collect();
    format!("::error {}::{}", properties.join(","), escape(text, false))
}

/// Text that is one line and ends no property.
fn escape(text: &str, is_property: bool) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '%' => out.push_str("%25"),
            '\r' => out.push_str("%0D"),
            '\n' => out.push_str("%0A"),
            ':' if is_property => out.push_str("%3A"),
            ',' if is_property => out.push_str("%2C"),
            c => out.push(c),
        }
    }
    out
}
