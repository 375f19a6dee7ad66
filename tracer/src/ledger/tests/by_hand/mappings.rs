//! The address space.

use super::*;

#[test]
fn unmapping_in_part_and_mapping_over() {
    let mut story = Story::new();
    story.map(stack(10), A, 64 * PAGE);
    story.touch(stack(30), A, 32 * PAGE);
    story.unmap(MAIN, A + 8 * PAGE, 16 * PAGE);
    story.gone(MAIN, RssCounter::Anon, 16 * PAGE);
    story.map_as(stack(20), A + 2 * PAGE, 4 * PAGE, ANON | FIXED, -1, false);
    story.gone(MAIN, RssCounter::Anon, 4 * PAGE);
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
    story.gone(MAIN, RssCounter::Anon, 5 * PAGE);
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
    story.gone(MAIN, RssCounter::Anon, 4 * PAGE);
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
    let heap = |story: &mut Story, thread, at| {
        let (address, length) = (Address(at), Bytes(128 * MIB));
        let body = Body::Map {
            address,
            length,
            offset: 0,
            prot: 0,
            flags: 0x4022,
            fd: -1,
        };
        story.event(By(1, thread, 20), false, body);
    };
    let mut story = Story::new();
    heap(&mut story, 1, A); // no block was ever seen: what else should it be
    story.alloc(stack(10), 0x1000, 1);
    story.alloc(stack(10), 0x2000, 1);
    heap(&mut story, 1, A + 256 * MIB); // of a thread that has its arena
    story.free(By(1, 2, 30), 0x1000);
    heap(&mut story, 2, B); // in the thread's first call
    story.alloc(By(1, 2, 11), 0x3000, 2);
    heap(&mut story, 2, B + 256 * MIB); // and after it
    let peak = story.finish().reserved_peak;
    assert_eq!(reserved(&peak), [(10, 1), (11, 2), (20, 3 * 128 * MIB)]);
    assert_eq!(peak.arenas, Bytes(128 * MIB));
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
