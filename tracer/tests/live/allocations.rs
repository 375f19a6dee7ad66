//! Allocation counts equal what the programs say of themselves.

use crate::harness::{number, program, site, trace};

/// `name calls bytes`, as family.c prints them.
fn truth(stdout: &str) -> Vec<(String, u64, u64)> {
    stdout
        .lines()
        .filter(|line| line.starts_with("via_"))
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            (
                words[0].to_owned(),
                words[1].parse().unwrap(),
                words[2].parse().unwrap(),
            )
        })
        .collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_function_of_the_family_is_counted_exactly() {
    let baseline = trace(&[], &program("empty", &[]), &[]);
    let run = trace(&[], &program("family", &[]), &[]);
    run.assert_nothing_lost();
    let stats = run.stats();
    let truth = truth(&run.stdout());
    assert_eq!(truth.len(), 11, "{}", run.stdout());
    for (name, calls, bytes) in &truth {
        let at = site(&stats, name);
        assert_eq!(number(&at["calls"]), *calls, "calls of {name}");
        assert_eq!(number(&at["size"]), *bytes, "bytes of {name}");
    }
    let calls: u64 = truth.iter().map(|(_, calls, _)| calls).sum();
    let bytes: u64 = truth.iter().map(|(_, _, bytes)| bytes).sum();
    let runtime = baseline.stats();
    assert_eq!(
        number(&stats["tracked_allocs"]),
        calls + number(&runtime["tracked_allocs"])
    );
    assert_eq!(
        number(&stats["tracked_bytes"]),
        bytes + number(&runtime["tracked_bytes"])
    );
    // Only the block that grew and the one that was kept are never freed.
    assert_eq!(
        number(&stats["leaked"]["allocs"]),
        2 + number(&runtime["leaked"]["allocs"])
    );
    assert_eq!(
        number(&stats["leaked"]["bytes"]),
        16_000 + 777 + number(&runtime["leaked"]["bytes"])
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_threads_and_two_million_pairs_lose_nothing() {
    let run = trace(&["-q"], &program("storm", &[]), &["2", "1000000"]);
    run.assert_nothing_lost();
    let pair = site(&run.stats(), "pair").clone();
    assert_eq!(number(&pair["calls"]), 2_000_000);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_static_program_with_symbols_is_counted_too() {
    let run = trace(&[], &program("family", &["-static"]), &[]);
    run.assert_nothing_lost();
    let stats = run.stats();
    for (name, calls, _) in truth(&run.stdout()) {
        assert_eq!(
            number(&site(&stats, &name)["calls"]),
            calls,
            "calls of {name}"
        );
    }
}
