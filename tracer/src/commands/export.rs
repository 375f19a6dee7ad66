//! Runs for the tables of other programs.

use crate::cli::{ExportArgs, Format};
use crate::results;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use tracer::reports::{self, Labels, Owner};

/// Variables in which runners tell the revision that they build: GitHub's and GitLab's.
const COMMITS: [&str; 2] = ["GITHUB_SHA", "CI_COMMIT_SHA"];

/// Adds each recording to the dataset.
pub(crate) fn export(args: &ExportArgs) -> Result<u8> {
    let Format::Parquet = args.format;
    let told = || COMMITS.iter().find_map(|name| std::env::var(name).ok());
    let labels = Labels {
        commit: args.commit.clone().or_else(told),
        others: args.label.iter().cloned().collect(),
    };
    for recording in args.recordings.iter().flat_map(|path| runs(path)) {
        let run = results::load(&results::recording_at(&recording), None, None)?;
        reports::export(&run, &labels, &args.dataset, Owner::from_sudo())
            .with_context(|| format!("can't export {}", recording.display()))?;
    }
    Ok(0)
}

/// The runs in a folder of several, else the one that it is.
fn runs(path: &Path) -> Vec<PathBuf> {
    let several = results::runs(path);
    match several.is_empty() {
        true => vec![path.to_owned()],
        false => several,
    }
}
