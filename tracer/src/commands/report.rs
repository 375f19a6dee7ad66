//! Every report again, from a recording: offline, without root.

use super::summary::Summary;
use super::{conclude, out_dir};
use crate::cli::ReportArgs;
use anyhow::Result;
use std::path::Path;

/// Writes the reports of a recording.
pub(crate) fn report(args: &ReportArgs) -> Result<u8> {
    let beside = args
        .recording
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty());
    let out = match (&args.out_dir, beside) {
        (Some(dir), _) => dir,
        (None, Some(dir)) => dir,
        (None, None) => Path::new("."),
    };
    let out = out_dir::prepare(out)?;
    let mut summary = match args.quiet {
        true => Summary::None,
        false => Summary::Stdout,
    };
    conclude::conclude(&args.recording, &out, &mut summary)?;
    Ok(0)
}
