//! Moments that programs name, and reports and budgets of what came between two.

use crate::harness::{Trace, number, program, trace};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;
const BETWEEN: [&str; 3] = ["--between", "begin", "end [1]"];

fn marks(options: &[&str]) -> Trace {
    trace(options, &program("marks", &[]), &[])
}

fn names(stats: &Value) -> Vec<&str> {
    let marks = stats["marks"].as_array().expect("marks is a list");
    marks
        .iter()
        .filter_map(|mark| mark["name"].as_str())
        .collect()
}

/// Heap at the peak, allocations, their bytes, bytes and blocks that were not freed.
fn figures(stats: &Value) -> [u64; 5] {
    [
        &stats["reserved"]["heap_bytes"],
        &stats["tracked_allocs"],
        &stats["tracked_bytes"],
        &stats["leaked"]["bytes"],
        &stats["leaked"]["allocs"],
    ]
    .map(number)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_came_between_two_marks_is_counted_alone_and_to_the_byte() {
    let whole = marks(&[]);
    whole.assert_nothing_lost();
    let stats = whole.stats();
    assert_eq!(names(&stats), ["begin", "end [1]", "end [1]"]);
    assert!(stats["between"].is_null());
    // Four stay, and 64 are there for a moment.
    assert_eq!(number(&stats["reserved"]["heap_bytes"]), 68 * MIB);
    assert_eq!(number(&stats["leaked"]["bytes"]), 4 * MIB + 30_000 + 20_000);

    let cut = marks(&BETWEEN);
    cut.assert_nothing_lost();
    let stats = cut.stats();
    let peak = 4 * MIB + 40_000 + 8 * MIB;
    let bytes = 100_000 + 8 * MIB;
    assert_eq!(figures(&stats), [peak, 101, bytes, 40_000, 40]);
    assert_eq!(stats["between"]["from"]["name"], "begin");
    assert_eq!(stats["between"]["to"]["name"], "end [1]");
    let resident = number(&stats["resident"]["peak_bytes"]);
    assert!((12 * MIB..24 * MIB).contains(&resident), "{resident}");
    let summary = cut.summary();
    assert!(summary.contains("only from begin ("), "{summary}");
    assert!(!summary.contains("VmHWM"), "{summary}");

    // The same from the recording of the whole run, and of its other parts.
    let report = |from: &str, to: &str| {
        let out = whole.dir.path().join("cut");
        let run = Command::new(env!("CARGO_BIN_EXE_tracer"))
            .args(["report", "-q", "--between", from, to, "-o"])
            .args([&out, &whole.out()])
            .status();
        assert!(run.expect("tracer runs").success());
        let text = std::fs::read_to_string(out.join("stats.json")).expect("stats.json");
        figures(&serde_json::from_str(&text).expect("JSON"))
    };
    assert_eq!(report("begin", "end [1]"), [peak, 101, bytes, 40_000, 40]);
    // The dynamic linker has made mappings by then.
    let [heap, _, _, leaked, blocks] = report("-", "begin");
    assert_eq!([heap, leaked, blocks], [68 * MIB, 4 * MIB, 1]);
    let last = 4 * MIB + 30_000 + 20_000;
    assert_eq!(
        report("end [1]", "end [1]"),
        [last.max(4 * MIB + 40_000), 10, 20_000, 20_000, 10]
    );
    assert_eq!(report("end [1]", "-"), [last, 10, 20_000, 20_000, 10]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn budgets_are_held_against_what_came_between() {
    for (most, code) in [("40000", 0), ("39999", 123)] {
        let run = marks(&[&BETWEEN[..], &["-q", "--max-leaked", most]].concat());
        assert_eq!(run.code(), Some(code), "{}", run.stderr());
    }
    // Of the whole run: four MiB more.
    let run = marks(&["-q", "--max-leaked", "40000"]);
    assert_eq!(run.code(), Some(123));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_mark_that_never_came_is_told_and_no_budget_passes() {
    let run = marks(&["-q", "--between", "begin", "finish", "--max-leaked", "1T"]);
    assert_eq!(run.code(), Some(125));
    let said = "no mark \"finish\" behind the mark \"begin\" in this recording, which has \
                \"begin\", \"end [1]\"";
    assert!(run.stderr().contains(said), "{}", run.stderr());
    assert!(!run.out().join("stats.json").exists());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn scripts_and_python_make_marks_too() {
    let script = format!(
        "{} mark first; python3 -c 'import os; os.access(\"tracer-mark:from python\", os.F_OK)'; \
         [ -r 'tracer-mark:and last' ] || exit 0",
        env!("CARGO_BIN_EXE_tracer")
    );
    let run = trace(&["-q"], Path::new("sh"), &["-c", &script]);
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    let stats = run.stats();
    assert_eq!(names(&stats), ["first", "from python", "and last"]);
    let pid = |mark: &Value| number(&mark["pid"]);
    let pids: Vec<u64> = stats["marks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(pid)
        .collect();
    assert!(pids[0] != pids[1] && pids[1] != pids[2], "{pids:?}");
    let timeline = std::fs::read_to_string(run.out().join("timeline.svg")).expect("a timeline");
    assert!(timeline.contains("from python"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_name_that_is_none_is_refused_and_a_mark_outside_of_a_trace_is_nothing() {
    let mark = |name: &str| {
        let run = Command::new(env!("CARGO_BIN_EXE_tracer"))
            .args(["mark", name])
            .output();
        run.expect("tracer runs").status.code()
    };
    assert_eq!(mark("nobody listens"), Some(0));
    assert_eq!(mark(""), Some(125));
    assert_eq!(mark(&"x".repeat(80)), Some(0));
    assert_eq!(mark(&"x".repeat(81)), Some(125));
}
