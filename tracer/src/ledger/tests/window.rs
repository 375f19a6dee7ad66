//! Parts of a run, by hand and against all of it.

use super::model::{Pair, ops};
use super::*;
use crate::ledger::Window;
use proptest::prelude::*;

const A: u64 = 0x7f00_0000_0000;
const MAIN: By = By(1, 1, 10);

fn within(story: &Story, after: u64, until: u64) -> Account {
    let (after, until) = (Nanos(after), Nanos(until));
    let mut ledger = Ledger::of(Window { after, until });
    story.events.iter().for_each(|event| ledger.apply(event));
    let account = ledger.finish();
    consistent(&account.reserved_peak);
    consistent(&account.resident_peak);
    account
}

/// Reserved and resident peak, allocations, their bytes, blocks that were not freed and their bytes.
fn figures(account: &Account) -> [u64; 6] {
    let leaked = |of: fn(&crate::ledger::account::StackTotals) -> u64| {
        account.stacks.iter().map(|(_, totals)| of(totals)).sum()
    };
    [
        account.reserved_peak.reserved.0,
        account.resident_peak.resident.0,
        account.allocs,
        account.alloc_bytes.0,
        leaked(|totals| totals.leaked_allocs),
        leaked(|totals| totals.leaked.0),
    ]
}

#[test]
fn what_is_there_counts_and_what_was_there_does_not() {
    let mut story = Story::new();
    story.map(MAIN, A, 8 * PAGE); // 10
    story.touch(MAIN, A, 8 * PAGE); // 20 to 90
    story.alloc(MAIN, 0x1000, 100); // 100
    story.alloc(MAIN, 0x2000, 1000); // 110
    story.free(MAIN, 0x2000); // 120
    let begin = story.time;
    story.alloc(MAIN, 0x3000, 10); // 130
    story.alloc(MAIN, 0x4000, 20); // 140
    story.free(MAIN, 0x4000); // 150
    story.alloc(MAIN, 0x5000, 5); // 160
    let end = story.time;
    story.free(MAIN, 0x5000); // 170
    story.alloc(MAIN, 0x6000, 7); // 180
    story.unmap(MAIN, A, 8 * PAGE);
    story.exit(1);
    let there = 8 * PAGE + 100;
    let of = |after, until| figures(&within(&story, after, until));
    assert_eq!(of(begin, end), [there + 30, 8 * PAGE, 3, 35, 2, 15]);
    assert_eq!(
        of(0, begin),
        [there + 1000, 8 * PAGE, 3, 8 * PAGE + 1100, 1, 100]
    );
    assert_eq!(of(end, u64::MAX), [there + 17, 8 * PAGE, 1, 7, 1, 7]);
    assert_eq!(of(end, end), [there + 15, 8 * PAGE, 0, 0, 0, 0]);
    assert_eq!(of(story.time, u64::MAX), [0; 6], "after the last event");
    let whole = figures(&within(&story, 0, u64::MAX));
    assert_eq!(whole, figures(&story.finish()));
}

#[test]
fn who_was_gone_is_left_out_and_how_who_ended_later_did_is_told() {
    let mut story = Story::new();
    let fork = |child| Body::Fork {
        child: Pid(child),
        shares_memory: false,
    };
    story.event(MAIN, false, fork(2));
    story.alloc(By(2, 2, 11), 0x1000, 4096);
    story.exit(2);
    let begin = story.time;
    story.event(MAIN, false, fork(3));
    story.alloc(By(3, 3, 11), 0x1000, 64);
    let end = story.time;
    story.exit(3);
    story.exit(1);
    let account = within(&story, begin, end);
    let of = |process: &crate::ledger::account::ProcessAccount| {
        (
            process.pid.0,
            process.status,
            process.reserved_peak.0,
            process.kernel,
        )
    };
    let nothing = KernelCounts::default();
    let processes: Vec<_> = account.processes.iter().map(of).collect();
    assert_eq!(
        processes,
        [(1, Some(0), 0, nothing), (3, Some(0), 64, nothing)]
    );
    assert_eq!((account.began, account.ended), (Nanos(begin), Nanos(end)));
}

proptest! {
    #[test]
    fn its_peaks_are_the_highest_that_the_whole_run_saw_within(
        ops in ops(120), from in 0..120_usize, length in 0..120_usize,
    ) {
        let mut pair = Pair::new();
        ops.into_iter().for_each(|op| pair.apply(op));
        let story = &pair.story;
        let times: Vec<u64> = story.events.iter().map(|event| event.time.0).collect();
        let from = from.min(times.len());
        let to = (from + length).min(times.len());
        let time = |count: usize| count.checked_sub(1).map_or(0, |last| times[last]);
        // An empty window at the very beginning is no window.
        prop_assume!(to > 0 && !times.is_empty());

        // What the whole run had come to after so many events.
        let mut whole = Ledger::new();
        let mut states = vec![whole.totals()];
        for event in &story.events {
            whole.apply(event);
            states.push(whole.totals());
        }
        let seen = &states[from..=to];
        let reserved = seen.iter().map(|totals| totals.reserved).max();
        let resident = seen.iter().map(|totals| totals.resident).max();
        let account = within(story, time(from), time(to));
        prop_assert_eq!(Some(account.reserved_peak.reserved), reserved);
        prop_assert_eq!(Some(account.resident_peak.resident), resident);
        prop_assert_eq!(account.allocs, states[to].allocs - states[from].allocs);
    }
}
