//! SOMADataFrames written by Python's TileDB-SOMA, with every type it has, read back equal.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{ask_python, context};
use serde_json::{Value, json};
use workload::soma::{DataFrame, ReadOptions, feather};

/// Reads the frame at `directory/name` through buffers of this size, and writes it for Python: the
/// URI and the file.
fn read(directory: &Path, name: &str, buffer_bytes: usize) -> Value {
    let uri = directory.join(name);
    let uri = uri.to_str().expect("UTF-8");
    let file = directory.join(format!("{name}-{buffer_bytes}.feather"));
    let frame = DataFrame::open(&context(), uri).expect("a dataframe");
    let options = ReadOptions {
        columns: None,
        filter: None,
        buffer_bytes,
        ..ReadOptions::default()
    };
    let table = frame
        .read(&options)
        .and_then(|batches| batches.table())
        .expect("rows");
    feather::write(&file, &table.materialize().expect("one batch")).expect("a file");
    json!({"uri": uri, "feather": file.to_str()})
}

/// Rows and nulls, as Python counted them.
fn counts(answer: &Value) -> (u64, u64) {
    let number = |key: &str| answer[key].as_u64().expect("a number");
    (number("rows"), number("nulls"))
}

/// Reads a frame, and has Python compare.
fn compared(directory: &Path, name: &str, buffer_bytes: usize) -> (u64, u64) {
    counts(&ask_python(
        "every_type.py",
        &read(directory, name, buffer_bytes),
    ))
}

#[test]
#[ignore = "needs libtiledb and TileDB-SOMA: cargo xtask test"]
fn every_type_reads_back_with_and_without_nulls() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    ask_python("every_type.py", &json!({"write": path.to_str()}));
    const PLENTY: usize = 1 << 20;
    // Holds the longest string, and a tenth of the rows.
    const LITTLE: usize = 10_000;
    let columns = 29;
    assert_eq!(compared(path, "full", PLENTY), (1_000, 0));
    assert_eq!(compared(path, "full", LITTLE), (1_000, 0));
    assert_eq!(compared(path, "nullable", PLENTY), (1_000, columns * 250));
    assert_eq!(compared(path, "nullable", LITTLE), (1_000, columns * 250));
    assert_eq!(compared(path, "keyed", PLENTY), (3, 0));
    assert_eq!(compared(path, "empty", PLENTY), (0, 0));
    assert_eq!(compared(path, "grown", PLENTY), (6, 0));
}

/// The last release of each line from 1.9 to 2.2 wrote these; `old_frames.py` says how.
#[test]
#[ignore = "needs libtiledb and TileDB-SOMA: cargo xtask test"]
fn frames_of_every_older_version_read_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let unpacked = ask_python("old_frames.py", &json!({"unpack": path.to_str()}));
    let unpacked: BTreeMap<String, Vec<String>> =
        serde_json::from_value(unpacked).expect("versions and their frames");
    assert_eq!(unpacked.len(), 12, "{:?}", unpacked.keys());
    let mut cases = Vec::new();
    for (version, frames) in &unpacked {
        assert_eq!(frames[..], ["empty", "full", "grown", "keyed", "nullable"]);
        for frame in frames {
            let mut case = read(&path.join(version), frame, 1 << 20);
            case["version"] = version.as_str().into();
            case["frame"] = frame.as_str().into();
            cases.push(case);
        }
    }
    let answers = ask_python("old_frames.py", &json!({"cases": cases}));
    for (case, answer) in cases.iter().zip(answers.as_array().expect("answers")) {
        let (rows, nulls) = counts(answer);
        let expected = match case["frame"].as_str() {
            Some("full" | "nullable") => 40,
            Some("grown") => 6,
            Some("keyed") => 3,
            _ => 0,
        };
        assert_eq!(rows, expected, "{case}");
        // 1.9 and 1.10 write few types with nulls: 20 columns of 29, ten nulls each.
        let least = if case["frame"] == "nullable" { 200 } else { 0 };
        assert!(nulls >= least, "{case}: {nulls}");
    }
}
