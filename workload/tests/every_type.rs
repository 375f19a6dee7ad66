//! SOMADataFrames written by Python's TileDB-SOMA, with every type it has, read back equal.

mod common;

use common::{ask_python, context};
use serde_json::json;
use workload::soma::{DataFrame, ReadOptions, feather};

/// Reads a frame through buffers of this size, and has Python compare: rows and nulls.
fn compared(directory: &std::path::Path, name: &str, buffer_bytes: usize) -> (u64, u64) {
    let uri = directory.join(name);
    let uri = uri.to_str().expect("UTF-8");
    let file = directory.join(format!("{name}-{buffer_bytes}.feather"));
    let frame = DataFrame::open(&context(), uri).expect("a dataframe");
    let options = ReadOptions {
        columns: None,
        filter: None,
        buffer_bytes,
    };
    let table = frame
        .read(&options)
        .and_then(|batches| batches.table())
        .expect("rows");
    feather::write(&file, &table.materialize().expect("one batch")).expect("a file");
    let answer = ask_python(
        "every_type.py",
        &json!({"uri": uri, "feather": file.to_str()}),
    );
    let number = |key: &str| answer[key].as_u64().expect("a number");
    (number("rows"), number("nulls"))
}

#[test]
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
}
