//! The sentences that the terminal summary and `top.md` share: totals beside
//! the kernel's own figures, losses, contradictions.

use super::location::Location;
use super::locations::largest;
use super::stacks::{sentence, stack_ends};
use super::text::{Line, count, percent, printable, seconds};
use super::{Concluded, Run, kernel_time, limits, marks};
use crate::ledger::account::{Account, ProcessAccount};
use crate::units::{Bytes, Nanos};
use std::collections::BTreeMap;

/// What stands before a degradation.
const LESS_EXACT: &str = "less exact";

/// Totals, in the order in which they are read.
pub(super) fn totals(input: &Concluded) -> Vec<Line> {
    let account = &input.account;
    let mut lines = marks::lines(input);
    lines.extend(of_memory(input));
    // The kernel's are of whole runs.
    if input.cut.is_none() {
        lines.push(("kernel", kernel(account)));
        lines.extend(limits::lines(input));
        lines.push(("virtual", address_space(account)));
    }
    lines.extend([
        ("unexplained", unexplained(input)),
        (
            "allocations",
            format!(
                "{} of {} in all; {} freed",
                count(account.allocs),
                account.alloc_bytes,
                count(account.frees)
            ),
        ),
        ("not freed", leaked(account)),
        ("time", kernel_time::sentence(account)),
        ("stacks", sentence(&stack_ends(input))),
    ]);
    if let Some(text) = kernel_time::which_calls(account) {
        lines.push(("calls", text));
    }
    if account.hugetlb.peak > Bytes::ZERO {
        let text = format!(
            "{} of hugetlbfs at most, which neither resident memory nor VmHWM counts",
            account.hugetlb.peak
        );
        lines.push(("huge pages", text));
    }
    if account.processes.len() > 1 {
        lines.push(("processes", processes(input)));
    }
    if let Some(text) = outlived(input) {
        lines.push(("still running", text));
    }
    lines
}

/// The two peaks.
fn of_memory(input: &Concluded) -> Vec<Line> {
    let account = &input.account;
    let (reserved, resident) = (&account.reserved_peak, &account.resident_peak);
    if !input.run.counts_pages() {
        let text = format!(
            "peak {} at {} (heap {}, mappings {})",
            reserved.reserved,
            at(account, reserved.at),
            reserved.heap,
            reserved.mappings
        );
        let unknown = format!("not followed here, see {} below", Run::NO_RSS_STAT);
        return vec![("reserved", text), ("resident", unknown)];
    }
    vec![
        (
            "reserved",
            format!(
                "peak {} at {} (heap {}, mappings {}); resident then {}",
                reserved.reserved,
                at(account, reserved.at),
                reserved.heap,
                reserved.mappings,
                reserved.resident
            ),
        ),
        (
            "resident",
            format!(
                "peak {} at {} (anon {}, file {}, shmem {}; slack {} among them)",
                resident.resident,
                at(account, resident.at),
                resident.anon,
                resident.file,
                resident.shmem,
                resident.slack
            ),
        ),
    ]
}

/// Rows of a table whose names are looked at.
const LOOKED_AT: usize = 12;

/// What helps where the largest locations have no names.
pub(super) fn nameless(input: &Concluded, all: &[Location]) -> Option<Line> {
    let rows: Vec<&Location> = all
        .iter()
        .filter(|l| l.reserved.max(l.resident) > Bytes::ZERO)
        .collect();
    let (rows, _) = largest(input, rows, LOOKED_AT);
    let mut modules: Vec<&str> = Vec::new();
    let mut count = 0;
    for row in rows {
        if let (None, Some(module)) = (&row.frame.function, &row.frame.module) {
            count += 1;
            if !modules.contains(&module.as_str()) {
                modules.push(module);
            }
        }
    }
    let names: Vec<String> = modules.iter().map(|name| printable(name)).collect();
    let verb = if count == 1 { "has" } else { "have" };
    let text = format!(
        "{count} of the largest locations {verb} none, for want of symbols in {}: the packages \
         with their debug symbols (…-dbgsym, …-debuginfo) bring them, or DEBUGINFOD_URLS",
        names.join(", ")
    );
    (count > 0).then_some(("names", text))
}

/// How many there were, and which was the largest.
fn processes(input: &Concluded) -> String {
    let all = &input.account.processes;
    let most = (0..all.len()).rev().max_by_key(|&at| all[at].resident_peak);
    let largest = most.map_or_else(String::new, |at| {
        let command = super::processes::line(&input.run, at);
        let command = command.map_or_else(String::new, |command| format!(" ({command})"));
        let process = &all[at];
        let (pid, peak) = (process.pid.0, process.resident_peak);
        format!("; the largest is {pid}{command}, {peak} resident at its peak")
    });
    format!("{}{largest}", count(all.len() as u64))
}

/// Processes that the command left behind, which goes for those of a finished one alone.
fn outlived(input: &Concluded) -> Option<String> {
    /// Processes that are named.
    const NAMED: usize = 3;
    let all = &input.account.processes;
    all.first()?.status?;
    let running = (0..all.len()).filter(|&at| all[at].status.is_none());
    let running: Vec<usize> = running.collect();
    let name = |&at: &usize| {
        let command = super::processes::line(&input.run, at).unwrap_or_default();
        format!("{} {command}", all[at].pid.0).trim_end().to_owned()
    };
    let mut names: Vec<String> = running.iter().take(NAMED).map(name).collect();
    if running.len() > NAMED {
        names.push("…".to_owned());
    }
    let verb = if running.len() == 1 {
        "process outlived"
    } else {
        "processes outlived"
    };
    let text = format!(
        "{} {verb} the command ({}): what they did afterwards is in none of these numbers; \
         --wait follows them to their end",
        count(running.len() as u64),
        names.join(", ")
    );
    (!running.is_empty()).then_some(text)
}

fn at(account: &Account, time: Nanos) -> String {
    seconds(time.0.saturating_sub(account.began.0))
}

/// What the kernel says of address space and resident memory.
fn kernel(account: &Account) -> String {
    let peak = |of: fn(&ProcessAccount) -> u64| {
        let peaks = account.processes.iter().map(of);
        match peaks.fold(0, u64::saturating_add) {
            0 => "not known".to_owned(),
            sum => Bytes(sum).to_string(),
        }
    };
    let of = match account.processes.len() {
        0 | 1 => "",
        _ => "; sums of each process's own peak",
    };
    format!(
        "VmPeak {}, VmHWM {}{of}",
        peak(|p| p.kernel.virtual_peak),
        peak(|p| p.kernel.resident_peak)
    )
}

/// What VmPeak is made of.
fn address_space(account: &Account) -> String {
    let space = account.space();
    if space.kernel == Bytes::ZERO {
        return "the end of the process was not seen".to_owned();
    }
    let parts = [
        ("heap", space.heap),
        ("mappings", space.direct),
        ("stacks", space.stacks),
        ("files", space.files),
        ("libraries", space.libraries),
        ("program", space.program),
    ];
    let parts = parts.iter().filter(|(_, bytes)| *bytes > Bytes::ZERO);
    let parts = parts.map(|(what, bytes)| format!("{what} {bytes}"));
    let mut parts: Vec<_> = parts.collect();
    if space.allocator != 0 {
        let text = format!("the allocator's rest {}", signed(space.allocator));
        parts.insert(1.min(parts.len()), text);
    }
    let rest = match space.unseen {
        0 => "nothing else".to_owned(),
        unseen => format!("not seen {}", signed(unseen)),
    };
    format!("VmPeak is {}; {rest}", parts.join(", "))
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "−" } else { "" };
    format!("{sign}{}", Bytes(bytes.unsigned_abs()))
}

/// What no owner was found for, at the resident peak.
fn unexplained(input: &Concluded) -> String {
    if !input.run.counts_pages() {
        return "not known, as resident memory was not followed".to_owned();
    }
    let peak = &input.account.resident_peak;
    let bytes = Bytes(peak.unexplained.unsigned_abs());
    let part = percent(bytes.0, peak.resident.0);
    match peak.unexplained {
        0 => "nothing: every resident byte at the peak has an owner".to_owned(),
        1.. => format!("{bytes} ({part}) that the kernel counted have no owner"),
        _ => format!("{bytes} ({part}) have an owner and were not counted by the kernel"),
    }
}

fn leaked(account: &Account) -> String {
    let bytes: Bytes = account.stacks.iter().map(|(_, s)| s.leaked).sum();
    let allocs: u64 = account.stacks.iter().map(|(_, s)| s.leaked_allocs).sum();
    format!("{bytes} in {} blocks at the end", count(allocs))
}

/// What is missing or contradictory; the first says that nothing is where
/// nothing is.
pub(super) fn warnings(input: &Concluded) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut causes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for lost in input.lost.iter().filter(|lost| lost.count > 0) {
        let text = format!("{} {}", count(lost.count), printable(&lost.probe));
        causes.entry(lost.cause.name()).or_default().push(text);
    }
    for (cause, counts) in causes {
        lines.push(("lost", format!("{cause}: {}", counts.join(", "))));
    }
    if lines.is_empty() {
        lines.push(("lost", "nothing".to_owned()));
    }
    if !input.complete {
        let text = "the recording breaks off: what came after its end is not here";
        lines.push(("incomplete", text.to_owned()));
    }
    for degraded in &input.run.degraded {
        let (name, text) = (printable(&degraded.name), printable(&degraded.text));
        lines.push((LESS_EXACT, format!("{name}: {text}")));
    }
    let oddities = input.account.oddities;
    for (number, text) in [
        (
            oddities.unknown_frees,
            "frees of blocks that were never seen",
        ),
        (
            oddities.overlapping_allocs,
            "blocks handed out where one still lived",
        ),
        (
            oddities.misplaced,
            "events that made no sense where they stood",
        ),
    ] {
        if number > 0 {
            lines.push(("odd", format!("{} {text}", count(number))));
        }
    }
    lines
}

/// Whether a warning reports a loss.
pub(super) fn is_alarming(line: &Line) -> bool {
    line.1 != "nothing" && line.0 != LESS_EXACT
}

/// How the command ended and how long it took: `exit 0, 1.43 s`.
pub(super) fn ending(input: &Concluded) -> String {
    let account = &input.account;
    let took = seconds(account.ended.0.saturating_sub(account.began.0));
    if let Some(killed) = limits::killed(input, input.run.exit) {
        return format!("{killed}, {took}");
    }
    match (input.run.exit.code, input.run.exit.signal) {
        (_, Some(signal)) => format!("ended by signal {signal}, {took}"),
        (Some(code), None) => format!("exit {code}, {took}"),
        (None, None) => format!("still running, {took}"),
    }
}
