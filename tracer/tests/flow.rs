//! Data flows one way: a stage that names a later one fails here.

use std::fs;
use std::path::{Path, PathBuf};

/// Each stage, and those that it may name besides itself.
const MAY_NAME: [(&str, &[&str]); 9] = [
    ("units", &[]),
    ("events", &["units"]),
    ("target", &["units"]),
    ("unwind", &["units"]),
    ("probes", &["target", "unwind", "events", "units"]),
    ("recording", &["events", "units"]),
    ("ledger", &["events", "units"]),
    ("symbols", &["recording", "events", "units"]),
    (
        "reports",
        &["symbols", "ledger", "recording", "events", "units"],
    ),
];

#[test]
fn no_arrow_points_against_the_flow() {
    let wrong: Vec<String> = MAY_NAME
        .iter()
        .flat_map(|(stage, allowed)| {
            let named = named_in(stage);
            let wrong = move |(_, name): &(PathBuf, String)| {
                name != stage && !allowed.contains(&name.as_str())
            };
            named.into_iter().filter(wrong)
        })
        .map(|(file, name)| format!("{} names {name}", file.display()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_of_the_crate_is_a_stage() {
    let root = fs::read_to_string(source().join("lib.rs")).expect("lib.rs");
    let declared: Vec<&str> = root
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let mut stages = MAY_NAME.map(|(stage, _)| stage);
    stages.sort_unstable();
    assert_eq!(declared, stages);
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// What follows `crate::` in the files of a stage.
fn named_in(stage: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let single = source().join(stage).with_extension("rs");
    if single.is_file() {
        files.push(single);
    }
    collect(&source().join(stage), &mut files);
    assert!(!files.is_empty(), "no source of {stage}");
    files
        .into_iter()
        .flat_map(|file| {
            let text = fs::read_to_string(&file).expect("a source file");
            let names: Vec<_> = text
                .split("crate::")
                .skip(1)
                .map(|rest| {
                    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                        .next()
                })
                .map(|name| (file.clone(), name.unwrap_or_default().to_owned()))
                .collect();
            names
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
