//! A library that Python loads late: known amounts at known functions.

use crate::harness::{number, program, site, trace};
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
