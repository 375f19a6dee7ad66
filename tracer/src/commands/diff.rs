//! Two runs side by side.

use crate::cli::DiffArgs;
use crate::results;
use crate::terminal::Named;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{Read, Write, stdout};
use std::os::fd::AsFd;
use std::path::Path;
use tracer::reports::diff::{Diff, Side};
use tracer::reports::{self, Concluded, Style};

/// Most bytes of a `stats.json`: they have hundreds of kilobytes.
const MOST: u64 = 16 << 20;

/// Prints what changed from one run to another, and draws it where that is asked for.
pub(crate) fn diff(args: &DiffArgs) -> Result<u8> {
    // Opened first: better an error now than behind a table.
    let flame = args
        .flame
        .as_deref()
        .map(|path| Named::open(path, "the flame graph"));
    let flame = flame.transpose()?;
    let diff = match args.stacks || flame.is_some() {
        false => Diff::new(side(&args.base)?, side(&args.head)?)?,
        true => {
            let (base, head) = (recording(&args.base)?, recording(&args.head)?);
            let of = match args.stacks {
                true => Side::of_stacks,
                false => Side::of,
            };
            let diff = Diff::new(of(&base), of(&head))?;
            if let Some(mut file) = flame {
                let mut svg = Vec::new();
                reports::difference(&base, &head, args.metric, &mut svg)?;
                file.replace(&svg)?;
            }
            diff
        }
    };
    let text = match args.markdown {
        true => diff.markdown(),
        false => diff.text(Style::of(stdout().as_fd())),
    };
    // A reader who has seen enough and closed it is no failure.
    let _ = stdout().lock().write_all(text.as_bytes());
    Ok(0)
}

/// A recording, or the folder of its results.
fn recording(path: &Path) -> Result<Concluded> {
    if path.is_file() {
        bail!(
            "{}: a stats.json has no stacks: name the recording, or the folder of its results",
            path.display()
        );
    }
    if let Some(run) = results::runs(path).first() {
        bail!(
            "{}: there are several runs: name one, such as {}",
            path.display(),
            run.display()
        );
    }
    results::load(&results::recording_at(path), None, None)
}

/// A run, from a recording, the folder of its results, or a `stats.json`; of a folder with several
/// runs their median.
pub(super) fn side(path: &Path) -> Result<Side> {
    let runs = results::runs(path);
    let sides: Result<Vec<Side>> = runs.iter().map(|run| one(run)).collect();
    match Side::median(&sides?) {
        Some(median) => Ok(median),
        None => one(path),
    }
}

fn one(path: &Path) -> Result<Side> {
    if !path.is_file() {
        let recording = results::recording_at(path);
        return Ok(Side::of(&results::load(&recording, None, None)?));
    }
    let what = || format!("can't read {}", path.display());
    let file = File::open(path).with_context(what)?;
    let mut text = String::new();
    let read = file.take(MOST).read_to_string(&mut text);
    if read.with_context(what)? as u64 == MOST {
        bail!("{}: no stats.json has so many bytes", path.display());
    }
    Side::from_stats(&text).with_context(|| path.display().to_string())
}
