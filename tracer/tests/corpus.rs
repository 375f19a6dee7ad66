//! Replays the committed corpus of the fuzz targets: what they found once stays found.

#[allow(unreachable_pub, reason = "it is a crate of its own, too")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

/// A generous multiple of the second that fuzzing allows: tests share the machine.
const LONGEST: Duration = Duration::from_secs(10);

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder)
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for input in inputs {
        let data = std::fs::read(&input).expect("an input");
        let began = Instant::now();
        run(&data);
        assert!(
            began.elapsed() < LONGEST,
            "{} takes too long",
            input.display()
        );
    }
}

#[test]
fn unwind_tables() {
    replay("elf_eh_frame", targets::elf_eh_frame);
}

#[test]
fn symbols() {
    replay("symbols", targets::symbols);
}

#[test]
fn debug_files() {
    replay("debug_files", targets::debug_files);
}

#[test]
fn perf_maps() {
    replay("perf_map", targets::perf_map);
}

#[test]
fn cached_tables() {
    replay("table_cache", targets::table_cache);
}

#[test]
fn recordings() {
    replay("recording", targets::recording);
}

#[test]
fn ledgers() {
    replay("ledger", targets::ledger);
}
