//! Stacks grouped by location: what tables and `stats.json` list.

use super::Concluded;
use super::location::Location;
use super::text::percent;
use crate::ledger::account::{Reserver, Snapshot};
use crate::units::{Bytes, Nanos, StackId};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// What part of what was reserved is resident, at one moment (the resident peak). A page may
/// hold more than was asked for of it: no more than all of it is touched.
pub(super) fn touched(resident: Bytes, reserved_then: Bytes) -> String {
    percent(resident.0.min(reserved_then.0), reserved_then.0)
}

/// Every location, the largest reserved at the peak first; then by resident
/// bytes, bytes over the run, name.
pub(super) fn locations(input: &Concluded) -> &[Location] {
    input.locations.get_or_init(|| group(input))
}

fn group(input: &Concluded) -> Vec<Location> {
    let mut groups = Groups::new(input);
    let account = &input.account;
    for &(id, totals) in &account.stacks {
        if totals.calls > 0 || totals.mapping_calls > 0 || totals.leaked_allocs > 0 {
            let location = groups.of(id, Role::Reserver);
            location.calls += totals.calls;
            location.size += totals.bytes;
            location.leaked += totals.leaked;
            location.mapping_calls += totals.mapping_calls;
            add_time(&mut location.mapping_time, totals.mapping_time);
        }
        if totals.faults > 0 {
            let location = groups.of(id, Role::Toucher);
            location.faults += totals.faults;
            add_time(&mut location.fault_time, totals.fault_time);
        }
    }
    for &(id, bytes) in &account.reserved_peak.by_reserver {
        groups.of(id, Role::Reserver).reserved += bytes;
    }
    for &(id, bytes) in &account.resident_peak.by_reserver {
        groups.of(id, Role::Reserver).reserved_then += bytes;
    }
    for &(reserver, bytes) in &account.resident_peak.resident_by_reserver {
        if let Reserver::Stack(id) = reserver {
            groups.of(id, Role::Reserver).resident += bytes;
        }
    }
    let mut most: FxHashMap<usize, (Bytes, Reverse<StackId>)> = FxHashMap::default();
    for &(id, bytes) in &account.resident_peak.resident_by_toucher {
        let index = groups.index(id, Role::Toucher);
        groups.locations[index].touched += bytes;
        let most = most.entry(index).or_default();
        *most = (*most).max((bytes, Reverse(id)));
        groups.locations[index].touching = most.1.0;
    }
    groups.add_touchers(&account.resident_peak);
    groups.choose_stacks();
    let mut locations = groups.locations;
    locations.sort_by_cached_key(|l| {
        let bytes = (l.reserved, l.resident, l.size, l.touched);
        (Reverse(bytes), l.frame.to_string())
    });
    locations
}

fn add_time(sum: &mut Nanos, more: Nanos) {
    sum.0 = sum.0.saturating_add(more.0);
}

/// The rows that a table has room for, and the rest, by the larger of their two figures.
/// Whatever is more than its share (of twelve rows a twelfth) of all that is reserved, or
/// of all that is resident, is shown by turns first: what is resident is often far less
/// than what is reserved, and neither may hide the other.
pub(super) fn largest<'l>(
    input: &Concluded,
    rows: Vec<&'l Location>,
    room: usize,
) -> (Vec<&'l Location>, Vec<&'l Location>) {
    let account = &input.account;
    let (reserved, resident) = (
        account.reserved_peak.reserved,
        account.resident_peak.resident,
    );
    let figures: [(Figure, Bytes); 2] = [(|l| l.reserved, reserved), (|l| l.resident, resident)];
    let mut orders = figures.map(|(figure, whole)| {
        let share = Bytes(whole.0 / room.max(1) as u64).max(Bytes(1));
        let mut order: Vec<usize> = (0..rows.len())
            .filter(|&at| figure(rows[at]) >= share)
            .collect();
        order.sort_by_key(|&at| (Reverse(figure(rows[at])), at));
        order.into_iter()
    });
    let mut chosen = vec![false; rows.len()];
    let mut count = 0;
    let mut choose = |at: usize, chosen: &mut Vec<bool>| {
        if count < room && !chosen[at] {
            chosen[at] = true;
            count += 1;
        }
    };
    loop {
        let [by_reserved, by_resident] = &mut orders;
        let next = [by_reserved.next(), by_resident.next()];
        if next == [None, None] {
            break;
        }
        next.into_iter()
            .flatten()
            .for_each(|at| choose(at, &mut chosen));
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&at| (Reverse(rows[at].reserved.max(rows[at].resident)), at));
    order.iter().for_each(|&at| choose(at, &mut chosen));
    let (shown, rest): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|&at| chosen[at]);
    let rows = |order: Vec<usize>| order.into_iter().map(|at| rows[at]).collect();
    (rows(shown), rows(rest))
}

/// A figure of a location.
type Figure = fn(&Location) -> Bytes;

/// What several locations come to.
pub(super) fn sum(rows: &[&Location]) -> Location {
    let bytes = |of: fn(&Location) -> Bytes| rows.iter().map(|l| of(l)).sum::<Bytes>();
    Location {
        calls: rows.iter().map(|l| l.calls).sum(),
        size: bytes(|l| l.size),
        reserved: bytes(|l| l.reserved),
        resident: bytes(|l| l.resident),
        reserved_then: bytes(|l| l.reserved_then),
        touched: bytes(|l| l.touched),
        leaked: bytes(|l| l.leaked),
        ..Location::default()
    }
}

/// What a stack stands for: who reserved, or who touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Role {
    Reserver,
    Toucher,
}

struct Groups<'a> {
    input: &'a Concluded,
    locations: Vec<Location>,
    by_name: FxHashMap<String, usize>,
    by_stack: FxHashMap<(StackId, Role), usize>,
}

impl<'a> Groups<'a> {
    fn new(input: &'a Concluded) -> Self {
        Self {
            input,
            locations: Vec::new(),
            by_name: FxHashMap::default(),
            by_stack: FxHashMap::default(),
        }
    }

    fn index(&mut self, id: StackId, role: Role) -> usize {
        if let Some(&index) = self.by_stack.get(&(id, role)) {
            return index;
        }
        let frame = match role {
            Role::Reserver => self.input.symbols.location(id),
            Role::Toucher => self.input.symbols.toucher(id),
        };
        let next = self.locations.len();
        let index = *self.by_name.entry(frame.to_string()).or_insert(next);
        if index == next {
            self.locations.push(Location {
                frame: frame.clone(),
                stack: id,
                ..Location::default()
            });
        }
        self.by_stack.insert((id, role), index);
        index
    }

    fn of(&mut self, id: StackId, role: Role) -> &mut Location {
        let index = self.index(id, role);
        &mut self.locations[index]
    }

    fn add_touchers(&mut self, snapshot: &Snapshot) {
        let mut sums: FxHashMap<(usize, usize), Bytes> = FxHashMap::default();
        for &(reserver, toucher, bytes) in &snapshot.by_reserver_and_toucher {
            if let Reserver::Stack(reserver) = reserver {
                let key = (
                    self.index(reserver, Role::Reserver),
                    self.index(toucher, Role::Toucher),
                );
                *sums.entry(key).or_default() += bytes;
            }
        }
        for ((reserver, toucher), bytes) in sums {
            let name = self.locations[toucher].frame.to_string();
            self.locations[reserver].touchers.push((name, bytes));
        }
        for location in &mut self.locations {
            location
                .touchers
                .sort_by(|a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
        }
    }

    /// Of the stacks of a location, the one with the most reserved at the peak,
    /// then the most over the run, then the smallest id.
    fn choose_stacks(&mut self) {
        let account = &self.input.account;
        let mut weights: FxHashMap<StackId, (Bytes, Bytes)> = FxHashMap::default();
        for &(id, totals) in &account.stacks {
            weights.entry(id).or_default().1 += totals.bytes;
        }
        for &(id, bytes) in &account.reserved_peak.by_reserver {
            weights.entry(id).or_default().0 += bytes;
        }
        let weight = |id: StackId| (weights.get(&id).copied().unwrap_or_default(), Reverse(id));
        for (&(id, _), &index) in &self.by_stack {
            let location = &mut self.locations[index];
            if weight(id) > weight(location.stack) {
                location.stack = id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::account::Account;
    use crate::reports::Run;
    use crate::symbols::SymbolTable;
    use crate::units::Nanos;
    use std::sync::OnceLock;

    const MIB: u64 = 1 << 20;

    /// Rows of (reserved, resident); which of them are shown in how many.
    fn shown(rows: &[(u64, u64)], resident: u64, room: usize) -> (Vec<(u64, u64)>, Location) {
        let location = |&(reserved, resident): &(u64, u64)| Location {
            reserved: Bytes(reserved),
            resident: Bytes(resident),
            calls: 1,
            ..Location::default()
        };
        let rows: Vec<Location> = rows.iter().map(location).collect();
        let mut account = Account::default();
        account.reserved_peak.reserved = rows.iter().map(|row| row.reserved).sum();
        account.resident_peak.resident = Bytes(resident);
        let input = Concluded {
            run: Run::default(),
            account,
            symbols: SymbolTable::default(),
            lost: Vec::new(),
            complete: true,
            marks: Vec::new(),
            marks_total: 0,
            cut: None,
            began: Nanos(0),
            torn: None,
            locations: OnceLock::new(),
        };
        let (shown, rest) = largest(&input, rows.iter().collect(), room);
        let figures = shown.iter().map(|row| (row.reserved.0, row.resident.0));
        (figures.collect(), sum(&rest))
    }

    #[test]
    fn the_largest_resident_is_shown_however_much_is_reserved() {
        let mut rows = vec![(100 * MIB, 0); 14];
        rows.push((0, 40 * MIB));
        rows.push((MIB, 20 * MIB));
        let (first, rest) = shown(&rows, 70 * MIB, 12);
        assert_eq!(first.len(), 12);
        assert_eq!(first[10..], [(0, 40 * MIB), (MIB, 20 * MIB)]);
        assert_eq!((rest.reserved, rest.calls), (Bytes(400 * MIB), 4));
        assert_eq!(rest.resident, Bytes::ZERO);
    }

    #[test]
    fn what_is_less_than_its_share_of_either_gives_way() {
        let mut rows = vec![(MIB, 4096); 12];
        rows.push((98_760, 98_760));
        let (first, rest) = shown(&rows, 2 * MIB, 12);
        assert_eq!(first, vec![(MIB, 4096); 12]);
        assert_eq!(rest.reserved, Bytes(98_760));
    }

    #[test]
    fn each_row_is_shown_once_and_none_is_lost() {
        let rows = [(5, 5), (3, 9), (0, 1), (7, 0)];
        let (first, rest) = shown(&rows, 15, 9);
        assert_eq!(first, [(3, 9), (7, 0), (5, 5), (0, 1)]);
        assert_eq!(rest, Location::default());
        assert!(shown(&[], 0, 12).0.is_empty());
        assert!(shown(&rows, 15, 0).0.is_empty());
    }
}
