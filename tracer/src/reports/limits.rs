//! What the limits of memory did to the command: its cgroup beside the resident peak, and which
//! processes the kernel killed for memory.

use super::text::{Line, count};
use super::{Concluded, Exit};
use crate::ledger::account::ProcessAccount;
use crate::recording::{Cgroup, Limits, Shortage};
use crate::units::Bytes;
use serde::Serialize;

/// `cgroup` in `stats.json`
#[derive(Serialize)]
pub(super) struct CgroupStats<'a> {
    version: u8,
    path: &'a str,
    limit_bytes: Option<u64>,
    limited_by: Option<&'a str>,
    swap_limit_bytes: Option<u64>,
    peak_bytes: Option<u64>,
    peak_before_bytes: Option<u64>,
    oom_kills: Option<u64>,
}

/// The command's memory cgroup, as data.
pub(super) fn cgroup<'a>(input: &'a Concluded) -> Option<CgroupStats<'a>> {
    let cgroup = input.run.limits.as_ref()?.cgroup.as_ref()?;
    Some(CgroupStats {
        version: cgroup.version,
        path: &cgroup.path,
        limit_bytes: cgroup.limit,
        limited_by: cgroup.limited_by.as_deref(),
        swap_limit_bytes: cgroup.swap_limit,
        peak_bytes: cgroup.peak,
        peak_before_bytes: cgroup.peak_before,
        oom_kills: cgroup.oom_kills,
    })
}

/// Why a process that ended so was killed, where the kernel killed it for memory.
pub(super) fn shortage(input: &Concluded, exit: Exit) -> Option<Shortage> {
    match exit.signal {
        Some(libc::SIGKILL) => input.run.limits.as_ref()?.shortage(),
        _ => None,
    }
}

/// The same in a word, for `stats.json`.
pub(super) fn killed_for_memory(input: &Concluded, exit: Exit) -> Option<&'static str> {
    shortage(input, exit).map(|shortage| match shortage {
        Shortage::Cgroup => "cgroup",
        Shortage::Machine => "machine",
    })
}

/// How it ended, in words: `killed for memory by its cgroup (limit 100 MiB)`.
pub(super) fn killed(input: &Concluded, exit: Exit) -> Option<String> {
    shortage(input, exit).map(|shortage| by_whom(input, shortage))
}

fn by_whom(input: &Concluded, shortage: Shortage) -> String {
    let limits = input.run.limits.as_ref();
    let limit = limits.and_then(|limits| limits.cgroup.as_ref()?.limit);
    match (shortage, limit) {
        (Shortage::Cgroup, Some(limit)) => {
            format!("killed for memory by its cgroup (limit {})", Bytes(limit))
        }
        (Shortage::Cgroup, None) => "killed for memory by its cgroup".to_owned(),
        (Shortage::Machine, _) => "killed for memory: the machine ran out".to_owned(),
    }
}

/// Lines of the summary. A command without a limit has none.
pub(super) fn lines(input: &Concluded) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(cgroup) = input.run.limits.as_ref().and_then(|l| l.cgroup.as_ref())
        && let Some(limit) = cgroup.limit
    {
        lines.push(("cgroup", sentence(cgroup, Bytes(limit))));
    }
    lines.extend(killed_children(input).map(|text| ("killed", text)));
    lines
}

fn sentence(cgroup: &Cgroup, limit: Bytes) -> String {
    let peak = match (cgroup.peak, cgroup.peak_before) {
        (Some(peak), Some(before)) if before >= peak => {
            format!("peak at most {}, which was before this run,", Bytes(peak))
        }
        (Some(peak), _) => format!("peak {}", Bytes(peak)),
        (None, _) => "peak not known (Linux tells it from 5.19 on)".to_owned(),
    };
    let swap = match cgroup.swap_limit {
        Some(0) => ", without swap".to_owned(),
        Some(swap) => format!(", and {} of swap", Bytes(swap)),
        None => String::new(),
    };
    let by = match &cgroup.limited_by {
        Some(by) if *by != cgroup.path => format!(", set by {}", super::text::printable(by)),
        _ => String::new(),
    };
    format!("{peak} of a limit of {limit}{swap}{by} (it counts page cache and other processes too)")
}

/// Processes below the command that were killed; the command's own end is in the title.
fn killed_children(input: &Concluded) -> Option<String> {
    let exit = |process: &ProcessAccount| process.status.map(Exit::from_status);
    let children = input.account.processes.iter().skip(1);
    let mut killed = children.filter_map(|process| {
        let shortage = shortage(input, exit(process)?)?;
        Some((process.pid.0, shortage))
    });
    let (pid, shortage) = killed.next()?;
    let how = by_whom(input, shortage);
    Some(match killed.count() {
        0 => format!("process {pid} was {how}"),
        others => format!(
            "process {pid} and {} others were {how}",
            count(others as u64)
        ),
    })
}

impl Limits {
    /// For tests of reports: a process of a cgroup with a limit was killed.
    #[cfg(test)]
    pub(super) fn exhausted(limit: u64) -> Self {
        Self {
            cgroup: Some(Cgroup {
                version: 2,
                path: "/work".to_owned(),
                limit: Some(limit),
                limited_by: Some("/work".to_owned()),
                swap_limit: Some(0),
                peak: Some(limit),
                peak_before: Some(1 << 20),
                oom_kills: Some(1),
                exhausted: Some("/work".to_owned()),
            }),
            machine_oom_kills: Some(1),
        }
    }
}
