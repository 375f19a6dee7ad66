//! The doctor's findings, for people and for programs.

use anyhow::Result;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use tracer::probes::machine::{Answer, Cap, Capability, FLOOR, Facts, Lockdown, TESTED, Verdict};

/// Capabilities that are named where they are held.
const CAPS: [Cap; 6] = [
    Cap::Bpf,
    Cap::Perfmon,
    Cap::SysPtrace,
    Cap::SysAdmin,
    Cap::CheckpointRestore,
    Cap::DacReadSearch,
];

/// A line each, below it what is lost and the remedy, and the verdict at last.
pub(super) fn lines(facts: &Facts, all: &[Capability], verdict: &Verdict) {
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = write_lines(&mut text, facts, all, verdict);
    // A reader who has seen enough is no failure.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn write_lines(
    out: &mut String,
    facts: &Facts,
    all: &[Capability],
    verdict: &Verdict,
) -> std::fmt::Result {
    writeln!(
        out,
        "  kernel        Linux {} (needs {FLOOR}; tested on {TESTED})",
        facts.kernel
    )?;
    writeln!(out, "  capabilities  {}", held(facts))?;
    for capability in all {
        let name = capability.name.text();
        writeln!(out, "{} {name:<13} {}", mark(capability), capability.value)?;
        if let Some(degraded) = capability.degraded {
            let (name, text) = (degraded.name(), degraded.text());
            writeln!(out, "                less exact: {name}: {text}")?;
        } else if capability.answer == Answer::No || capability.answer == Answer::Error {
            writeln!(out, "                lost: {}", capability.name.lost())?;
        }
        if let Some(lack) = &capability.lack {
            writeln!(out, "                remedy: {}", lack.remedy)?;
        }
    }
    writeln!(out, "{}", sentence(all, verdict))
}

fn mark(capability: &Capability) -> char {
    match (capability.answer, capability.degraded) {
        (Answer::Untried, _) => '-',
        (_, Some(_)) => '~',
        (Answer::Yes, None) => '+',
        (Answer::No | Answer::Error, None) => '!',
    }
}

fn held(facts: &Facts) -> String {
    let held: Vec<_> = CAPS
        .into_iter()
        .filter(|&cap| facts.held.grant(cap))
        .collect();
    match held.is_empty() {
        true => "none that a trace needs".into(),
        false => held
            .iter()
            .map(|cap| cap.name())
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// What the kernel lets itself be read.
pub(super) fn lockdown(lockdown: Lockdown) -> &'static str {
    match lockdown {
        Lockdown::None => "lockdown: none",
        Lockdown::Integrity => "lockdown: integrity, which allows it",
        Lockdown::Confidentiality | Lockdown::Unknown => "programs may read its counters",
    }
}

fn sentence(all: &[Capability], verdict: &Verdict) -> String {
    match verdict {
        Verdict::Complete => "verdict: everything works".into(),
        Verdict::Degraded(degraded) => {
            let mut names: Vec<_> = degraded.iter().map(|d| d.name()).collect();
            names.sort_unstable();
            names.dedup();
            format!(
                "verdict: a trace works, less exact in: {}",
                names.join(", ")
            )
        }
        Verdict::Unable(name) => {
            let lack = all.iter().find(|c| c.name == *name);
            let lack = lack.and_then(|c| c.lack.as_ref());
            let why = lack.map_or_else(|| name.text().to_owned(), ToString::to_string);
            format!("verdict: a trace does not work here. {why}")
        }
    }
}

/// The same as JSON.
pub(super) fn json(facts: &Facts, all: &[Capability], verdict: &Verdict) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &document(facts, all, verdict))?;
    writeln!(out)?;
    Ok(())
}

fn document(facts: &Facts, all: &[Capability], verdict: &Verdict) -> Value {
    let word = match verdict {
        Verdict::Complete => "complete",
        Verdict::Degraded(_) => "degraded",
        Verdict::Unable(_) => "unable",
    };
    let held: Vec<_> = CAPS
        .into_iter()
        .filter(|&cap| facts.held.grant(cap))
        .collect();
    json!({
        "kernel": facts.kernel.to_string(),
        "kernel_needed": FLOOR.to_string(),
        "held": held.iter().map(|cap| cap.name()).collect::<Vec<_>>(),
        "verdict": word,
        "text": sentence(all, verdict),
        "capabilities": all.iter().map(capability).collect::<Vec<_>>(),
    })
}

fn capability(capability: &Capability) -> Value {
    let answer = match capability.answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::Error => "error",
        Answer::Untried => "untried",
    };
    let lost = capability.lack.as_ref().map(|_| capability.name.lost());
    json!({
        "name": capability.name.text(),
        "answer": answer,
        "value": capability.value,
        "lost": lost,
        "remedy": capability.lack.as_ref().map(|lack| &lack.remedy),
        "degraded": capability.degraded.map(|d| json!({"name": d.name(), "text": d.text()})),
    })
}
