//! Damaged files and things of another kind: an error each, and never a crash.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{ask_python, census, census_of, context, files, workload};
use serde_json::json;
use workload::census::Shape;
use workload::tiledb::{Array, DimensionSpec, Group, SchemaBuilder};

/// Fetches obs in small buffers, and expects an error: no success, no signal, no panic.
fn refused(uri: &Path, why: &str) -> String {
    let output = workload([
        "--uri",
        uri.to_str().expect("UTF-8"),
        "-B",
        "2M",
        "-t",
        "lung",
    ]);
    failure(&output, why)
}

fn failure(output: &Output, why: &str) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{why}: {error}");
    assert!(
        error.starts_with("error: ") && !error.contains("panicked"),
        "{why}: {error}"
    );
    error
}

/// Bytes that look random, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn noise_and_cuts_in_place_of_array_files_are_errors() {
    // Few cells, since there are many fetches.
    let (_directory, uri) = census_of(5_000, Shape::Clustered);
    let obs = uri.join("census_data/homo_sapiens/obs");
    let all: Vec<PathBuf> = files(&obs);
    let mut damaged = 0;
    for file in all {
        let whole = fs::read(&file).expect("a file");
        if whole.is_empty() {
            continue; // A commit mark: only its name counts.
        }
        for (kind, bytes) in [
            ("noise", noise(whole.len())),
            ("cut", whole[..whole.len() / 2].to_vec()),
        ] {
            fs::write(&file, bytes).expect("damage");
            refused(&uri, &format!("{kind} in {}", file.display()));
            damaged += 1;
        }
        fs::write(&file, whole).expect("repair");
    }
    // 28 data files, the offsets of one, the fragment's, array's and dictionaries' metadata.
    assert!(damaged > 2 * 45, "{damaged}");
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn missing_files_are_errors() {
    let (_directory, uri) = census(Shape::Clustered);
    for part in [
        "census_data/homo_sapiens/obs/__schema",
        "census_data/homo_sapiens",
        "census_data",
    ] {
        fs::remove_dir_all(uri.join(part)).expect("damage");
        refused(&uri, part);
    }
}

#[test]
#[ignore = "needs libtiledb: cargo xtask test"]
fn objects_of_another_kind_are_named() {
    let (directory, uri) = census(Shape::Clustered);
    let obs = uri.join("census_data/homo_sapiens/obs");
    let replaced = |by: &dyn Fn(&str)| {
        fs::remove_dir_all(&obs).expect("room");
        by(obs.to_str().expect("UTF-8"));
        refused(&uri, "another kind")
    };
    let ctx = context();
    let error = replaced(&|path| Group::create(&ctx, path).expect("a group"));
    assert!(error.contains("is a group, not a SOMADataFrame"), "{error}");

    let filters = &[];
    let dimension = DimensionSpec {
        name: "x",
        domain: [0, 9],
        extent: 10,
        filters,
    };
    let error = replaced(&|path| {
        let schema =
            SchemaBuilder::new(&ctx, 10, filters).and_then(|schema| schema.dimension(&dimension));
        Array::create(&ctx, path, &schema.expect("a schema")).expect("an array");
    });
    assert!(
        error.contains("is a TileDB array without a SOMA type"),
        "{error}"
    );

    let error = replaced(&|path| {
        ask_python("ndarray.py", &json!(path));
    });
    assert!(
        error.contains("is a SOMASparseNDArray, not a SOMADataFrame"),
        "{error}"
    );

    let var = uri.join("census_data/homo_sapiens/ms/RNA/var");
    let error = replaced(&|path| {
        let copied = Command::new("cp").arg("-r").arg(&var).arg(path).status();
        assert!(copied.expect("cp").success());
    });
    assert!(error.contains("no column \"tissue_general\""), "{error}");

    let error = refused(&var, "a dataframe for a Census");
    assert!(
        error.contains("is an array, not a SOMA collection"),
        "{error}"
    );
    let error = refused(directory.path(), "a directory");
    assert!(error.contains("no TileDB object"), "{error}");
}
