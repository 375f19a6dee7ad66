//! Two runs side by side.

use crate::cli::DiffArgs;
use crate::results;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{Read, Write, stdout};
use std::os::fd::AsFd;
use std::path::Path;
use tracer::reports::Style;
use tracer::reports::diff::{Diff, Side};

/// Most bytes of a `stats.json`: they have hundreds of kilobytes.
const MOST: u64 = 16 << 20;

/// Prints what changed from one run to another.
pub(crate) fn diff(args: &DiffArgs) -> Result<u8> {
    let diff = Diff::new(side(&args.base)?, side(&args.head)?)?;
    let text = match args.markdown {
        true => diff.markdown(),
        false => diff.text(Style::of(stdout().as_fd())),
    };
    // A reader who has seen enough and closed it is no failure.
    let _ = stdout().lock().write_all(text.as_bytes());
    Ok(0)
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
        return Ok(Side::of(&results::load(
            &results::recording_at(path),
            None,
        )?));
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
