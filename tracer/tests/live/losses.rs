//! What is lost is counted, to the event.

use crate::harness::{Trace, lost, number, program, site, trace};
use tracer::events::Body;
use tracer::recording::Recording;

/// Blocks handed out, as the recording has them.
fn recorded_allocs(run: &Trace) -> u64 {
    let recording = Recording::open(&run.out().join("recording")).expect("a recording");
    let events = recording.events().expect("it has events");
    let is_alloc = |event: &_| matches!(event, Body::Alloc { .. });
    events
        .filter(|event| is_alloc(&event.as_ref().expect("an event").body))
        .count() as u64
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_tiny_ring_buffer_reports_its_losses_exactly() {
    const PAIRS: u64 = 300_000;
    let storm = program("storm", &[]);
    let args = ["2", &(PAIRS / 2).to_string()];
    let run = trace(&["-q", "--ring-buffer", "4096"], &storm, &args);
    let stats = run.stats();
    assert_eq!(stats["complete"], true, "the recording itself is whole");
    let lost_allocs: u64 = stats["lost_by_probe"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|entry| entry["cause"] == "ring_full" && entry["probe"] == "alloc")
        .map(|entry| number(&entry["count"]))
        .sum();
    // With one processor the reader, which goes before others, may keep up.
    if std::thread::available_parallelism().is_ok_and(|count| count.get() > 1) {
        assert!(
            lost_allocs > 0,
            "a ring of one page can't hold a storm: {}",
            stats["lost"]
        );
    }
    assert_eq!(
        run.stderr().contains("found no room"),
        lost(&stats) > 0,
        "the user is told: {}",
        run.stderr()
    );
    assert!(lost(&stats) >= lost_allocs);

    // Whatever the program allocated was recorded or counted as lost, not both, not neither.
    let whole = trace(&["-q"], &storm, &args);
    whole.assert_nothing_lost();
    assert_eq!(number(&site(&whole.stats(), "pair")["calls"]), PAIRS);
    assert_eq!(recorded_allocs(&run) + lost_allocs, recorded_allocs(&whole));
}
