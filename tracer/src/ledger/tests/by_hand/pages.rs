//! Which pages a change makes resident.

use super::*;

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
    story.gone(MAIN, RssCounter::Anon, 4 * PAGE);
    story.touch(stack(31), A, 4 * PAGE);
    story.map(stack(10), B, PAGE);
    story.touch(stack(31), B, PAGE);
    assert_eq!(
        join(&story.finish().resident_peak),
        [(by(10), 31, 5 * PAGE)]
    );
}

#[test]
fn huge_pages_fault_around_and_copies_on_write() {
    let mut story = Story::new();
    story.map(stack(10), A + MIB, 8 * MIB);
    // The mapping begins in the middle of a huge page; the fault is in the next one.
    story.moved(
        stack(30),
        RssCounter::Anon,
        512,
        Cause::UserFault,
        (A + 2 * MIB + 5, 6, u16::MAX),
    );
    story.map_as(stack(20), B, 20 * PAGE, PRIVATE, 3, false);
    let fault = |story: &mut Story, by, member, pages, at, code| {
        story.moved(by, member, pages, Cause::UserFault, (at, code, u16::MAX));
    };
    fault(&mut story, stack(31), RssCounter::File, 16, B + 5 * PAGE, 4);
    fault(&mut story, stack(32), RssCounter::File, 4, B + 17 * PAGE, 4);
    // A write to a present page: one file page less, one anonymous page more.
    fault(&mut story, stack(33), RssCounter::File, -1, B, 7);
    fault(&mut story, stack(33), RssCounter::Anon, 1, B, 7);
    fault(&mut story, stack(34), RssCounter::Anon, 1, B + 64 * PAGE, 6); // elsewhere: the image's
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
        story.moved(stack(10), RssCounter::Anon, 1, Cause::Syscall, (0, 0, 9));
    }
    story.map(stack(10), A, 4 * PAGE);
    story.map(stack(11), B, 8 * PAGE);
    story.touch(stack(30), B + 3 * PAGE, PAGE);
    // mlock: the address that the call works on comes along.
    for _ in 0..4 {
        story.moved(
            stack(31),
            RssCounter::Anon,
            1,
            Cause::Syscall,
            (B + 2 * PAGE, 0, 149),
        );
    }
    story.advise(stack(32), B, 8 * PAGE, 23);
    story.moved(stack(32), RssCounter::Anon, 1, Cause::Syscall, (0, 0, 28));
    story.moved(stack(32), RssCounter::Anon, 2, Cause::Syscall, (0, 0, 28));
    // Of something unknown: said to be so.
    story.moved(stack(33), RssCounter::Anon, 5, Cause::Syscall, (0, 0, 200));
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
fn a_call_without_a_fault_fills_its_buffer_from_the_first_page_that_is_not_there() {
    let mut story = Story::new();
    const READ: u16 = 0;
    let pin = |story: &mut Story, pages| {
        for _ in 0..pages {
            let at = (A + 2 * PAGE + 16, 0, READ);
            story.moved(stack(40), RssCounter::Anon, 1, Cause::Syscall, at);
        }
    };
    story.map(stack(10), A, 16 * PAGE);
    story.touch(stack(30), A + 3 * PAGE, PAGE);
    pin(&mut story, 3);
    // Another call into the same buffer, after some of it was given back.
    story.advise(MAIN, A + 2 * PAGE, PAGE, libc::MADV_DONTNEED);
    story.gone(MAIN, RssCounter::Anon, PAGE);
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
fn huge_pages_of_hugetlbfs_are_counted_apart() {
    let mut story = Story::new();
    let huge = |story: &mut Story, by, pages: i64, cause, at| {
        story.moved(
            by,
            RssCounter::HugeTlb,
            pages * 512,
            cause,
            (at, 6, u16::MAX),
        );
    };
    story.map(stack(10), A, 8 * MIB);
    story.touch(stack(31), B, PAGE);
    huge(&mut story, stack(30), 1, Cause::UserFault, A);
    huge(&mut story, stack(30), 1, Cause::UserFault, A + 2 * MIB);
    story.unmap(MAIN, A, 8 * MIB);
    huge(&mut story, MAIN, -2, Cause::Syscall, A);
    story.map(stack(11), B + 8 * MIB, 2 * MIB);
    huge(&mut story, stack(11), 1, Cause::Syscall, B + 8 * MIB);
    let account = story.finish();
    assert_eq!(account.hugetlb.peak, Bytes(4 * MIB));
    let brought = |reserver, toucher, bytes| (StackId(reserver), StackId(toucher), Bytes(bytes));
    assert_eq!(
        account.hugetlb.brought,
        [brought(10, 30, 4 * MIB), brought(11, 11, 2 * MIB)]
    );
    assert_eq!(account.resident_peak.resident, Bytes(PAGE));
}

/// The peak is before the call returns: what has come has its owner already.
#[test]
fn populated_and_given_back_at_once() {
    let mut story = Story::new();
    for _ in 0..3 {
        story.moved(stack(10), RssCounter::Anon, 2, Cause::Syscall, (0, 0, 9));
    }
    story.map(stack(10), A, 6 * PAGE);
    story.unmap(stack(11), A, 6 * PAGE);
    story.gone(stack(11), RssCounter::Anon, 6 * PAGE);
    let account = story.finish();
    assert_eq!(join(&account.resident_peak), [(by(10), 10, 6 * PAGE)]);
    assert_eq!(reserved(&account.resident_peak), [(10, 6 * PAGE)]);
    assert_eq!(reserved(&account.reserved_peak), [(10, 6 * PAGE)]);
    assert_eq!(account.resident_peak.unexplained, 0);
}

/// What lay there went before the first page came: it is not in the peak.
#[test]
fn populated_over_what_was_there() {
    let mut story = Story::new();
    story.map(stack(10), A, 4 * PAGE);
    story.touch(stack(30), A, 3 * PAGE);
    story.moved(stack(11), RssCounter::Anon, -3, Cause::Syscall, (0, 0, 9));
    story.moved(stack(11), RssCounter::Anon, 4, Cause::Syscall, (0, 0, 9));
    story.map_as(stack(11), A, 4 * PAGE, ANON | FIXED, -1, false);
    let account = story.finish();
    assert_eq!(join(&account.resident_peak), [(by(11), 11, 4 * PAGE)]);
    assert_eq!(account.resident_peak.unexplained, 0);
}

/// The aligned window around the touch, where it is empty; where it is not, the page alone.
#[test]
fn a_huge_page_of_a_medium_size() {
    let mut story = Story::new();
    story.map(stack(10), A, 64 * PAGE);
    let touch = |story: &mut Story, by, at| {
        story.moved(
            by,
            RssCounter::Anon,
            16,
            Cause::UserFault,
            (at, 6, u16::MAX),
        );
    };
    touch(&mut story, stack(30), A + 21 * PAGE);
    story.touch(stack(31), A + 33 * PAGE, PAGE);
    touch(&mut story, stack(32), A + 40 * PAGE);
    story.unmap(MAIN, A + 16 * PAGE, 16 * PAGE);
    story.gone(MAIN, RssCounter::Anon, 16 * PAGE);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [
            (by(10), 30, 16 * PAGE),
            (by(10), 31, PAGE),
            (by(10), 32, PAGE),
            (Reserver::Unknown, 0, 15 * PAGE),
        ]
    );
}

#[test]
fn what_grows_downwards_is_reserved_as_far_as_it_was_touched() {
    let mut story = Story::new();
    story.map_as(stack(10), A, 4 * PAGE, ANON | GROWSDOWN, -1, false);
    story.touch(stack(30), A - 3 * PAGE, PAGE);
    story.touch(stack(31), A - PAGE, 2 * PAGE);
    let account = story.finish();
    assert_eq!(reserved(&account.reserved_peak), [(10, 7 * PAGE)]);
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, PAGE), (by(10), 31, 2 * PAGE)]
    );
}

/// A window that its mapping cuts at the beginning is as long as others.
#[test]
fn a_window_at_the_beginning_of_a_mapping() {
    let mut story = Story::new();
    story.map_as(stack(10), A + 5 * PAGE, 64 * PAGE, PRIVATE, 3, false);
    let at = (A + 7 * PAGE, 4, u16::MAX);
    story.moved(stack(30), RssCounter::File, 16, Cause::UserFault, at);
    // What came there comes from nowhere else.
    story.unmap(MAIN, A + 5 * PAGE, 16 * PAGE);
    story.gone(MAIN, RssCounter::File, 16 * PAGE);
    let at = (A + 33 * PAGE, 4, u16::MAX);
    story.moved(stack(31), RssCounter::File, 17, Cause::UserFault, at);
    let account = story.finish();
    assert_eq!(account.resident_peak.unexplained, 0);
    assert_eq!(join(&account.resident_peak), [(by(10), 31, 17 * PAGE)]);
}
