//! Blocks of the malloc family, and pages that they share.

use super::*;

#[test]
fn nothing_happened() {
    let account = Story::new().finish();
    assert_eq!(account.reserved_peak, Snapshot::default());
    assert!(account.stacks.is_empty() && account.processes.is_empty());
}

#[test]
fn the_peak_is_the_true_maximum_and_has_its_own_stacks() {
    let mut story = Story::new();
    story.alloc(stack(10), 0x1000, 100);
    story.alloc(stack(20), 0x2000, 50);
    story.free(stack(30), 0x1000); // 50
    story.alloc(stack(20), 0x3000, 101); // 151: the peak, one byte above the first
    story.free(stack(30), 0x2000);
    story.free(stack(30), 0x3000);
    story.alloc(stack(40), 0x1000, 60);
    let account = story.finish();
    assert_eq!(account.reserved_peak.reserved, Bytes(151));
    assert_eq!(account.reserved_peak.at, Nanos(40));
    assert_eq!(reserved(&account.reserved_peak), [(20, 151)]);
    assert_eq!(
        (account.allocs, account.alloc_bytes, account.frees),
        (4, Bytes(311), 3)
    );
}

#[test]
fn what_was_freed_after_the_peak_is_in_it() {
    let mut story = Story::new();
    story.alloc(stack(10), 0x1000, 100);
    story.map(stack(20), A, 4 * PAGE);
    story.touch(stack(30), A, 2 * PAGE);
    story.free(MAIN, 0x1000);
    story.unmap(MAIN, A, 4 * PAGE);
    story.gone(MAIN, RssCounter::Anon, 2 * PAGE);
    // The same addresses again, by others, below the peak.
    story.alloc(stack(11), 0x1000, 99);
    story.map(stack(21), A, 3 * PAGE);
    story.touch(stack(31), A, PAGE);
    let account = story.finish();
    for peak in [&account.reserved_peak, &account.resident_peak] {
        assert_eq!(reserved(peak), [(10, 100), (20, 4 * PAGE)]);
        assert_eq!(
            peak.unexplained,
            if peak.at == Nanos(40) {
                0
            } else {
                peak.resident.0 as i64
            }
        );
    }
    assert_eq!(join(&account.resident_peak), [(by(20), 30, 2 * PAGE)]);
}

#[test]
fn a_resize_counts_once_and_hides_the_address_meanwhile() {
    let mut story = Story::new();
    story.alloc(stack(10), 0x1000, 100);
    story.realloc_enter(By(1, 1, 20), 0x1000, 200);
    // Another thread is given the address before the resize returns.
    story.alloc(By(1, 2, 30), 0x1000, 7);
    assert_eq!(story.ledger.totals().reserved, Bytes(107));
    story.realloc_exit(By(1, 1, 20), 0x9000, 200);
    assert_eq!(story.ledger.totals().reserved, Bytes(207));
    let account = story.finish();
    assert_eq!(account.oddities, Default::default());
    assert_eq!(reserved(&account.reserved_peak), [(20, 200), (30, 7)]);
    assert_eq!((account.allocs, account.frees), (3, 1));
}

#[test]
fn a_forked_child_has_one_block_at_an_address_whoever_is_resizing_it() {
    let mut story = Story::new();
    let fork = |child| Body::Fork {
        child: Pid(child),
        shares_memory: false,
    };
    story.alloc(stack(10), 0x1000, 100);
    story.realloc_enter(By(1, 1, 20), 0x1000, 200);
    // The resize may fail: the child has the block.
    story.event(By(1, 2, 0), false, fork(2));
    assert_eq!(story.ledger.totals().reserved, Bytes(200));
    // Handed out again, it can't; then the second one is being resized as well.
    story.alloc(By(1, 2, 30), 0x1000, 7);
    story.event(By(1, 3, 0), false, fork(3));
    assert_eq!(story.ledger.totals().reserved, Bytes(214));
    story.realloc_enter(By(1, 2, 40), 0x1000, 9);
    story.event(By(1, 3, 0), false, fork(4));
    assert_eq!(story.ledger.totals().reserved, Bytes(221));
    let account = story.finish();
    assert_eq!(reserved(&account.reserved_peak), [(10, 200), (30, 21)]);
    assert_eq!(account.oddities, Default::default());
}

#[test]
fn a_resize_that_fails_leaves_the_block_and_one_to_zero_frees_it() {
    let mut story = Story::new();
    story.alloc(stack(10), 0x1000, 100);
    story.realloc_enter(stack(20), 0x1000, 1 << 50);
    story.realloc_exit(stack(20), 0, 1 << 50);
    assert_eq!(story.ledger.totals().reserved, Bytes(100));
    story.realloc_enter(stack(20), 0x1000, 0);
    story.realloc_exit(stack(20), 0, 0);
    assert_eq!(story.ledger.totals().reserved, Bytes(0));
    let account = story.finish();
    assert_eq!(reserved(&account.reserved_peak), [(10, 100)]);
    assert_eq!(
        (
            account.allocs,
            account.frees,
            account.oddities.unknown_frees
        ),
        (1, 1, 0)
    );
}

#[test]
fn contradictions_are_counted() {
    let mut story = Story::new();
    story.free(MAIN, 0x1000);
    story.alloc(stack(10), 0x1000, 100);
    story.alloc(stack(20), 0x1000, 30);
    story.alloc(stack(20), u64::MAX - 5, 100);
    let account = story.finish();
    let odd = account.oddities;
    assert_eq!(
        (odd.unknown_frees, odd.overlapping_allocs, odd.misplaced),
        (1, 1, 1)
    );
    assert_eq!(reserved(&account.reserved_peak), [(10, 100)]);
}

#[test]
fn a_page_is_divided_by_bytes_and_the_rest_is_slack() {
    let mut story = Story::new();
    story.map_as(stack(90), A, MIB, ANON, -1, true);
    story.alloc(stack(10), A + 16, 1000);
    story.alloc(stack(20), A + 2000, PAGE);
    story.touch(stack(30), A, 2 * PAGE);
    let account = story.finish();
    let peak = &account.resident_peak;
    assert_eq!(reserved(peak), [(10, 1000), (20, PAGE)]);
    assert_eq!(peak.arenas, Bytes(MIB));
    let slack = Reserver::Slack(StackId(90));
    assert_eq!(
        join(peak),
        [
            (by(10), 30, 1000),
            (by(20), 30, PAGE),
            (slack, 30, PAGE - 1000)
        ]
    );
    assert_eq!(peak.slack, Bytes(PAGE - 1000));
}
