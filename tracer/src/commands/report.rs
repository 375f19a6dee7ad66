//! Every report again, from a recording: offline, without root.

use super::budget::{self, Audience};
use crate::cli::ReportArgs;
use crate::results;
use crate::terminal::Summary;
use anyhow::Result;
use std::path::Path;
use tracer::reports;

/// Writes the reports of a recording.
pub(crate) fn report(args: &ReportArgs) -> Result<u8> {
    let recording = results::recording_at(&args.recording);
    let beside = recording
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let out = args.out_dir.as_deref().unwrap_or(beside);
    // Read first: where there is none, no folder is made and nothing is moved.
    let between = crate::cli::between(&args.between);
    let concluded = results::load(&recording, None, between.as_ref())?;
    let budget = budget::of(&args.budget, &concluded.run.mode, between.as_ref())?;
    let mut audience = Audience::open(&args.budget, args.quiet)?;
    let within = out.join("recording");
    match within.exists() && !same(&recording, &within) {
        // Another run is there: its reports stay with their recording.
        true => results::retire(out)?,
        false => results::refuse_foreign(out)?,
    }
    let out = results::prepare(out)?;
    let mut summary = match args.quiet {
        true => Summary::None,
        false => Summary::Stdout,
    };
    results::write(&out, &concluded, &mut summary)?;
    audience.hear(|| reports::markdown(&concluded))?;
    budget::conclude(&budget, &concluded, 0, &mut audience)
}

/// Whether both are there and are one folder.
fn same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| path.canonicalize().ok();
    place(one).is_some_and(|one| Some(one) == place(other))
}
