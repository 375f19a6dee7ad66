//! What this machine allows, found by doing it; and the remedy for what it lacks.

mod print;
mod proof;

use crate::cli::DoctorArgs;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;
use tracer::probes::attach::Mechanism;
use tracer::probes::kernel::Kernel;
use tracer::probes::machine::{
    self, Answer, Capability, Degradation, Facts, Lack, Name, Verdict, verdict,
};
use tracer::trace::Session;
use tracer::units::Bytes;
use tracer::unwind::Table;

/// What loading and attaching needs, in the order in which it fails.
const STARTING: [Name; 6] = [
    Name::Memory,
    Name::Programs,
    Name::Tracepoints,
    Name::RssStat,
    Name::Uprobes,
    Name::Modules,
];

/// What the trace of a child proves.
const PROVEN: [Name; 4] = [Name::Heap, Name::Pages, Name::Ending, Name::Stacks];

/// Looks at the machine, or at what the unwind tables of a file cover.
pub(crate) fn doctor(args: &DoctorArgs) -> Result<u8> {
    match &args.unwind {
        Some(file) => unwind(file),
        None if args.child => proof::child(),
        None => machine(args),
    }
}

/// Tries everything. Exit status 0 where a trace works, 1 where it does not.
fn machine(args: &DoctorArgs) -> Result<u8> {
    let facts = Facts::gather();
    let mut all = basics(&facts);
    if can_start(&all) {
        all.extend(trace(args.ring_buffer.map(Bytes), &facts)?);
    } else {
        let told = |name: &Name| all.iter().all(|c| c.name != *name);
        let rest: Vec<_> = STARTING.into_iter().chain(PROVEN).filter(told).collect();
        all.extend(rest.into_iter().map(Capability::untried));
    }
    all.extend(files());
    let verdict = verdict(&all);
    match args.json {
        true => print::json(&facts, &all, &verdict)?,
        false => print::lines(&facts, &all, &verdict),
    }
    Ok(u8::from(matches!(verdict, Verdict::Unable(_))))
}

fn can_start(basics: &[Capability]) -> bool {
    basics.iter().all(|c| c.answer == Answer::Yes)
}

/// What needs no loading of the programs.
fn basics(facts: &Facts) -> Vec<Capability> {
    if let Err(lack) = machine::early() {
        let name = lack.name;
        // In the order in which it asks.
        let early = [Name::Proc, Name::Bpf, Name::Memory];
        let rest = [Name::KernelReads, Name::Jit, Name::Btf];
        let works = early.into_iter().take_while(|&other| other != name);
        let works = works.map(|other| Capability::yes(other, "works"));
        let rest = rest.into_iter().map(Capability::untried);
        return works
            .chain([Capability::lacking(lack)])
            .chain(rest)
            .collect();
    }
    vec![
        Capability::yes(Name::Proc, "of this pid namespace"),
        Capability::yes(Name::Bpf, "programs may be loaded"),
        kernel_reads(facts),
        jit(facts),
        btf(facts),
    ]
}

fn kernel_reads(facts: &Facts) -> Capability {
    match machine::reads_kernel() {
        Ok(true) => Capability::yes(Name::KernelReads, print::lockdown(facts.lockdown)),
        _ => Capability::lacking(Lack::no_kernel_reads(facts)),
    }
}

/// Where the kernel does not say, loading the programs will.
fn jit(facts: &Facts) -> Capability {
    match facts.jit {
        Some(0) => Capability::lacking(Lack::no_jit(facts)),
        Some(level) => Capability::yes(Name::Jit, format!("net.core.bpf_jit_enable={level}")),
        None => Capability::yes(Name::Jit, "not told here; the programs need it"),
    }
}

fn btf(facts: &Facts) -> Capability {
    match Kernel::probe() {
        Ok(_) => Capability::yes(Name::Btf, "the kernel describes its types"),
        Err(error) => Capability::lacking(machine::loading(&error.into(), Bytes::ZERO, facts)),
    }
}

/// Loads, attaches, traces a child, and compares.
fn trace(ring: Option<Bytes>, facts: &Facts) -> Result<Vec<Capability>> {
    let started = proof::start(ring);
    let proof = match started {
        Ok(proof) => proof,
        Err(error) => {
            let lack = error.downcast_ref::<Lack>().cloned();
            return Ok(failed(lack.with_context(|| format!("{error:#}"))?));
        }
    };
    let mut all = attached(proof.session(), facts);
    let seen = proof.run()?;
    all.extend(PROVEN.map(|name| seen.capability(name)));
    Ok(all)
}

/// What came before it works, what comes after it was not tried.
fn failed(lack: Lack) -> Vec<Capability> {
    let at = STARTING.iter().position(|&name| name == lack.name);
    let answer = |(index, name)| match at {
        Some(at) if index < at => Capability::yes(name, "works"),
        Some(at) if index == at => Capability::lacking(lack.clone()),
        _ => Capability::untried(name),
    };
    let mut all: Vec<_> = STARTING.into_iter().enumerate().map(answer).collect();
    if at.is_none() {
        all.insert(0, Capability::lacking(lack));
    }
    all.extend(PROVEN.map(Capability::untried));
    all
}

/// What everything that was loaded and attached says.
fn attached(session: &Session, facts: &Facts) -> Vec<Capability> {
    let of = |wanted: fn(&Degradation) -> bool| {
        let mut found = session.degraded().iter().copied().filter(wanted);
        found.next()
    };
    let with = |capability: Capability, degraded: Option<Degradation>| match degraded {
        Some(degradation) => capability.but(degradation),
        None => capability,
    };
    let uprobes = match session.mechanism() {
        Some(Mechanism::UprobeMulti) => "by uprobe_multi: quick to take off",
        _ => "by perf events: a second or two to take off",
    };
    let rss_stat = match session.refused_rss_stat() {
        None => with(
            Capability::yes(Name::RssStat, "kmem:rss_stat, every change"),
            of(|d| matches!(d, Degradation::RssBatches)),
        ),
        Some(refusal) => {
            Capability::lacking(Lack::no_rss_stat(refusal, facts)).but(Degradation::NoRssStat)
        }
    };
    let ring = format!("ring buffer of {}", session.room());
    vec![
        with(
            Capability::yes(Name::Memory, ring),
            of(|d| matches!(d, Degradation::SmallerRing(_))),
        ),
        Capability::yes(Name::Programs, "all loaded"),
        Capability::yes(Name::Tracepoints, "all attached"),
        rss_stat,
        with(
            Capability::yes(Name::Uprobes, uprobes),
            of(|d| matches!(d, Degradation::PerfUprobes)),
        ),
        Capability::yes(Name::Modules, "by perf events"),
    ]
}

/// What /proc tells beside the probes.
fn files() -> Vec<Capability> {
    let less = machine::of_pages();
    let has = |wanted| less.contains(&wanted);
    let pagemap = match has(Degradation::PlainPagemap) {
        false => Capability::yes(Name::Pagemap, "by PAGEMAP_SCAN"),
        true => {
            Capability::yes(Name::Pagemap, "page by page").but(match has(Degradation::ZeroPages) {
                true => Degradation::ZeroPages,
                false => Degradation::PlainPagemap,
            })
        }
    };
    let map_files = match has(Degradation::NoMapFiles) {
        false => Capability::yes(Name::MapFiles, "files that were deleted can be opened"),
        true => Capability::lacking(Lack::no_map_files()).but(Degradation::NoMapFiles),
    };
    vec![pagemap, map_files]
}

fn unwind(file: &Path) -> Result<u8> {
    let what = || format!("can't read {}", file.display());
    let table = File::open(file)
        .map_err(anyhow::Error::from)
        .and_then(|open| Ok(Table::of_file(open)?));
    print!("{}", table.with_context(what)?.coverage);
    Ok(0)
}
