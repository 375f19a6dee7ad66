//! What a check corrects, and what it leaves alone.

use super::model::{Op, Pair, ops};
use super::*;
use crate::ledger::image::Image;
use crate::ledger::mappings::END;
use crate::ledger::process::Memory;
use crate::ledger::residency::Page;
use crate::ledger::slot::Slot;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const A: u64 = 0x7f00_0000_0000;
const B: u64 = 0x7f10_0000_0000;
const MAIN: By = By(1, 1, 10);
const MLOCKALL: u16 = 151;

fn stack(stack: u64) -> By {
    By(1, 1, stack)
}

impl Story {
    /// A check that finds anonymous pages in these ranges.
    fn check(&mut self, by: By, runs: &[(u64, u64)]) {
        self.event(by, false, Body::CheckBegin);
        self.end_check(by, runs);
    }

    fn end_check(&mut self, by: By, runs: &[(u64, u64)]) {
        let runs = runs
            .iter()
            .map(|&(at, length)| (at, length, RssCounter::Anon));
        self.end_check_of(by, &runs.collect::<Vec<_>>());
    }

    fn end_check_of(&mut self, by: By, runs: &[(u64, u64, RssCounter)]) {
        for &(address, length, member) in runs {
            let (address, length) = (Address(address), Bytes(length));
            let body = Body::Present {
                address,
                length,
                member,
            };
            self.event(by, false, body);
        }
        self.event(by, false, Body::CheckEnd);
    }
}

#[test]
fn what_reclaim_took_before_the_peak_is_not_in_it() {
    let mut story = Story::new();
    story.map(stack(10), A, 16 * PAGE);
    story.map(stack(20), B, 16 * PAGE);
    story.touch(stack(30), A, 8 * PAGE);
    story.moved(MAIN, RssCounter::Anon, -4, Cause::Remote, (0, 0, u16::MAX));
    story.touch(stack(31), B, 10 * PAGE);
    // Only then somebody looks.
    story.check(MAIN, &[(A + 4 * PAGE, 4 * PAGE), (B, 10 * PAGE)]);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, 4 * PAGE), (by(20), 31, 10 * PAGE)]
    );
    assert_eq!(account.resident_peak.unexplained, 0);
}

#[test]
fn what_reclaim_took_after_the_peak_is_in_it() {
    let mut story = Story::new();
    story.map(stack(10), A, 16 * PAGE);
    story.touch(stack(30), A, 8 * PAGE);
    story.moved(MAIN, RssCounter::Anon, -8, Cause::Remote, (0, 0, u16::MAX));
    story.check(MAIN, &[]);
    story.touch(stack(31), A, 2 * PAGE);
    let account = story.finish();
    assert_eq!(join(&account.resident_peak), [(by(10), 30, 8 * PAGE)]);
    assert_eq!(account.resident_peak.unexplained, 0);
}

/// Some go before the peak and some after it: each is dated, the first to come are the first to go.
#[test]
fn what_goes_in_two_parts_is_dated_in_two_parts() {
    let mut story = Story::new();
    story.map(stack(10), A, 16 * PAGE);
    story.map(stack(20), B, 16 * PAGE);
    story.touch(stack(30), A, 8 * PAGE);
    story.moved(MAIN, RssCounter::Anon, -4, Cause::Remote, (0, 0, u16::MAX));
    story.touch(stack(31), B, 10 * PAGE);
    story.moved(MAIN, RssCounter::Anon, -10, Cause::Remote, (0, 0, u16::MAX));
    story.check(MAIN, &[(B + 6 * PAGE, 4 * PAGE)]);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, 4 * PAGE), (by(20), 31, 10 * PAGE)]
    );
    assert_eq!(account.resident_peak.unexplained, 0);
}

/// A check settles what had gone: what goes later went later.
#[test]
fn a_departure_after_a_check_is_not_dated_before_it() {
    let mut story = Story::new();
    story.map(stack(10), A, 16 * PAGE);
    story.touch(stack(30), A, 8 * PAGE);
    story.moved(MAIN, RssCounter::Anon, -1, Cause::Remote, (0, 0, u16::MAX));
    story.check(MAIN, &[(A + PAGE, 7 * PAGE)]);
    story.touch(stack(31), A + 8 * PAGE, 8 * PAGE);
    story.moved(MAIN, RssCounter::Anon, -15, Cause::Remote, (0, 0, u16::MAX));
    story.check(MAIN, &[]);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, 7 * PAGE), (by(10), 31, 8 * PAGE)]
    );
    assert_eq!(account.resident_peak.unexplained, 0);
}

/// A page of a file where the ledger has an anonymous one is no sign of the anonymous one.
#[test]
fn a_page_of_another_kind_is_another_page() {
    let mut story = Story::new();
    story.map(stack(10), A, 16 * PAGE);
    story.touch(stack(30), A, 4 * PAGE);
    story.moved(MAIN, RssCounter::Anon, -2, Cause::Remote, (0, 0, u16::MAX));
    story.moved(MAIN, RssCounter::File, 2, Cause::Remote, (0, 0, u16::MAX));
    story.event(MAIN, false, Body::CheckBegin);
    let runs = [
        (A, 2 * PAGE, RssCounter::File),
        (A + 2 * PAGE, 2 * PAGE, RssCounter::Anon),
    ];
    story.end_check_of(MAIN, &runs);
    story.touch(stack(31), A + 8 * PAGE, PAGE);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [
            (by(10), StackId::ANOTHER.0, 2 * PAGE),
            (by(10), 30, 2 * PAGE),
            (by(10), 31, PAGE)
        ]
    );
    assert_eq!(account.resident_peak.unexplained, 0);
}

/// A fault where the ledger has a page tells that it had gone, before any check.
#[test]
fn a_page_that_comes_back_is_its_touchers() {
    let mut story = Story::new();
    story.map(stack(10), A, 16 * PAGE);
    story.touch(stack(30), A, 8 * PAGE);
    story.moved(MAIN, RssCounter::Anon, -4, Cause::Remote, (0, 0, u16::MAX));
    story.touch(stack(31), A, 4 * PAGE);
    story.touch(stack(32), A + 8 * PAGE, PAGE);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [
            (by(10), 30, 4 * PAGE),
            (by(10), 31, 4 * PAGE),
            (by(10), 32, PAGE)
        ]
    );
    assert_eq!(account.resident_peak.unexplained, 0);
}

/// Its pages came before the check began, and its place became known while it lasted.
#[test]
fn a_check_while_something_is_populated_takes_nothing_of_it() {
    let mut story = Story::new();
    story.moved(stack(10), RssCounter::Anon, 3, Cause::Syscall, (0, 0, 9));
    story.event(MAIN, false, Body::CheckBegin);
    story.map(stack(10), A, 4 * PAGE);
    story.end_check(MAIN, &[(A, 3 * PAGE)]);
    story.touch(stack(30), A + 3 * PAGE, PAGE);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 10, 3 * PAGE), (by(10), 30, PAGE)]
    );
    assert_eq!(account.resident_peak.unexplained, 0);
}

#[test]
fn pages_that_came_without_an_address_get_their_toucher() {
    let mut story = Story::new();
    story.map(stack(10), A, 16 * PAGE);
    for _ in 0..3 {
        let nowhere = (0, 0, MLOCKALL);
        story.moved(stack(40), RssCounter::Anon, 1, Cause::Syscall, nowhere);
    }
    story.touch(stack(30), A, 2 * PAGE);
    story.check(MAIN, &[(A, 2 * PAGE), (A + 8 * PAGE, 3 * PAGE)]);
    story.touch(stack(30), A + 2 * PAGE, PAGE);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, 3 * PAGE), (by(10), 40, 3 * PAGE)]
    );
    assert_eq!(account.resident_peak.unexplained, 0);
}

/// The reader has passed the place when the pages come; the next check finds them, after the peak.
#[test]
fn what_comes_behind_the_reader_is_found_by_the_next_check() {
    let mut story = Story::new();
    story.map(stack(10), A, 16 * PAGE);
    story.touch(stack(30), A, 2 * PAGE);
    story.event(MAIN, false, Body::CheckBegin);
    let nowhere = (0, 0, MLOCKALL);
    story.moved(stack(40), RssCounter::Anon, 3, Cause::Syscall, nowhere);
    story.end_check(MAIN, &[(A, 2 * PAGE)]);
    story.check(MAIN, &[(A, 2 * PAGE), (A + 8 * PAGE, 3 * PAGE)]);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, 2 * PAGE), (by(10), 40, 3 * PAGE)]
    );
    assert_eq!(account.resident_peak.unexplained, 0);
}

/// `mlockall` brings single pages, more than are told apart, and the check comes after the peak.
#[test]
fn many_growths_find_their_places_and_times() {
    const PAGES: u64 = 100_000;
    let mut story = Story::new();
    story.map(stack(10), A, PAGES * PAGE);
    for page in 0..PAGES {
        let toucher = stack(40 + page * 2 / PAGES);
        let nowhere = (0, 0, MLOCKALL);
        story.moved(toucher, RssCounter::Anon, 1, Cause::Syscall, nowhere);
    }
    story.check(MAIN, &[(A, PAGES * PAGE)]);
    let account = story.finish();
    let touched = join(&account.resident_peak);
    let [first, second] = touched[..] else {
        panic!("two touchers, not {touched:?}");
    };
    assert_eq!((first.1, second.1), (40, 41));
    assert_eq!(first.2 + second.2, PAGES * PAGE);
    assert!(first.2.abs_diff(PAGES / 2 * PAGE) <= PAGES / 4000 * PAGE);
    assert_eq!(account.resident_peak.unexplained, 0);
}

#[test]
fn a_page_in_the_wrong_place_moves_with_its_toucher() {
    let mut story = Story::new();
    story.map(stack(10), A, 16 * PAGE);
    story.map(stack(20), B, 16 * PAGE);
    story.touch(stack(30), A, 2 * PAGE);
    story.check(MAIN, &[(A, PAGE), (B, PAGE)]);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, PAGE), (by(20), 30, PAGE)]
    );
}

#[test]
fn what_happens_during_a_check_contradicts_nothing() {
    let mut story = Story::new();
    story.map(stack(10), A, 16 * PAGE);
    story.touch(stack(30), A, 4 * PAGE);
    // A discard under way when it begins, an unmapping while it lasts, a touch as well.
    story.advise(By(1, 2, 50), A, PAGE, libc::MADV_DONTNEED);
    story.event(MAIN, false, Body::CheckBegin);
    story.unmap(MAIN, A + PAGE, PAGE);
    story.touch(stack(31), A + 8 * PAGE, PAGE);
    // The reader saw the first two before they went, and the last before it came.
    story.end_check(MAIN, &[(A, 4 * PAGE)]);
    story.gone(MAIN, RssCounter::Anon, 2 * PAGE);
    story.touch(stack(31), A + 9 * PAGE, 4 * PAGE);
    let account = story.finish();
    assert_eq!(
        join(&account.resident_peak),
        [(by(10), 30, 2 * PAGE), (by(10), 31, 5 * PAGE)]
    );
    assert_eq!(account.resident_peak.unexplained, 0);
}

#[test]
fn while_a_mapping_moves_no_check_is_believed() {
    let mut story = Story::new();
    story.map(stack(10), A, 4 * PAGE);
    story.touch(stack(30), A, 4 * PAGE);
    story.event(MAIN, false, Body::CheckBegin);
    story.remap(MAIN, (A, 4 * PAGE), (B, 4 * PAGE), 1);
    story.end_check(MAIN, &[(A, 4 * PAGE)]);
    let account = story.finish();
    assert_eq!(join(&account.resident_peak), [(by(10), 30, 4 * PAGE)]);
    assert_eq!(account.oddities, Default::default());
}

/// Nobody can make a check bring more than the kernel counts, or than events can have brought.
#[test]
fn a_check_brings_no_more_than_is_counted() {
    let mut story = Story::new();
    story.map(stack(10), A, 1 << 40);
    story.moved(MAIN, RssCounter::Anon, 2, Cause::End, (0, 0, 0));
    story.touch(stack(30), A, PAGE);
    story.check(MAIN, &[(A, 1 << 40)]);
    let image = only(&story.ledger);
    assert!(pages(image).len() <= 3);
}

fn only(ledger: &Ledger) -> &Image {
    match &ledger.processes[0].memory {
        Memory::Own(image) => image,
        other => panic!("{other:?}"),
    }
}

/// Addresses of all resident pages, but for those of mappings that are just being made.
fn pages(image: &Image) -> BTreeMap<u64, RssCounter> {
    let pages = image.pages.at(
        crate::ledger::history::Which::Resident,
        crate::ledger::history::Moment(u64::MAX),
    );
    let address = |slot: Slot| {
        let mut pieces = image.mappings.parts(&(Address(0)..END));
        let piece = pieces.find(|piece| piece.slots().contains(&slot));
        match piece {
            Some(piece) => Some((piece.start + Bytes((slot - piece.slot) * PAGE)).0),
            None => (slot < Slot::FIRST).then_some(slot.address().0),
        }
    };
    let page = |page: &Page| Some((address(page.slot)?, page.backing.member()));
    pages.iter().filter_map(page).collect()
}

fn images(pair: &Pair) -> Vec<(u32, &Image)> {
    let processes = pair.story.ledger.processes.iter();
    processes
        .filter_map(|process| match &process.memory {
            Memory::Own(image) if !image.is_moving() => Some((process.account.pid.0, &**image)),
            _ => None,
        })
        .collect()
}

fn run(ops: &[Op]) -> Pair {
    let mut pair = Pair::new();
    ops.iter().for_each(|&op| pair.apply(op));
    pair
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// After any history, a check leaves no page that it did not find.
    #[test]
    fn what_is_absent_goes(history in ops(200), found in prop::collection::btree_set(0..80_u64, 0..40)) {
        let mut pair = run(&history);
        let before: Vec<_> = images(&pair).iter().map(|(pid, image)| (*pid, pages(image), image.being_taken())).collect();
        for (pid, had, taking) in before {
            let by = By(pid, 9, 9);
            let taken = |at: u64| taking.iter().any(|range| range.contains(&Address(at)));
            let runs: Vec<_> = found.iter().map(|page| {
                let at = super::model::BASE + page * PAGE;
                (at, PAGE, had.get(&at).copied().unwrap_or(RssCounter::Anon))
            }).collect();
            pair.story.event(by, false, Body::CheckBegin);
            pair.story.end_check_of(by, &runs);
            let found: BTreeSet<u64> = runs.iter().map(|run| run.0).collect();
            let (_, image) = images(&pair).into_iter().find(|(at, _)| *at == pid).expect("still there");
            let has: BTreeSet<u64> = pages(image).into_keys().collect();
            let had: BTreeSet<u64> = had.into_keys().collect();
            prop_assert!(has.is_subset(&found));
            // What it had and found stays, but where a call is just taking it.
            prop_assert!(had.intersection(&found).all(|&at| has.contains(&at) || taken(at)));
        }
    }

    /// A check that finds just what is there changes nothing, at either peak.
    #[test]
    fn a_check_that_agrees_changes_nothing(history in ops(200)) {
        let (mut checked, plain) = (run(&history), run(&history));
        let runs: Vec<_> = images(&checked).iter().map(|(pid, image)| {
            (*pid, pages(image).into_iter().map(|(at, member)| (at, PAGE, member)).collect::<Vec<_>>())
        }).collect();
        for (pid, runs) in runs {
            let taking = images(&checked).iter().any(|(at, image)| *at == pid && !image.being_taken().is_empty());
            if !taking {
                checked.story.event(By(pid, 9, 0), false, Body::CheckBegin);
                checked.story.end_check_of(By(pid, 9, 0), &runs);
            }
        }
        let (checked, plain) = (checked.story.finish(), plain.story.finish());
        prop_assert_eq!(checked.resident_peak, plain.resident_peak);
        prop_assert_eq!(checked.reserved_peak, plain.reserved_peak);
        prop_assert_eq!(checked.oddities, plain.oddities);
    }
}
