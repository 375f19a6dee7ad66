//! Every libtiledb from 2.25 to 2.30 reads the same.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{census_of, fetched};
use workload::beside;
use workload::census::Shape;
use workload::tiledb::Library;

/// The library of that version under the target directory.
fn library(minor: i32) -> PathBuf {
    let name = format!("libtiledb-2.{minor}");
    let places = beside::target_directories()
        .into_iter()
        .map(|target| target.join(&name));
    let directory = places.into_iter().find(|place| place.is_dir());
    let directory = directory.expect("older libraries; `cargo xtask libtiledb --all` fetches them");
    let mut entries = fs::read_dir(directory).expect("a directory").flatten();
    entries.next().expect("a library").path()
}

#[test]
#[ignore = "needs libtiledb, older ones too: cargo xtask test"]
fn old_libraries_read_what_the_newest_wrote() {
    let (directory, uri) = census_of(20_000, Shape::Scattered);
    let read = |name: &str, more: &[&str]| {
        let out = directory.path().join(name);
        let fetch = ["--uri", uri.to_str().expect("UTF-8"), "-t", "ureter"];
        let out_dir = ["-o", out.to_str().expect("UTF-8")];
        fetched([&fetch[..], &out_dir, more].concat());
        fs::read(out.join("obs.feather")).expect("a file")
    };
    let newest = read("newest", &[]);
    for minor in 25..30 {
        let path = library(minor);
        let loaded = Library::load(&path).expect("a library");
        assert_eq!(
            (loaded.version().0, loaded.version().1),
            (2, minor),
            "{}",
            path.display()
        );
        let old = read(
            &minor.to_string(),
            &["--libtiledb", path.to_str().expect("UTF-8")],
        );
        assert!(old == newest, "2.{minor} reads something else");
    }
}
