//! The budget of a command: where it is written, and what becomes of it.

use super::diff;
use crate::cli::BudgetArgs;
use crate::terminal::say;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tracer::reports::budget::Budget;
use tracer::reports::{Concluded, Owner};

/// Exit status where a budget was exceeded.
const EXCEEDED: u8 = 123;

/// The file that is read where none is named.
const DEFAULT: &str = "tracer.toml";

/// Most bytes of a budget file.
const MOST: u64 = 64 << 10;

/// The budget that options and a file set for a trace of this mode (`heap`, `pages`).
pub(super) fn of(args: &BudgetArgs, mode: &str) -> Result<Budget> {
    let file = match &args.budget {
        Some(path) => Some((path.as_path(), read(path)?)),
        None => read_default()?.map(|text| (Path::new(DEFAULT), text)),
    };
    let mut budget = match file {
        Some((path, text)) => {
            Budget::from_toml(&text).with_context(|| path.display().to_string())?
        }
        None => Budget::default(),
    };
    let given = [
        &args.max_reserved,
        &args.max_resident,
        &args.max_leaked,
        &args.max_allocs,
    ];
    budget.override_by(given.into_iter().flatten().cloned().collect());
    budget.allow_lost |= args.allow_lost;
    budget.fits(mode)?;
    if let Some(path) = &args.baseline {
        let base = diff::side(path).context("no baseline")?;
        if base.is_incomplete() && !budget.allow_lost {
            bail!(
                "{}: events of the baseline are missing, so that it may have come to more \
                 (--allow-lost takes it so)",
                path.display()
            );
        }
        budget.baseline(&base, mode, &args.max_growth)?;
    }
    Ok(budget)
}

/// Holds a run against its budget and says what came of it; `status` is the command's own, and
/// goes before: what failed need not have come to all that it would have.
pub(super) fn conclude(
    budget: &Budget,
    concluded: &Concluded,
    status: u8,
    quiet: bool,
) -> Result<u8> {
    if budget.is_empty() {
        return Ok(status);
    }
    let verdict = budget.check(concluded)?;
    if !(quiet && verdict.is_kept()) {
        for line in verdict.lines(concluded) {
            match line.strip_prefix(' ') {
                Some(_) => say(format_args!("{line}")),
                None => say(format_args!("tracer: {line}")),
            }
        }
    }
    Ok(match (status, verdict.is_kept()) {
        (0, false) => EXCEEDED,
        (status, _) => status,
    })
}

fn read_default() -> Result<Option<String>> {
    match open(Path::new(DEFAULT)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        _ => read(Path::new(DEFAULT)).map(Some),
    }
}

/// A regular file of a budget's size, as the user who called sudo may read it.
fn read(path: &Path) -> Result<String> {
    let what = || format!("can't read the budget {}", path.display());
    let file = open(path).with_context(what)?;
    let about = file.metadata().with_context(what)?;
    if !about.is_file() || about.len() > MOST {
        bail!(
            "{}: no file of at most 64 KiB, as a budget is",
            path.display()
        );
    }
    let mut text = String::new();
    file.take(MOST)
        .read_to_string(&mut text)
        .with_context(what)?;
    Ok(text)
}

/// Without waiting, should somebody have put a FIFO there.
fn open(path: &Path) -> io::Result<File> {
    let open = || {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK).open(path)
    };
    match Owner::from_sudo() {
        Some(owner) => owner.act(open),
        None => open(),
    }
}
