//! The workload asks the kernel for the same large mappings as TileDB-SOMA does, in number and
//! size. `strace` sees them.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use common::{census, python, script};
use workload::census::Shape;

/// The mappings of at least `least` bytes that a command makes: how many of each size.
fn mappings<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
    least: u64,
) -> BTreeMap<u64, usize> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let trace = directory.path().join("trace");
    let output = Command::new("strace")
        // Fixed, so that glibc maps every larger allocation by itself, whatever was freed before.
        .env("MALLOC_MMAP_THRESHOLD_", "131072")
        .args(["-f", "-qq", "-e", "trace=mmap", "-o"])
        .arg(&trace)
        .arg(program)
        .args(arguments)
        .output()
        .expect("strace starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let trace = std::fs::read_to_string(trace).expect("a trace");
    let mut sizes = BTreeMap::new();
    // 1234 mmap(NULL, 1073745920, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f…
    let anonymous = trace.lines().filter(|line| {
        line.contains("MAP_ANONYMOUS") && line.contains("PROT_WRITE") && line.contains(" = 0x")
    });
    for line in anonymous {
        let size = line
            .split(", ")
            .nth(1)
            .and_then(|size| size.parse::<u64>().ok());
        if let Some(size) = size.filter(|size| *size >= least) {
            *sizes.entry(size).or_default() += 1;
        }
    }
    sizes
}

/// What glibc maps for a reservation: its own header, up to whole pages.
fn mapped(bytes: u64) -> u64 {
    (bytes + 16).next_multiple_of(4096)
}

fn workload(uri: &Path, arguments: &[&str], least: u64) -> BTreeMap<u64, usize> {
    let uri = uri.to_str().expect("UTF-8");
    let all = ["--uri", uri].into_iter().chain(arguments.iter().copied());
    mappings(Path::new(env!("CARGO_BIN_EXE_workload")), all, least)
}

fn soma(uri: &Path, arguments: &[&str], least: u64) -> BTreeMap<u64, usize> {
    let (script, uri) = (script("fetch.py"), uri.to_str().expect("UTF-8"));
    let all = [script.to_str().expect("UTF-8"), uri]
        .into_iter()
        .chain(arguments.iter().copied());
    mappings(&python(), all, least)
}

/// What `-t ureter` means.
const URETER: &str = "tissue_general == 'ureter'";

#[test]
#[ignore = "needs libtiledb, TileDB-SOMA and strace: cargo xtask test"]
fn twenty_nine_gibibytes_are_reserved_for_obs() {
    let (_directory, uri) = census(Shape::Clustered);
    let gib = 1u64 << 30;
    let expected = BTreeMap::from([(mapped(gib), 29)]);
    assert_eq!(workload(&uri, &["-t", "ureter"], gib), expected);
    assert_eq!(soma(&uri, &[URETER, &gib.to_string()], gib), expected);
}

#[test]
#[ignore = "needs libtiledb, TileDB-SOMA and strace: cargo xtask test"]
fn smaller_buffers_and_fewer_columns_reserve_alike() {
    let (_directory, uri) = census(Shape::Clustered);
    let bytes = 100u64 << 20;
    let columns = "soma_joinid,observation_joinid,is_primary_data,assay";
    // Those four, the offsets of the strings, and the filter's own column.
    let expected = BTreeMap::from([(mapped(bytes), 6)]);
    let ours = workload(
        &uri,
        &["-t", "ureter", "-B", "100MiB", "-c", columns],
        bytes,
    );
    assert_eq!(ours, expected);
    assert_eq!(
        soma(&uri, &[URETER, &bytes.to_string(), columns], bytes),
        expected
    );
}

#[test]
#[ignore = "needs libtiledb, TileDB-SOMA and strace: cargo xtask test"]
fn every_incomplete_read_reserves_a_new_set() {
    let (_directory, uri) = census(Shape::Clustered);
    // 50,174 numbers a buffer, for 100,000 cells. The size takes one page more than those numbers
    // do, so that copies of libtiledb's own aren't counted.
    let bytes = 98 * 4096 - 16 + 7;
    let (columns, all) = ("nnz,raw_sum,is_primary_data,assay", "soma_joinid >= 0");
    // Two sets of those columns and the filter's.
    let expected = Some(&(2 * 5));
    let size = bytes.to_string();
    let ours = workload(
        &uri,
        &["--value-filter", all, "-B", &size, "-c", columns],
        bytes,
    );
    assert_eq!(ours.get(&mapped(bytes)), expected);
    let theirs = soma(&uri, &[all, &size, columns], bytes);
    assert_eq!(theirs.get(&mapped(bytes)), expected);
}
