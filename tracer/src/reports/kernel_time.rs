//! Where the kernel's time went: memory system calls and page faults beside what the
//! command used in all.

use super::Concluded;
use super::location::Location;
use super::text::{count, seconds};
use crate::ledger::account::Account;
use serde::Serialize;
use std::cmp::Reverse;

/// Locations that are listed.
const TOP: usize = 50;

/// `kernel_time` in `stats.json`.
#[derive(Serialize)]
pub(super) struct KernelTime {
    user_ns: Option<u64>,
    system_ns: Option<u64>,
    mapping_calls: u64,
    mapping_ns: u64,
    faults: u64,
    kernel_faults: u64,
    fault_ns: u64,
    calls: Vec<Call>,
    top: Vec<TimeByLocation>,
}

#[derive(Serialize)]
struct Call {
    syscall: String,
    calls: u64,
    failed: u64,
    ns: u64,
}

#[derive(Serialize)]
struct TimeByLocation {
    location: String,
    mapping_calls: u64,
    mapping_ns: u64,
    faults: u64,
    fault_ns: u64,
}

/// Everything about it as data.
pub(super) fn kernel_time(input: &Concluded, locations: &[Location]) -> KernelTime {
    let account = &input.account;
    let (mapping_calls, mapping_ns) = mapping(account);
    let calls = by_time(account).into_iter().map(|(number, totals)| Call {
        syscall: name(number),
        calls: totals.calls,
        failed: totals.failed,
        ns: totals.time.0,
    });
    KernelTime {
        user_ns: account.usage.map(|usage| usage.user.0),
        system_ns: account.usage.map(|usage| usage.system.0),
        mapping_calls,
        mapping_ns,
        faults: account.faults.user.saturating_add(account.faults.kernel),
        kernel_faults: account.faults.kernel,
        fault_ns: account.faults.time.0,
        calls: calls.collect(),
        top: slowest(locations)
            .into_iter()
            .take(TOP)
            .map(place)
            .collect(),
    }
}

fn place(location: &Location) -> TimeByLocation {
    TimeByLocation {
        location: location.frame.to_string(),
        mapping_calls: location.mapping_calls,
        mapping_ns: location.mapping_time.0,
        faults: location.faults,
        fault_ns: location.fault_time.0,
    }
}

/// Locations by the time that the kernel spent for them, the longest first.
pub(super) fn slowest(locations: &[Location]) -> Vec<&Location> {
    let time = |l: &Location| l.mapping_time.0.saturating_add(l.fault_time.0);
    let mut rows: Vec<&Location> = locations
        .iter()
        .filter(|l| l.mapping_calls > 0 || l.faults > 0)
        .collect();
    rows.sort_by_cached_key(|l| (Reverse(time(l)), l.frame.to_string()));
    rows
}

/// Memory system calls by time, the longest first.
fn by_time(account: &Account) -> Vec<(u16, crate::ledger::account::CallTotals)> {
    let mut calls = account.calls.clone();
    calls.sort_by_key(|&(number, totals)| (Reverse(totals.time), number));
    calls
}

fn mapping(account: &Account) -> (u64, u64) {
    account.calls.iter().fold((0, 0), |(calls, time), (_, c)| {
        (calls + c.calls, time.saturating_add(c.time.0))
    })
}

/// One sentence for the totals.
pub(super) fn sentence(account: &Account) -> String {
    let (calls, time) = mapping(account);
    let faults = account.faults.user.saturating_add(account.faults.kernel);
    let known = format!(
        "{} in {} memory calls, {} in {} page faults",
        seconds(time),
        count(calls),
        seconds(account.faults.time.0),
        count(faults)
    );
    match account.usage {
        Some(usage) => format!(
            "user {}, system {}, the probes' own time included; of wall time {known}",
            seconds(usage.user.0),
            seconds(usage.system.0)
        ),
        None => format!("of wall time {known}"),
    }
}

/// The sentence behind it: which calls.
pub(super) fn which_calls(account: &Account) -> Option<String> {
    let calls = by_time(account);
    let texts = calls.iter().take(6).map(|&(number, totals)| {
        let time = seconds(totals.time.0);
        format!("{} {} in {time}", count(totals.calls), name(number))
    });
    let texts: Vec<_> = texts.collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// Name of a system call of x86-64 that the probes follow.
fn name(number: u16) -> String {
    match number {
        9 => "mmap",
        10 => "mprotect",
        11 => "munmap",
        12 => "brk",
        25 => "mremap",
        28 => "madvise",
        30 => "shmat",
        67 => "shmdt",
        149 => "mlock",
        150 => "munlock",
        151 => "mlockall",
        152 => "munlockall",
        325 => "mlock2",
        329 => "pkey_mprotect",
        other => return format!("syscall {other}"),
    }
    .to_owned()
}
