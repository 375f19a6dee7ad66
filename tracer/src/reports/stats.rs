//! `stats.json`: every figure, for scripts. `docs/stats.md` says what each field
//! means; fields are added, never renamed.

use super::kernel_time::{KernelTime, kernel_time};
use super::limits::{self, CgroupStats};
use super::location::Location;
use super::locations::locations;
use super::marks::{self, BetweenStats, MarkStats};
use super::stacks::stack_ends;
use super::{Concluded, Exit, Report};
use crate::events::Degraded;
use crate::ledger::account::{Account, ProcessAccount};
use crate::units::{Bytes, StackId};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// Changes when a field changes its meaning.
const SCHEMA_VERSION: u32 = 1;

/// Locations that are listed for each of the four orders: bytes over the run,
/// reserved at the peak, resident at the peak, never given back.
const TOP: usize = 50;

/// Touchers that are listed of a location.
const TOUCHERS: usize = 5;

/// `stats.json`
#[derive(Debug)]
pub(super) struct Stats;

impl Report for Stats {
    fn file_name(&self) -> &'static str {
        "stats.json"
    }

    fn write(&self, input: &Concluded, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, &document(input))?;
        out.write_all(b"\n")
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    tracer_version: &'a str,
    kernel: &'a str,
    mode: &'a str,
    command: &'a [String],
    exit: Exit,
    killed_for_memory: Option<&'static str>,
    duration_ns: u64,
    complete: bool,
    degraded: &'a [Degraded],
    lost: BTreeMap<&'a str, u64>,
    lost_by_probe: Vec<LostBy<'a>>,
    peak_mem: u64,
    top_allocs: Vec<TopAlloc>,
    tracked_allocs: u64,
    tracked_bytes: u64,
    total_allocs: u64,
    total_frames: usize,
    reserved: Reserved,
    address_space: AddressSpace,
    resident: Resident,
    cgroup: Option<CgroupStats<'a>>,
    leaked: Leaked,
    top_touchers: Vec<Toucher>,
    kernel_time: KernelTime,
    hugetlb: HugeTlb,
    stacks: Stacks,
    oddities: Oddities,
    processes: Vec<ProcessStats<'a>>,
    between: Option<BetweenStats<'a>>,
    marks: Vec<MarkStats<'a>>,
    marks_total: u64,
}

#[derive(Serialize)]
struct LostBy<'a> {
    cause: &'a str,
    probe: &'a str,
    count: u64,
}

#[derive(Serialize)]
struct TopAlloc {
    location: String,
    size: u64,
    iec: String,
    calls: u64,
    reserved_at_peak_bytes: u64,
    resident_at_peak_bytes: u64,
    leaked_bytes: u64,
    touchers: Vec<TopToucher>,
    stack: Vec<String>,
}

#[derive(Serialize)]
struct Toucher {
    location: String,
    resident_at_peak_bytes: u64,
    stack: Vec<String>,
}

#[derive(Serialize)]
struct TopToucher {
    location: String,
    resident_at_peak_bytes: u64,
}

#[derive(Serialize)]
struct Reserved {
    peak_bytes: u64,
    at_ns: u64,
    heap_bytes: u64,
    mapping_bytes: u64,
    kernel_peak_bytes: u64,
    arena_bytes: u64,
    file_mapping_bytes: u64,
}

#[derive(Serialize)]
struct AddressSpace {
    kernel_peak_bytes: u64,
    heap_bytes: u64,
    allocator_bytes: i64,
    mapping_bytes: u64,
    stack_bytes: u64,
    file_mapping_bytes: u64,
    library_bytes: u64,
    program_bytes: u64,
    unseen_bytes: i64,
}

#[derive(Serialize)]
struct Resident {
    peak_bytes: u64,
    at_ns: u64,
    kernel_peak_bytes: u64,
    anon_bytes: u64,
    file_bytes: u64,
    shmem_bytes: u64,
    slack_bytes: u64,
    unexplained_bytes: i64,
    at_reserved_peak_bytes: u64,
}

#[derive(Serialize)]
struct HugeTlb {
    peak_bytes: u64,
    brought: Vec<Brought>,
}

#[derive(Serialize)]
struct Brought {
    reserver: String,
    toucher: String,
    bytes: u64,
}

#[derive(Serialize)]
struct Leaked {
    bytes: u64,
    allocs: u64,
}

#[derive(Serialize)]
struct Stacks {
    complete: u64,
    incomplete: u64,
    by_probe: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    cut_in: Vec<CutIn>,
}

#[derive(Serialize)]
struct CutIn {
    module: String,
    end: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct Oddities {
    unknown_frees: u64,
    overlapping_allocs: u64,
    misplaced: u64,
}

#[derive(Serialize)]
struct ProcessStats<'a> {
    pid: u32,
    ppid: u32,
    command: &'a [String],
    exit: Exit,
    killed_for_memory: Option<&'static str>,
    reserved_peak_bytes: u64,
    resident_peak_bytes: u64,
    tracked_allocs: u64,
    mapped_peak_bytes: u64,
    kernel_reserved_peak_bytes: u64,
    kernel_resident_peak_bytes: u64,
}

fn document<'a>(input: &'a Concluded) -> Document<'a> {
    let account = &input.account;
    let locations = locations(input);
    let mut lost = BTreeMap::new();
    for entry in &input.lost {
        let sum: &mut u64 = lost.entry(entry.cause.name()).or_default();
        *sum = sum.saturating_add(entry.count);
    }
    let by_probe = input.lost.iter().map(|lost| LostBy {
        cause: lost.cause.name(),
        probe: &lost.probe,
        count: lost.count,
    });
    Document {
        schema_version: SCHEMA_VERSION,
        tracer_version: &input.run.tracer_version,
        kernel: &input.run.kernel_release,
        mode: &input.run.mode,
        command: &input.run.command,
        exit: input.run.exit,
        killed_for_memory: limits::killed_for_memory(input, input.run.exit),
        duration_ns: account.ended.0.saturating_sub(account.began.0),
        complete: input.complete,
        degraded: &input.run.degraded,
        lost,
        lost_by_probe: by_probe.collect(),
        peak_mem: account.reserved_peak.reserved.0,
        top_allocs: top_allocs(input, locations),
        tracked_allocs: account.allocs,
        tracked_bytes: account.alloc_bytes.0,
        total_allocs: account.allocs + account.frees,
        total_frames: input.symbols.distinct_frames(),
        reserved: reserved(account),
        address_space: address_space(account),
        resident: resident(account),
        cgroup: limits::cgroup(input),
        leaked: Leaked {
            bytes: account
                .stacks
                .iter()
                .map(|(_, s)| s.leaked)
                .sum::<Bytes>()
                .0,
            allocs: account.stacks.iter().map(|(_, s)| s.leaked_allocs).sum(),
        },
        top_touchers: top_touchers(input, locations),
        kernel_time: kernel_time(input, locations),
        hugetlb: hugetlb(input),
        stacks: stacks(input),
        oddities: Oddities {
            unknown_frees: account.oddities.unknown_frees,
            overlapping_allocs: account.oddities.overlapping_allocs,
            misplaced: account.oddities.misplaced,
        },
        processes: account
            .processes
            .iter()
            .enumerate()
            .map(|(index, p)| process(input, index, p))
            .collect(),
        between: marks::between(input),
        marks: marks::marks(input),
        marks_total: input.marks_total,
    }
}

fn reserved(account: &Account) -> Reserved {
    let peak = &account.reserved_peak;
    Reserved {
        peak_bytes: peak.reserved.0,
        at_ns: peak.at.0.saturating_sub(account.began.0),
        heap_bytes: peak.heap.0,
        mapping_bytes: peak.mappings.0,
        kernel_peak_bytes: account
            .processes
            .iter()
            .map(|p| p.kernel.virtual_peak)
            .sum(),
        arena_bytes: peak.arenas.0,
        file_mapping_bytes: peak.files.0,
    }
}

fn address_space(account: &Account) -> AddressSpace {
    let space = account.space();
    AddressSpace {
        kernel_peak_bytes: space.kernel.0,
        heap_bytes: space.heap.0,
        allocator_bytes: space.allocator,
        mapping_bytes: space.direct.0,
        stack_bytes: space.stacks.0,
        file_mapping_bytes: space.files.0,
        library_bytes: space.libraries.0,
        program_bytes: space.program.0,
        unseen_bytes: space.unseen,
    }
}

fn resident(account: &Account) -> Resident {
    let peak = &account.resident_peak;
    Resident {
        peak_bytes: peak.resident.0,
        at_ns: peak.at.0.saturating_sub(account.began.0),
        kernel_peak_bytes: account
            .processes
            .iter()
            .map(|p| p.kernel.resident_peak)
            .sum(),
        anon_bytes: peak.anon.0,
        file_bytes: peak.file.0,
        shmem_bytes: peak.shmem.0,
        slack_bytes: peak.slack.0,
        unexplained_bytes: peak.unexplained,
        at_reserved_peak_bytes: account.reserved_peak.resident.0,
    }
}

/// What an order goes by: one of no bytes is listed if the number before them is more than 0.
type Order = fn(&Location) -> (u64, Bytes);

/// The first of four orders, each location once, in memray's order (by bytes
/// over the run). One that made blocks of no bytes at all is listed after the others.
fn top_allocs(input: &Concluded, locations: &[Location]) -> Vec<TopAlloc> {
    let mut chosen = BTreeSet::new();
    let orders: [Order; 4] = [
        |l| (l.calls, l.size),
        |l| (0, l.reserved),
        |l| (0, l.resident),
        |l| (0, l.leaked),
    ];
    for order in orders {
        let mut indexes: Vec<usize> = (0..locations.len()).collect();
        indexes.retain(|&index| order(&locations[index]) > (0, Bytes::ZERO));
        indexes.sort_by_key(|&index| (Reverse(order(&locations[index]).1), index));
        chosen.extend(indexes.into_iter().take(TOP));
    }
    let mut chosen: Vec<usize> = chosen.into_iter().collect();
    chosen.sort_by_key(|&index| (Reverse(locations[index].size), index));
    let alloc = |index: usize| top_alloc(input, &locations[index]);
    chosen.into_iter().map(alloc).collect()
}

fn top_alloc(input: &Concluded, location: &Location) -> TopAlloc {
    let touchers = location.touchers.iter().take(TOUCHERS);
    TopAlloc {
        location: location.frame.to_string(),
        size: location.size.0,
        iec: location.size.to_string(),
        calls: location.calls,
        reserved_at_peak_bytes: location.reserved.0,
        resident_at_peak_bytes: location.resident.0,
        leaked_bytes: location.leaked.0,
        touchers: touchers
            .map(|(location, bytes)| TopToucher {
                location: location.clone(),
                resident_at_peak_bytes: bytes.0,
            })
            .collect(),
        stack: frames(input, location.stack),
    }
}

fn frames(input: &Concluded, stack: StackId) -> Vec<String> {
    let frames = input.symbols.frames(stack);
    frames.iter().map(ToString::to_string).collect()
}

fn stacks(input: &Concluded) -> Stacks {
    let ends = stack_ends(input);
    let cut_in = |(module, end, count)| CutIn { module, end, count };
    Stacks {
        complete: ends.complete,
        incomplete: ends.incomplete,
        by_probe: ends.by_probe,
        cut_in: ends.by_module.into_iter().map(cut_in).collect(),
    }
}

fn hugetlb(input: &Concluded) -> HugeTlb {
    let totals = &input.account.hugetlb;
    let name = |stack| input.symbols.location(stack).to_string();
    let mut by_name: BTreeMap<(String, String), u64> = BTreeMap::new();
    for &(reserver, toucher, bytes) in &totals.brought {
        *by_name.entry((name(reserver), name(toucher))).or_default() += bytes.0;
    }
    let brought = |((reserver, toucher), bytes)| Brought {
        reserver,
        toucher,
        bytes,
    };
    let mut brought: Vec<_> = by_name.into_iter().map(brought).collect();
    brought.sort_by_key(|entry| Reverse(entry.bytes));
    brought.truncate(TOP);
    HugeTlb {
        peak_bytes: totals.peak.0,
        brought,
    }
}

fn top_touchers(input: &Concluded, locations: &[Location]) -> Vec<Toucher> {
    let mut touchers: Vec<&Location> = locations.iter().filter(|l| l.touched.0 > 0).collect();
    touchers.sort_by_cached_key(|l| (Reverse(l.touched), l.frame.to_string()));
    let toucher = |l: &Location| Toucher {
        location: l.frame.to_string(),
        resident_at_peak_bytes: l.touched.0,
        stack: frames(input, l.touching),
    };
    touchers.into_iter().take(TOP).map(toucher).collect()
}

fn process<'a>(input: &'a Concluded, index: usize, process: &ProcessAccount) -> ProcessStats<'a> {
    let exit = process.status.map(Exit::from_status).unwrap_or_default();
    let command = input.run.commands.get(index);
    ProcessStats {
        pid: process.pid.0,
        ppid: process.parent.0,
        command: command.map_or(&[], Vec::as_slice),
        exit,
        killed_for_memory: limits::killed_for_memory(input, exit),
        reserved_peak_bytes: process.reserved_peak.0,
        resident_peak_bytes: process.resident_peak.0,
        tracked_allocs: process.allocs,
        mapped_peak_bytes: process.mapped_peak.0,
        kernel_reserved_peak_bytes: process.kernel.virtual_peak,
        kernel_resident_peak_bytes: process.kernel.resident_peak,
    }
}
