//! What the tests share: a small Census, the binary, and the Python to compare with.
#![allow(dead_code, reason = "no test file uses everything")]

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use workload::beside;
use workload::census::{Shape, Spec, generate};
use workload::tiledb::{Context, Library};

/// Enough cells for two tiles, and for every dataset to have some.
pub(crate) const CELLS: u64 = 100_000;
/// The seed of the tests' Censuses.
pub(crate) const SEED: u64 = 42;

/// A context on the libtiledb that `cargo xtask libtiledb` fetches.
pub(crate) fn context() -> Context {
    let library = Library::find(None).unwrap_or_else(|error| panic!("{error}"));
    Context::new(library, NO_SETTINGS).expect("a context")
}

/// TileDB's defaults.
pub(crate) const NO_SETTINGS: [(&str, &str); 0] = [];

/// Writes a Census of [`CELLS`] cells; gone when the directory is dropped.
pub(crate) fn census(shape: Shape) -> (TempDir, PathBuf) {
    census_of(CELLS, shape)
}

/// Writes a Census of that many cells.
pub(crate) fn census_of(cells: u64, shape: Shape) -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("census");
    let spec = Spec {
        cells,
        shape,
        seed: SEED,
    };
    generate(&context(), &path, &spec, |_| ()).expect("a Census");
    (directory, path)
}

/// Runs the `workload` binary.
pub(crate) fn workload<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_workload"));
    command
        .args(arguments)
        .output()
        .expect("the workload starts")
}

/// Runs it and expects success; its standard output.
pub(crate) fn fetched<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> String {
    let output = workload(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The interpreter that has TileDB-SOMA.
pub(crate) fn python() -> PathBuf {
    if let Some(named) = env::var_os("TRACER_PYTHON") {
        return named.into();
    }
    let built = beside::target_directories()
        .into_iter()
        .map(|target| target.join("python"));
    let found = built
        .map(|directory| directory.join("bin/python"))
        .find(|python| python.exists());
    found.expect("TileDB-SOMA's Python; `cargo xtask python` installs it, TRACER_PYTHON names one")
}

/// The path of a script beside this file.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/python")
        .join(name)
}

/// Runs one of the tests' scripts with a JSON argument, and gives its JSON answer.
pub(crate) fn ask_python(name: &str, argument: &Value) -> Value {
    let output = Command::new(python())
        .arg(script(name))
        .arg(argument.to_string())
        .output()
        .expect("Python starts");
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{name} {argument}:\n{said}{complained}"
    );
    serde_json::from_str(said.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{name}: {error}:\n{said}"))
}

/// All files below a directory, sorted.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found.sort();
    found
}
