//! The budget of a command: where it is written, and what becomes of it.

use super::diff;
use crate::cli::BudgetArgs;
use crate::terminal::{Named, say};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tracer::reports::budget::{Budget, Verdict};
use tracer::reports::{Between, Concluded, Owner, part};

/// Exit status where a budget was exceeded.
const EXCEEDED: u8 = 123;

/// The file that is read where none is named.
const DEFAULT: &str = "tracer.toml";

/// Most bytes of a budget file.
const MOST: u64 = 64 << 10;

/// The budget that options and a file set for a trace of this mode (`heap`, `pages`), or a part of it.
pub(super) fn of(args: &BudgetArgs, mode: &str, between: Option<&Between>) -> Result<Budget> {
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
        if base.between() != between {
            bail!(
                "{} is of {}, and this is to be of {}",
                path.display(),
                part(base.between()),
                part(between)
            );
        }
        budget.baseline(base, mode, &args.max_growth)?;
    }
    Ok(budget)
}

/// Whoever is told what came of a budget, beside the log; opened before anything runs.
#[derive(Debug)]
pub(super) struct Audience {
    junit: Option<Named>,
    json: Option<Named>,
    github: Option<GitHub>,
    quiet: bool,
}

/// GitHub's runner.
#[derive(Debug)]
struct GitHub {
    /// The folder of the checkout.
    workspace: Option<PathBuf>,
    /// The job's summary, which other steps write to as well.
    summary: Option<Named>,
}

impl Audience {
    /// Opens the files that are named.
    pub(super) fn open(args: &BudgetArgs, quiet: bool) -> Result<Self> {
        let open = |path: &Option<PathBuf>| {
            let path = path.as_deref();
            path.map(|path| Named::open(path, "the verdict"))
                .transpose()
        };
        let is_runner = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        Ok(Self {
            junit: open(&args.junit)?,
            json: open(&args.verdict)?,
            github: (args.github || is_runner).then(GitHub::open).transpose()?,
            quiet,
        })
    }

    /// Tells what the tracer found in a run: its report, in the job's summary.
    pub(super) fn hear(&mut self, report: impl FnOnce() -> Vec<u8>) -> Result<()> {
        match self
            .github
            .as_mut()
            .and_then(|github| github.summary.as_mut())
        {
            Some(summary) => summary.add(&report()),
            None => Ok(()),
        }
    }

    fn learn(&mut self, verdict: &Verdict, command: &str) -> Result<()> {
        if let Some(file) = &mut self.junit {
            file.replace(&verdict.junit(command)?)?;
        }
        if let Some(file) = &mut self.json {
            file.replace(format!("{:#}\n", verdict.json(command)).as_bytes())?;
        }
        if let Some(github) = &mut self.github {
            let workspace = github.workspace.as_deref();
            for line in verdict.annotations(workspace) {
                say(format_args!("{line}"));
            }
            if let Some(summary) = &mut github.summary {
                summary.add(verdict.markdown().as_bytes())?;
            }
        }
        Ok(())
    }
}

impl GitHub {
    fn open() -> Result<Self> {
        let path = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let summary = path("GITHUB_STEP_SUMMARY");
        let open = |path: PathBuf| Named::append_to(&path, "the job's summary");
        Ok(Self {
            workspace: path("GITHUB_WORKSPACE"),
            summary: summary.map(open).transpose()?,
        })
    }
}

/// Holds a run against its budget and says what came of it; `status` is the command's own, and
/// goes before: what failed need not have come to all that it would have.
pub(super) fn conclude(
    budget: &Budget,
    concluded: &Concluded,
    status: u8,
    audience: &mut Audience,
) -> Result<u8> {
    if budget.is_empty() {
        return Ok(status);
    }
    let verdict = budget.check(concluded)?;
    tell(&verdict, &concluded.command_line(), status, audience)
}

/// Says what came of a budget. Returns the exit status.
pub(super) fn tell(
    verdict: &Verdict,
    command: &str,
    status: u8,
    audience: &mut Audience,
) -> Result<u8> {
    if !(audience.quiet && verdict.is_kept()) {
        for line in verdict.lines() {
            match line.strip_prefix(' ') {
                Some(_) => say(format_args!("{line}")),
                None => say(format_args!("tracer: {line}")),
            }
        }
    }
    audience.learn(verdict, command)?;
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
