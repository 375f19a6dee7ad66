//! A library that Python loads late: known amounts at known functions.

use crate::harness::{Trace, number, program, site, trace, tracer};
use std::path::Path;

const COUNT: u64 = 1000;
const SIZE: u64 = 1234;
const LENGTH: u64 = 32 << 20;

/// Calls the library with the numbers that are its arguments.
const SCRIPT: &str = "
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
count, size, length = (ctypes.c_ulong(int(word)) for word in sys.argv[2:])
library.late_blocks(count, size)
assert library.late_pages(length) == 0
";

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_a_late_library_of_python_does_is_seen_at_its_functions() {
    let library = program("late", &["-shared", "-fPIC"]);
    let numbers = [COUNT, SIZE, LENGTH].map(|number| number.to_string());
    let library = library.to_str().expect("UTF-8");
    let args = ["-c", SCRIPT, library, &numbers[0], &numbers[1], &numbers[2]];
    for mode in ["heap", "pages"] {
        let run = trace(&["--trace", mode], Path::new("/usr/bin/python3"), &args);
        assert_eq!(run.code(), Some(0), "{mode}: {}", run.stderr());
        run.assert_nothing_lost();
        let stats = run.stats();
        let pages = site(&stats, "late_pages");
        assert_eq!(number(&pages["reserved_at_peak_bytes"]), LENGTH, "{mode}");
        let resident = number(&pages["resident_at_peak_bytes"]);
        assert!(
            resident.abs_diff(LENGTH / 2) <= LENGTH / 200,
            "{mode}: {resident} of late_pages are resident"
        );
        if mode == "heap" {
            let blocks = site(&stats, "late_blocks");
            assert_eq!(number(&blocks["calls"]), COUNT);
            assert_eq!(number(&blocks["size"]), COUNT * SIZE);
            let left = COUNT / 2 * SIZE;
            assert_eq!(number(&blocks["reserved_at_peak_bytes"]), left);
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn stacks_through_a_huge_library_are_complete_before_its_table_is_there() {
    const BLOCKS: u64 = 3000;
    let library = program("huge", &["-shared", "-fPIC"]);
    let through = program("through", &["-ldl"]);
    let cache = tempfile::tempdir().expect("a folder");
    // With nothing in the cache, and then with the table.
    for _ in 0..2 {
        let (mut command, dir) = tracer(&["-q"]);
        command.env("TRACER_CACHE", cache.path());
        command
            .arg("--")
            .arg(&through)
            .arg(&library)
            .arg(BLOCKS.to_string());
        let output = command.output().expect("tracer starts");
        let run = Trace { dir, output };
        assert_eq!(run.code(), Some(0), "{}", run.stderr());
        run.assert_nothing_lost();
        let stats = run.stats();
        let block = site(&stats, "one_block");
        assert_eq!(
            (number(&block["calls"]), number(&block["size"])),
            (BLOCKS, BLOCKS * 100_000)
        );
        let stacks = &stats["stacks"];
        let (complete, cut) = (number(&stacks["complete"]), number(&stacks["incomplete"]));
        assert!(complete > BLOCKS && cut * 100 <= complete, "{stacks}");
    }
}
