//! What is said to whoever sits there: warnings, the live line, the summary.

pub(crate) mod line;
pub(crate) mod losses;
mod named;
pub(crate) mod stop;
pub(crate) mod summary;

pub(crate) use line::Line;
pub(crate) use named::Named;
pub(crate) use summary::Summary;

use tracer::trace::Notices;

/// Exit status when the tracer itself failed.
pub(crate) const FAILED: u8 = 125;

/// Tells the user something that does not stop the work.
pub(crate) fn warn(message: impl std::fmt::Display) {
    say(format_args!("tracer: warning: {message}"));
}

/// A line on stderr. Where its terminal has hung up, nobody is left to be told.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What a trace has to say becomes warnings.
pub(crate) fn notices() -> Notices {
    Notices::to(|notice| warn(notice))
}
