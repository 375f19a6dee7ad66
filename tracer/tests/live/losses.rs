//! What is lost is counted, to the event.

use crate::harness::{lost, number, program, site, trace};

#[test]
fn a_tiny_ring_buffer_reports_its_losses_exactly() {
    const PAIRS: u64 = 300_000;
    let storm = program("storm", &[]);
    let run = trace(
        &["-q", "--ring-buffer", "4096"],
        &storm,
        &["2", &(PAIRS / 2).to_string()],
    );
    let stats = run.stats();
    assert_eq!(stats["complete"], true, "the recording itself is whole");
    let by_probe = stats["lost_by_probe"].as_array().expect("a list");
    let lost_allocs = by_probe
        .iter()
        .filter(|entry| entry["cause"] == "ring_full" && entry["probe"] == "alloc")
        .map(|entry| number(&entry["count"]))
        .sum::<u64>();
    assert!(
        lost_allocs > 0,
        "a ring of one page can't hold a storm: {}",
        stats["lost"]
    );

    // Whatever the program allocated was recorded or counted as lost, not both, not neither.
    let whole = trace(&["-q"], &storm, &["2", &(PAIRS / 2).to_string()]);
    whole.assert_nothing_lost();
    assert_eq!(
        number(&stats["tracked_allocs"]) + lost_allocs,
        number(&whole.stats()["tracked_allocs"]),
    );
    assert!(lost(&stats) >= lost_allocs);
    assert_eq!(number(&site(&whole.stats(), "pair")["calls"]), PAIRS);
    assert!(
        run.stderr().contains("lost"),
        "the user is told: {}",
        run.stderr()
    );
}
