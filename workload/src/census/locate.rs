use std::env;
use std::path::PathBuf;

use super::REGION;
use crate::beside;

/// A Census to open, and why this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Where it is.
    pub uri: String,
    /// How it was chosen, for people.
    pub why: String,
    /// The S3 region, where it matters.
    pub region: String,
}

/// The synthetic Census on this machine: `TRACER_CENSUS`, else `share/tracer/census` under the
/// prefix that the executable is installed in, else `census` under the `target` directory that it
/// was built into. Only the first needs the environment, which `sudo` may clear.
///
/// # Errors
/// The places looked at, if none has one.
pub fn default_location() -> Result<Location, Vec<PathBuf>> {
    if let Some(uri) = env::var("TRACER_CENSUS").ok().filter(|uri| !uri.is_empty()) {
        return Ok(Location {
            uri,
            why: "named by TRACER_CENSUS".into(),
            region: REGION.into(),
        });
    }
    let places = places();
    match places.iter().find(|place| place.join("__group").is_dir()) {
        Some(place) => Ok(Location {
            uri: place.display().to_string(),
            why: "the synthetic Census on this machine".into(),
            region: REGION.into(),
        }),
        None => Err(places),
    }
}

fn places() -> Vec<PathBuf> {
    let installed = beside::prefix().map(|prefix| prefix.join("share/tracer/census"));
    let built = beside::target_directories()
        .into_iter()
        .map(|target| target.join("census"));
    installed.into_iter().chain(built).collect()
}
