//! Every transition, with numbers that can be worked out by hand.

use super::*;
use crate::ledger::account::{CallTotals, FaultTotals};

const MIB: u64 = 1 << 20;
/// Somewhere below the first thread's stack.
const A: u64 = 0x7f00_0000_0000;
const B: u64 = 0x7f10_0000_0000;
const MAIN: By = By(1, 1, 10);

fn stack(stack: u64) -> By {
    By(1, 1, stack)
}

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
    story.gone(MAIN, Member::Anon, 2 * PAGE);
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

#[test]
fn unmapping_in_part_and_mapping_over() {
    let mut story = Story::new();
    story.map(stack(10), A, 64 * PAGE);
    story.touch(stack(30), A, 32 * PAGE);
    story.unmap(MAIN, A + 8 * PAGE, 16 * PAGE);
    story.gone(MAIN, Member::Anon, 16 * PAGE);
    story.map_as(stack(20), A + 2 * PAGE, 4 * PAGE, ANON | FIXED, -1, false);
    story.gone(MAIN, Member::Anon, 4 * PAGE);
    story.map(stack(40), B, 64 * PAGE);
    story.touch(stack(50), B, 48 * PAGE);
    let account = story.finish();
    let peak = &account.resident_peak;
    assert_eq!(
        reserved(peak),
        [(10, 44 * PAGE), (20, 4 * PAGE), (40, 64 * PAGE)]
    );
    assert_eq!(
        join(peak),
        [(by(10), 30, 12 * PAGE), (by(40), 50, 48 * PAGE)]
    );
    assert_eq!(account.oddities, Default::default());
}

#[test]
fn a_move_takes_pages_along_and_growth_belongs_to_the_mover() {
    let mut story = Story::new();
    story.map(stack(10), A, 8 * PAGE);
    story.touch(stack(30), A, 4 * PAGE);
    story.remap(stack(20), (A, 8 * PAGE), (B, 16 * PAGE), 1);
    story.touch(stack(31), B + 8 * PAGE, 2 * PAGE);
    story.map(stack(40), A, 8 * PAGE); // the old place is free
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, 4 * PAGE), (by(20), 31, 2 * PAGE)]
    );
    assert_eq!(
        reserved(&account.reserved_peak),
        [(10, 8 * PAGE), (20, 8 * PAGE), (40, 8 * PAGE)]
    );
    assert_eq!(account.oddities, Default::default());
}

#[test]
fn a_move_that_shrinks_drops_pages_and_one_that_fails_changes_nothing() {
    let mut story = Story::new();
    story.map(stack(10), A, 8 * PAGE);
    story.touch(stack(30), A, 8 * PAGE);
    story.remap(stack(20), (A, 8 * PAGE), (0, 64 * PAGE), 0);
    story.remap(stack(20), (A, 8 * PAGE), (A, 3 * PAGE), 0);
    story.gone(MAIN, Member::Anon, 5 * PAGE);
    story.map(stack(40), B, 64 * PAGE);
    story.touch(stack(50), B, 6 * PAGE);
    let account = story.finish();
    assert_eq!(
        reserved(&account.resident_peak),
        [(10, 3 * PAGE), (40, 64 * PAGE)]
    );
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, 3 * PAGE), (by(40), 50, 6 * PAGE)]
    );
}

#[test]
fn dont_unmap_keeps_the_old_place_without_its_pages() {
    let mut story = Story::new();
    story.map(stack(10), A, 4 * PAGE);
    story.touch(stack(30), A, 4 * PAGE);
    story.remap(stack(20), (A, 4 * PAGE), (B, 4 * PAGE), 1 | 4);
    story.touch(stack(31), A, PAGE);
    let account = story.finish();
    assert_eq!(reserved(&account.reserved_peak), [(10, 8 * PAGE)]);
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, 4 * PAGE), (by(10), 31, PAGE)]
    );
}

#[test]
fn a_failed_unmap_or_discard_never_happened() {
    let mut story = Story::new();
    story.map(stack(10), A, 4 * PAGE);
    story.touch(stack(30), A, 3 * PAGE);
    story.unmap(MAIN, A, 4 * PAGE);
    story.event(
        MAIN,
        false,
        Body::Returned {
            syscall: 11,
            errno: libc::ENOMEM,
            took: Nanos(1),
        },
    );
    story.advise(MAIN, A, 2 * PAGE, libc::MADV_DONTNEED);
    story.event(
        MAIN,
        false,
        Body::Returned {
            syscall: 28,
            errno: libc::EINVAL,
            took: Nanos(1),
        },
    );
    story.touch(stack(31), A + 3 * PAGE, PAGE);
    let account = story.finish();
    assert_eq!(reserved(&account.reserved_peak), [(10, 4 * PAGE)]);
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, 3 * PAGE), (by(10), 31, PAGE)]
    );
    assert_eq!(account.resident_peak.unexplained, 0);
    assert_eq!(account.oddities, Default::default());
}

#[test]
fn discarding_with_holes_is_done_although_it_says_enomem() {
    let mut story = Story::new();
    story.map(stack(10), A, 4 * PAGE);
    story.touch(stack(30), A, 4 * PAGE);
    story.advise(MAIN, A, 8 * PAGE, libc::MADV_DONTNEED);
    story.event(
        MAIN,
        false,
        Body::Returned {
            syscall: 28,
            errno: libc::ENOMEM,
            took: Nanos(1),
        },
    );
    story.gone(MAIN, Member::Anon, 4 * PAGE);
    story.touch(stack(31), A, 4 * PAGE);
    story.map(stack(10), B, PAGE);
    story.touch(stack(31), B, PAGE);
    assert_eq!(
        join(&story.finish().resident_peak),
        [(by(10), 31, 5 * PAGE)]
    );
}

#[test]
fn the_break_moves_both_ways() {
    let mut story = Story::new();
    let base = 0x5555_0000_0000;
    let to = |story: &mut Story, by, in_allocator, at| {
        story.event(
            by,
            in_allocator,
            Body::Break {
                address: Address(at),
            },
        );
    };
    to(&mut story, MAIN, false, base);
    to(&mut story, stack(10), false, base + 16 * PAGE);
    story.touch(stack(30), base, 8 * PAGE);
    to(&mut story, stack(20), false, base + 4 * PAGE);
    story.gone(MAIN, Member::Anon, 4 * PAGE);
    to(&mut story, stack(40), true, base + 64 * PAGE);
    story.touch(stack(30), base + 4 * PAGE, 60 * PAGE);
    let peak = story.finish().resident_peak;
    assert_eq!(reserved(&peak), [(10, 4 * PAGE)]);
    let slack = Reserver::Slack(StackId(40));
    assert_eq!(
        join(&peak),
        [(by(10), 30, 4 * PAGE), (slack, 30, 60 * PAGE)]
    );
}

#[test]
fn huge_pages_fault_around_and_copies_on_write() {
    let mut story = Story::new();
    story.map(stack(10), A + MIB, 8 * MIB);
    // The mapping begins in the middle of a huge page; the fault is in the next one.
    story.moved(
        stack(30),
        Member::Anon,
        512,
        Cause::UserFault,
        (A + 2 * MIB + 5, 6, u16::MAX),
    );
    story.map_as(stack(20), B, 20 * PAGE, PRIVATE, 3, false);
    let fault = |story: &mut Story, by, member, pages, at, code| {
        story.moved(by, member, pages, Cause::UserFault, (at, code, u16::MAX));
    };
    fault(&mut story, stack(31), Member::File, 16, B + 5 * PAGE, 4);
    fault(&mut story, stack(32), Member::File, 4, B + 17 * PAGE, 4);
    // A write to a present page: one file page less, one anonymous page more.
    fault(&mut story, stack(33), Member::File, -1, B, 7);
    fault(&mut story, stack(33), Member::Anon, 1, B, 7);
    fault(&mut story, stack(34), Member::Anon, 1, B + 64 * PAGE, 6); // elsewhere: the image's
    let peak = story.finish().resident_peak;
    let expected = [
        (by(10), 30, 2 * MIB),
        (by(20), 31, 15 * PAGE),
        (by(20), 32, 4 * PAGE),
        (by(20), 33, PAGE),
        (Reserver::Image, 34, PAGE),
    ];
    assert_eq!(join(&peak), expected);
    assert_eq!((peak.unexplained, peak.files), (0, Bytes(20 * PAGE)));
    assert_eq!(reserved(&peak), [(10, 8 * MIB)]);
}

#[test]
fn populated_by_calls_without_a_fault() {
    let mut story = Story::new();
    for _ in 0..3 {
        story.moved(stack(10), Member::Anon, 1, Cause::Syscall, (0, 0, 9));
    }
    story.map(stack(10), A, 4 * PAGE);
    story.map(stack(11), B, 8 * PAGE);
    story.touch(stack(30), B + 3 * PAGE, PAGE);
    // mlock: the address that the call works on comes along.
    for _ in 0..4 {
        story.moved(
            stack(31),
            Member::Anon,
            1,
            Cause::Syscall,
            (B + 2 * PAGE, 0, 149),
        );
    }
    story.advise(stack(32), B, 8 * PAGE, 23);
    story.moved(stack(32), Member::Anon, 1, Cause::Syscall, (0, 0, 28));
    story.moved(stack(32), Member::Anon, 2, Cause::Syscall, (0, 0, 28));
    // Of something unknown: said to be so.
    story.moved(stack(33), Member::Anon, 5, Cause::Syscall, (0, 0, 200));
    let peak = story.finish().resident_peak;
    let expected = [
        (by(10), 10, 3 * PAGE),
        (by(11), 30, PAGE),
        (by(11), 31, 4 * PAGE),
        (by(11), 32, 3 * PAGE),
        (Reserver::Unknown, 0, 5 * PAGE),
    ];
    assert_eq!(join(&peak), expected);
    assert_eq!(peak.unexplained, 5 * PAGE as i64);
}

#[test]
fn what_mappings_are_for() {
    let mut story = Story::new();
    let denywrite = PRIVATE | 0x800;
    story.map_as(stack(10), A, 16 * PAGE, denywrite, 3, false);
    story.map_as(
        stack(11),
        A + 8 * PAGE,
        4 * PAGE,
        denywrite | FIXED,
        3,
        false,
    );
    story.map_as(stack(12), A + 12 * PAGE, 4 * PAGE, ANON | FIXED, -1, false); // its bss
    story.map_as(stack(13), B, PAGE, PRIVATE, 3, false);
    story.map_as(stack(14), B + MIB, 2 * PAGE, SHARED, 3, false);
    story.map_as(stack(15), B + 2 * MIB, 3 * PAGE, SHARED | 0x20, -1, false);
    story.map_as(stack(16), B + 3 * MIB, 4 * PAGE, ANON, -1, true);
    story.map_as(stack(17), B + 4 * MIB, 5001, ANON, -1, false);
    let account = story.finish();
    let peak = &account.reserved_peak;
    assert_eq!(reserved(peak), [(14, 2 * PAGE), (15, 3 * PAGE), (17, 5001)]);
    assert_eq!((peak.files, peak.arenas), (Bytes(PAGE), Bytes(4 * PAGE)));
    assert_eq!(
        account.processes[0].mapped_peak,
        Bytes((16 + 1 + 2 + 3 + 4 + 2) * PAGE)
    );
    assert_eq!(account.allocs, 3);
}

#[test]
fn an_arena_made_by_free_is_no_reservation() {
    let heap = |story: &mut Story, at| {
        let (address, length) = (Address(at), Bytes(128 * MIB));
        let body = Body::Map {
            address,
            length,
            offset: 0,
            prot: 0,
            flags: 0x4022,
            fd: -1,
        };
        story.event(stack(20), false, body);
    };
    let mut story = Story::new();
    heap(&mut story, A); // no block was ever seen: what else should it be
    story.alloc(stack(10), 0x1000, 1);
    heap(&mut story, B);
    story.alloc(stack(10), 0x2000, 1);
    let peak = story.finish().reserved_peak;
    assert_eq!(reserved(&peak), [(10, 2), (20, 128 * MIB)]);
    assert_eq!(peak.arenas, Bytes(128 * MIB));
}

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
    story.counts.insert((2, Member::Anon), 2 * PAGE);
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
    story.moved(MAIN, Member::Anon, -1, Cause::End, (0, 0, 0));
    let account = story.finish();
    assert_eq!(join(&account.resident_peak), [(by(10), 30, 2 * PAGE)]);
    assert_eq!(account.processes[0].kernel, counts);
    assert_eq!(account.processes[0].status, Some(0));
    assert_eq!(account.oddities, Default::default());
}

#[test]
fn the_first_stack_and_zero_pages() {
    let mut story = Story::new();
    story.touch(stack(30), 0x7ffe_0000_0000, 4 * PAGE);
    story.map(stack(10), A, 64 * PAGE); // read, never written: no counter moves
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [(Reserver::ThreadStack, 30, 4 * PAGE)]
    );
    let faults: Vec<_> = account
        .stacks
        .iter()
        .map(|(id, totals)| (id.0, totals.faults))
        .collect();
    assert_eq!(faults, [(10, 0), (30, 4)]);
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

#[test]
fn a_call_without_a_fault_fills_its_buffer_from_the_first_page_that_is_not_there() {
    let mut story = Story::new();
    const READ: u16 = 0;
    let pin = |story: &mut Story, pages| {
        for _ in 0..pages {
            let at = (A + 2 * PAGE + 16, 0, READ);
            story.moved(stack(40), Member::Anon, 1, Cause::Syscall, at);
        }
    };
    story.map(stack(10), A, 16 * PAGE);
    story.touch(stack(30), A + 3 * PAGE, PAGE);
    pin(&mut story, 3);
    // Another call into the same buffer, after some of it was given back.
    story.advise(MAIN, A + 2 * PAGE, PAGE, libc::MADV_DONTNEED);
    story.gone(MAIN, Member::Anon, PAGE);
    pin(&mut story, 2);
    story.touch(stack(31), A + 7 * PAGE, PAGE);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [
            (by(10), 30, PAGE),
            (by(10), 31, PAGE),
            (by(10), 40, 4 * PAGE)
        ]
    );
    assert_eq!(account.resident_peak.unexplained, 0);
}

#[test]
fn the_address_space_at_its_widest_is_divided_without_remainder() {
    let mut story = Story::new();
    let began = Body::Began {
        mapped: Bytes(9 * PAGE),
        stack: Bytes(2 * PAGE),
    };
    story.event(MAIN, false, began);
    story.map(stack(10), A, 4 * PAGE);
    story.map_as(stack(11), A + 8 * PAGE, 5 * PAGE, STACK, -1, false);
    story.map_as(stack(12), A + 16 * PAGE, 6 * PAGE - 100, PRIVATE, 3, false);
    story.map_as(stack(13), A + 32 * PAGE, 8 * PAGE, ANON, -1, true);
    story.alloc(stack(14), A + 32 * PAGE, 1000);
    story.unmap(MAIN, A, 4 * PAGE);
    let counts = KernelCounts {
        resident_peak: 1,
        // The stack grew by one page, and one page came from nowhere.
        virtual_peak: (9 + 4 + 5 + 6 + 8 + 1 + 1) * PAGE,
        stack: 3 * PAGE,
    };
    story.event(MAIN, false, Body::Exit { status: 0, counts });
    let space = story.finish().space();
    assert_eq!(space.kernel, Bytes(34 * PAGE));
    assert_eq!(
        (space.direct, space.files),
        (Bytes(4 * PAGE), Bytes(6 * PAGE))
    );
    assert_eq!(
        (space.stacks, space.program),
        (Bytes(8 * PAGE), Bytes(7 * PAGE))
    );
    assert_eq!((space.heap, space.allocator), (Bytes(0), 8 * PAGE as i64));
    assert_eq!(space.unseen, PAGE as i64);
}
