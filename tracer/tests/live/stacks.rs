//! Stacks that come before their tables.

use crate::harness::{number, program, site, trace};
use serde_json::Value;
use std::path::Path;

/// A program that ends before anybody can open its file through the process, and a trace that
/// goes on for longer than a stack waits for its tables. `$0` is the program.
const SHORT_LIVED: &str = "
again() { for i in 1 2 3 4 5 6 7 8 9 10; do \"$0\"; done; }
again
sleep 6
again";

#[test]
#[ignore = "needs root: cargo xtask test"]
fn programs_that_are_gone_at_once_have_whole_stacks() {
    let dir = tempfile::tempdir().expect("a folder");
    // A file that no trace has met.
    let fresh = dir.path().join("gone");
    let built = program("gone", &["-nostdlib", "-static", "-fomit-frame-pointer"]);
    std::fs::copy(built, &fresh).expect("copied");
    let fresh = fresh.to_str().expect("UTF-8");
    let run = trace(&[], Path::new("/bin/sh"), &["-c", SHORT_LIVED, fresh]);
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    run.assert_nothing_lost();
    let stats = run.stats();
    let cut = stats["stacks"]["cut_in"].as_array().expect("a list");
    // Its exit, too: the system call is the last instruction of its function.
    let own = |cut: &&Value| cut["end"] == "no_table" || cut["module"] == "gone";
    assert_eq!(cut.iter().filter(own).count(), 0, "{}", stats["stacks"]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn coroutines_of_makecontext_are_whole() {
    let run = trace(&["-q"], &program("contexts", &[]), &["200"]);
    run.assert_nothing_lost();
    let stats = run.stats();
    let block = site(&stats, "one_block");
    assert_eq!(
        (number(&block["calls"]), number(&block["size"])),
        (200, 200_000)
    );
    assert_eq!(
        number(&stats["stacks"]["incomplete"]),
        0,
        "{}",
        stats["stacks"]
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn inlined_functions_are_known_whose_debug_information_was_split_off() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        let inlined = program("inlined", &["-gsplit-dwarf", version]);
        let run = trace(&["-q"], &inlined, &["50"]);
        run.assert_nothing_lost();
        let stats = run.stats();
        let inner = site(&stats, "inner");
        let location = inner["location"].as_str().expect("a location");
        assert!(location.ends_with("inlined.c:5"), "{version}: {location}");
        assert_eq!(
            (number(&inner["calls"]), number(&inner["size"])),
            (50, 50_000)
        );
    }
}
