//! The Census release directory: which versions there are, and where they lie.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::soma::nearest;

/// Where the directory of the public Census is.
pub const RELEASE_DIRECTORY: &str =
    "https://census.cellxgene.cziscience.com/cellxgene-census/v1/release.json";
/// The bucket of the public Census; anonymous reads are welcome.
const BUCKET: &str = "s3://cellxgene-census-public-us-west-2";
/// The bucket's region.
pub const REGION: &str = "us-west-2";
/// How long the directory may take, in seconds.
const PATIENCE: &str = "30";

/// A version of the Census.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its name, a date.
    pub version: String,
    /// Where its SOMA collection is.
    pub uri: String,
    /// The S3 region.
    pub region: String,
    /// Why it was withdrawn, if it was.
    pub retracted: Option<String>,
}

/// Why a version has no place.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The directory can't be read.
    #[error("the release directory {0} can't be read: {1}")]
    Unreadable(String, String),
    /// The directory isn't one.
    #[error("the release directory {0} isn't what it should be: {1}")]
    Malformed(String, String),
    /// No such version.
    #[error("no Census version {version:?}; the nearest there are: {}", .nearest.join(", "))]
    Unknown {
        /// What was asked for.
        version: String,
        /// What there is.
        nearest: Vec<String>,
    },
}

/// Finds a version: a date, or an alias such as `stable` and `latest`.
///
/// A date needs no directory, since versions lie at known places; an alias is looked up in
/// `directory` (a file or a URL), by default [`RELEASE_DIRECTORY`]. With a directory, a date is
/// looked up, too.
pub fn find(version: &str, directory: Option<&str>) -> Result<Release, ReleaseError> {
    if directory.is_none() && is_date(version) {
        return Ok(Release {
            version: version.to_owned(),
            uri: format!("{BUCKET}/cell-census/{version}/soma/"),
            region: REGION.to_owned(),
            retracted: None,
        });
    }
    let source = directory.unwrap_or(RELEASE_DIRECTORY);
    let text = read(source).map_err(|why| ReleaseError::Unreadable(source.to_owned(), why))?;
    let malformed = |why: String| ReleaseError::Malformed(source.to_owned(), why);
    let directory: Value = serde_json::from_str(&text).map_err(|why| malformed(why.to_string()))?;
    resolve(&directory, version, malformed)
}

/// `2024-07-01`.
fn is_date(version: &str) -> bool {
    let digits =
        |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<_> = version.split('-').collect();
    matches!(parts[..], [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2))
}

fn resolve(
    directory: &Value,
    version: &str,
    malformed: impl Fn(String) -> ReleaseError,
) -> Result<Release, ReleaseError> {
    let Some(entries) = directory.as_object() else {
        return Err(malformed("no JSON object".into()));
    };
    let mut name = version;
    // An alias names a version, or another alias; no chain is longer than the directory.
    for _ in 0..=entries.len() {
        match entries.get(name) {
            None => return Err(unknown(version, entries.keys().cloned().collect())),
            Some(Value::String(alias)) => name = alias,
            Some(entry) => {
                return release(name, entry)
                    .ok_or_else(|| malformed(format!("{name} has no place")));
            }
        }
    }
    Err(malformed(format!("{version} is an alias of itself")))
}

fn unknown(version: &str, mut all: Vec<String>) -> ReleaseError {
    all.sort_by(|a, b| b.cmp(a));
    let close = nearest(version, &all);
    let nearest = if close.is_empty() {
        all.into_iter().take(8).collect()
    } else {
        close
    };
    ReleaseError::Unknown {
        version: version.to_owned(),
        nearest,
    }
}

fn release(name: &str, entry: &Value) -> Option<Release> {
    let soma = entry.get("soma")?;
    let text = |key: &str| soma.get(key).and_then(Value::as_str);
    let relative = || {
        Some(format!(
            "{BUCKET}/{}",
            text("relative_uri")?.trim_start_matches('/')
        ))
    };
    let is_retracted = entry.pointer("/flags/retracted").and_then(Value::as_bool) == Some(true);
    let reason = entry.pointer("/retraction/reason").and_then(Value::as_str);
    Some(Release {
        version: name.to_owned(),
        uri: relative().or_else(|| text("uri").map(str::to_owned))?,
        region: text("s3_region").unwrap_or(REGION).to_owned(),
        retracted: is_retracted.then(|| reason.unwrap_or("no reason given").to_owned()),
    })
}

/// Reads a file, or a URL through `curl`: the only thing that is ever fetched over HTTP.
fn read(source: &str) -> Result<String, String> {
    if !source.contains("://") {
        return fs::read_to_string(PathBuf::from(source)).map_err(|error| error.to_string());
    }
    let output = Command::new("curl")
        .args([
            "--fail",
            "--silent",
            "--show-error",
            "--location",
            "--max-time",
            PATIENCE,
            "--",
        ])
        .arg(source)
        .output()
        .map_err(|error| format!("curl doesn't start ({error})"))?;
    match output.status.success() {
        true => String::from_utf8(output.stdout).map_err(|error| error.to_string()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(directory: &Value, version: &str) -> Result<Release, ReleaseError> {
        resolve(directory, version, |why| {
            ReleaseError::Malformed("test".into(), why)
        })
    }

    #[test]
    fn aliases_lead_to_places() {
        let directory = json!({
            "stable": "V2", "V2": "2024-07-01", "loop": "pool", "pool": "loop", "empty": {},
            "2024-07-01": {"soma": {"uri": "s3://old/soma/", "s3_region": "us-east-1",
                                    "relative_uri": "/cell-census/2024-07-01/soma/"}},
            "2022-09-01": {"soma": {"uri": "s3://old/2022-09-01/soma/"},
                           "flags": {"retracted": true}, "retraction": {"reason": "mistakes"}},
        });
        let stable = resolved(&directory, "stable").expect("a release");
        assert_eq!(
            (&*stable.version, &*stable.region),
            ("2024-07-01", "us-east-1")
        );
        assert_eq!(stable.uri, format!("{BUCKET}/cell-census/2024-07-01/soma/"));
        let old = resolved(&directory, "2022-09-01").expect("a release");
        assert_eq!(old.uri, "s3://old/2022-09-01/soma/");
        assert_eq!(
            (&*old.region, old.retracted.as_deref()),
            ("us-west-2", Some("mistakes"))
        );
        for (version, expected) in [
            ("loop", "alias of itself"),
            ("empty", "has no place"),
            ("stabel", "the nearest there are: stable"),
            ("xyzzyx", "the nearest there are: stable, pool"),
        ] {
            let error = resolved(&directory, version)
                .expect_err("no release")
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_date_needs_no_directory() {
        let release = find("2024-07-01", None).expect("a release");
        assert_eq!(
            release.uri,
            format!("{BUCKET}/cell-census/2024-07-01/soma/")
        );
        for word in ["stable", "2024-7-1", "2024-07-01-rc", "20240701"] {
            assert!(!is_date(word), "{word}");
        }
    }

    #[test]
    fn directories_that_are_none_are_errors() {
        let missing = find("stable", Some("/nowhere/release.json")).expect_err("no file");
        assert!(matches!(missing, ReleaseError::Unreadable(..)), "{missing}");
        // A port that nothing listens on.
        let refused = find("stable", Some("http://127.0.0.1:1/release.json")).expect_err("no host");
        assert!(matches!(refused, ReleaseError::Unreadable(..)), "{refused}");
    }
}
