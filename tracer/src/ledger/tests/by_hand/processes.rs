//! Processes, and what is kept over time.

use super::*;
use crate::ledger::account::{CallTotals, FaultTotals};

#[test]
fn a_forked_child_has_a_copy_and_a_vforked_one_nothing() {
    let mut story = Story::new();
    story.map(stack(10), A, 4 * PAGE);
    story.touch(stack(30), A, 2 * PAGE);
    story.alloc(stack(11), 0x1000, 10);
    story.event(
        MAIN,
        false,
        Body::Fork {
            child: Pid(2),
            shares_memory: false,
        },
    );
    story.counts.insert((2, RssCounter::Anon), 2 * PAGE);
    let child = |stack| By(2, 2, stack);
    story.free(child(40), 0x1000);
    story.map(child(12), B, 8 * PAGE);
    story.touch(child(31), B, PAGE);
    assert_eq!(story.ledger.totals().reserved, Bytes(16 * PAGE + 10));
    story.event(
        child(0),
        false,
        Body::Fork {
            child: Pid(3),
            shares_memory: true,
        },
    );
    story.unmap(By(3, 3, 0), B, 8 * PAGE); // its parent's
    assert_eq!(story.ledger.totals().reserved, Bytes(8 * PAGE + 10));
    story.event(
        By(3, 3, 0),
        false,
        Body::Exec {
            counts: KernelCounts::default(),
        },
    );
    story.alloc(By(3, 3, 50), 0x1000, 5);
    assert_eq!(story.ledger.totals().processes, 3);
    story.exit(2);
    assert_eq!(story.ledger.totals().reserved, Bytes(4 * PAGE + 15));
    story.exit(3);
    story.exit(1);
    assert_eq!(story.ledger.totals().reserved, Bytes(0));
    let account = story.finish();
    assert_eq!(
        reserved(&account.reserved_peak),
        [(10, 8 * PAGE), (11, 10), (12, 8 * PAGE)]
    );
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, 4 * PAGE), (by(12), 31, PAGE)]
    );
    let leaked: Vec<_> = account
        .stacks
        .iter()
        .filter(|(_, t)| t.leaked_allocs > 0)
        .collect();
    assert_eq!(leaked.len(), 2); // of the root and of the executed child; what a child inherits is not its leak
    let processes: Vec<_> = account
        .processes
        .iter()
        .map(|p| (p.pid.0, p.parent.0, p.reserved_peak.0))
        .collect();
    assert_eq!(
        processes,
        [(1, 0, 4 * PAGE + 10), (2, 1, 12 * PAGE), (3, 2, 5)]
    );
    assert_eq!(account.oddities, Default::default());
}

#[test]
fn an_exec_ends_everything_but_the_peak() {
    let mut story = Story::new();
    story.map(stack(10), A, 64 * PAGE);
    story.touch(stack(30), A, 2 * PAGE);
    let counts = KernelCounts {
        resident_peak: 70,
        virtual_peak: 80,
        stack: 7,
    };
    story.event(MAIN, false, Body::Exec { counts });
    assert_eq!(
        (
            story.ledger.totals().reserved,
            story.ledger.totals().resident
        ),
        (Bytes(0), Bytes(0))
    );
    story.counts.clear();
    story.map(stack(20), A, PAGE);
    story.touch(stack(30), A, PAGE);
    story.exit(1);
    // The counters of the dead run down.
    story.moved(MAIN, RssCounter::Anon, -1, Cause::End, (0, 0, 0));
    let account = story.finish();
    assert_eq!(join(&account.resident_peak), [(by(10), 30, 2 * PAGE)]);
    assert_eq!(account.processes[0].kernel, counts);
    assert_eq!(account.processes[0].status, Some(0));
    assert_eq!(account.oddities, Default::default());
}

#[test]
fn a_timeline_stays_short_and_keeps_the_peaks() {
    let mut story = Story::new();
    for i in 0..100_000 {
        story.time += 1000;
        story.alloc(MAIN, 0x1000 + i * 16, 16);
    }
    for i in 0..100_000 {
        story.time += 1000;
        story.free(MAIN, 0x1000 + i * 16);
    }
    let account = story.finish();
    assert!(account.timeline.len() < 5000, "{}", account.timeline.len());
    assert!(
        account
            .timeline
            .iter()
            .any(|point| point.reserved == Bytes(1_600_000))
    );
    assert!(account.timeline.is_sorted_by_key(|point| point.at));
}

#[test]
fn memory_calls_and_faults_have_their_time() {
    let mut story = Story::new();
    story.map(stack(10), A, 4 * PAGE);
    for (syscall, errno, took) in [(9, 0, 5), (9, 0, 6), (11, libc::EINVAL, 7)] {
        let took = Nanos(took);
        let body = Body::Returned {
            syscall,
            errno,
            took,
        };
        story.event(stack(10), false, body);
    }
    story.touch(stack(30), A, 3 * PAGE);
    let account = story.finish();
    let totals = |calls, failed, time| CallTotals {
        calls,
        failed,
        time: Nanos(time),
    };
    assert_eq!(
        account.calls,
        [(9, totals(2, 0, 11)), (11, totals(1, 1, 7))]
    );
    let faults = FaultTotals {
        user: 3,
        kernel: 0,
        time: Nanos(3),
    };
    assert_eq!(account.faults, faults);
    let of = |id| account.stacks.iter().find(|(at, _)| at.0 == id).unwrap().1;
    assert_eq!(
        (of(10).mapping_calls, of(10).mapping_time, of(10).faults),
        (3, Nanos(18), 0)
    );
    assert_eq!(
        (of(30).faults, of(30).fault_time, of(30).pages),
        (3, Nanos(3), 3)
    );
    // The third was an unmapping that nothing had announced.
    assert_eq!(account.oddities.misplaced, 1);
}

/// A child has neither the one mapping nor the pages of the other; what a call failed to advise it
/// has.
#[test]
fn what_a_child_does_not_get() {
    let mut story = Story::new();
    for at in [A, A + 64 * PAGE, A + 128 * PAGE] {
        story.map(stack(10), at, 8 * PAGE);
    }
    let advices = [
        (A, libc::MADV_DONTFORK, 0),
        (A + 64 * PAGE, libc::MADV_WIPEONFORK, 0),
        (A + 128 * PAGE, libc::MADV_DONTFORK, libc::EINVAL),
    ];
    for (at, advice, errno) in advices {
        story.advise(MAIN, at, 8 * PAGE, advice);
        let (syscall, took) = (28, Nanos(1));
        let body = Body::Returned {
            syscall,
            errno,
            took,
        };
        story.event(MAIN, false, body);
    }
    for (at, pages) in [(A, 4), (A + 64 * PAGE, 2), (A + 128 * PAGE, 1)] {
        story.touch(stack(30), at, pages * PAGE);
    }
    let body = Body::Fork {
        child: Pid(2),
        shares_memory: false,
    };
    story.event(MAIN, false, body);
    let account = story.finish();
    let peak = &account.resident_peak;
    assert_eq!(peak.resident, Bytes((7 + 1) * PAGE));
    assert_eq!(peak.unexplained, 0);
    let reserved_by = reserved(&account.reserved_peak);
    assert_eq!(reserved_by, [(10, (3 + 2) * 8 * PAGE)]);
}

/// What a child writes to is its own; what it made itself, or its parent writes to, stays as it is.
#[test]
fn who_writes_to_inherited_memory_is_its_toucher() {
    let mut story = Story::new();
    story.map(stack(10), A, 8 * PAGE);
    story.touch(stack(30), A, 4 * PAGE);
    let body = Body::Fork {
        child: Pid(2),
        shares_memory: false,
    };
    story.event(MAIN, false, body);
    let child = |stack| By(2, 2, stack);
    let write = |story: &mut Story, by, page| {
        let address = Address(A + page * PAGE + 5);
        story.event(by, false, Body::Written { address });
    };
    write(&mut story, MAIN, 0);
    write(&mut story, child(40), 1);
    write(&mut story, child(41), 1); // its own by now
    write(&mut story, child(42), 6); // not there
    story.counts.insert((2, RssCounter::Anon), 4 * PAGE);
    story.touch(child(43), A + 5 * PAGE, PAGE);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [
            (by(10), 30, (4 + 3) * PAGE),
            (by(10), 40, PAGE),
            (by(10), 43, PAGE)
        ]
    );
    assert_eq!(account.resident_peak.unexplained, 0);
}
