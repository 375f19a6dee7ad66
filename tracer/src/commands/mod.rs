//! What the tracer does, a file a command.

mod budget;
mod diff;
mod doctor;
mod export;
mod manual;
mod mark;
mod names;
mod repeat;
mod report;
mod run;

use crate::cli::{Cli, Job};
use crate::terminal::{FAILED, say};
use std::process::ExitCode;
use tracer::probes::machine::{self, Facts, Lack};
use tracer::tracee::Capabilities;

/// Does what the command line says. Failures are told on stderr here and nowhere else.
pub(crate) fn dispatch(cli: Cli) -> ExitCode {
    let result = match cli.job {
        Some(Job::Report(args)) => report::report(&args),
        Some(Job::Diff(args)) => diff::diff(&args),
        Some(Job::Export(args)) => export::export(&args),
        Some(Job::Doctor(args)) => doctor::doctor(&args),
        Some(Job::Mark { name }) => mark::mark(&name),
        Some(Job::Completions { shell }) => manual::completions(shell),
        Some(Job::ManPages { dir }) => manual::man_pages(&dir),
        Some(Job::ReadNames) => names::names(),
        None => match cli.run.repeat {
            Some(times) => repeat::repeat(&cli.run, times),
            None => run::run(&cli.run),
        },
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(format_args!("tracer: {}", told(&error)));
            ExitCode::from(
                error
                    .downcast_ref::<Refused>()
                    .map_or(FAILED, |refused| refused.code),
            )
        }
    }
}

/// What the machine lacks speaks for itself; what else went wrong is told with its causes.
fn told(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Lack>() {
        Some(lack) => lack.to_string(),
        None => told_once(error),
    }
}

/// The chain of causes in one line. Some errors quote their cause themselves: once is enough.
fn told_once(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        match text.is_empty() {
            true => text = cause,
            false if text.contains(&cause) => {}
            false => text = format!("{text}: {cause}"),
        }
    }
    text
}

/// An error with an exit status of its own: a command that can't be run.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    pub(crate) message: String,
    pub(crate) code: u8,
}

/// What a trace on this machine needs once its programs are loaded.
pub(crate) fn for_tracing() -> Capabilities {
    match machine::needs_admin(&Facts::gather()) {
        true => Capabilities::TRACING | Capabilities::SYS_ADMIN,
        false => Capabilities::TRACING,
    }
}
