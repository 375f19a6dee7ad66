//! What users read: files and the summary on the terminal, all made from the
//! same [`Concluded`].

pub mod budget;
mod concluded;
mod cut;
mod dataset;
pub mod diff;
mod flame;
mod kernel_time;
mod limits;
mod location;
mod locations;
mod marks;
mod metric;
mod output;
mod owner;
mod pprof;
mod processes;
pub mod push;
mod stacks;
mod stats;
mod summary;
mod text;
mod timeline;
mod top;
mod totals;

#[cfg(test)]
mod tests;

pub use concluded::{Concluded, Counted, LoadError};
pub use cut::{Between, Cut, NoMark, part};
pub use dataset::{Labels, export};
pub use flame::difference;
pub use metric::{Figures, Metric};
pub use output::OutDir;
pub use owner::Owner;
pub use processes::commands;
pub use summary::{Style, summary};

use crate::events::Degraded;
use crate::recording::Limits;
use diff::Side;
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::path::PathBuf;

/// How a command ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Exit {
    /// Its exit code, where it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    /// From a wait status, as `wait(2)` gives it.
    #[must_use]
    pub fn from_status(status: u32) -> Self {
        match status & 0x7f {
            0 => Self {
                code: Some((status >> 8 & 0xff) as i32),
                signal: None,
            },
            signal => Self {
                code: None,
                signal: Some(signal as i32),
            },
        }
    }
}

/// What was run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// How it ended; both unknown where it still ran.
    pub exit: Exit,
    /// The command of every process of the account, in its order; empty where it is not
    /// known.
    pub commands: Vec<Vec<String>>,
    /// Version of the tracer that recorded it.
    pub tracer_version: String,
    /// `uname -r`
    pub kernel_release: String,
    /// `uname -n` of the machine, where the recording has it.
    pub host: Option<String>,
    /// When recording began, in nanoseconds since the Unix epoch.
    pub began_unix_ns: u64,
    /// `heap` or `pages`.
    pub mode: String,
    /// What was less exact on that machine than it is elsewhere.
    pub degraded: Vec<Degraded>,
    /// Limits of memory that it ran under, as far as they are known.
    pub limits: Option<Limits>,
}

impl Run {
    /// The degradation without which resident memory is followed.
    const NO_RSS_STAT: &str = "no_rss_stat";

    /// Whether resident memory was followed.
    fn counts_pages(&self) -> bool {
        self.degraded.iter().all(|d| d.name != Self::NO_RSS_STAT)
    }
}

/// A report: a pure function from the input to a file.
pub trait Report: Sync {
    /// Name of the file in the out dir.
    fn file_name(&self) -> &'static str;

    /// Writes it.
    ///
    /// # Errors
    /// Where writing fails.
    fn write(&self, input: &Concluded, out: &mut dyn Write) -> io::Result<()>;
}

/// Every report, in the order in which the summary names them.
#[must_use]
pub fn all() -> Vec<Box<dyn Report>> {
    vec![
        Box::new(top::Top),
        Box::new(stats::Stats),
        Box::new(flame::Flame::Reserved),
        Box::new(flame::Flame::Resident),
        Box::new(flame::Flame::Touched),
        Box::new(timeline::Timeline),
    ]
}

/// `top.md`, to be put into another text.
#[must_use]
pub fn markdown(input: &Concluded) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to memory does not fail.
    let _ = top::Top.write(input, &mut out);
    out
}

/// How far several runs were apart, a line each metric.
#[must_use]
pub fn spread(runs: &[Side]) -> Vec<String> {
    let Some(first) = runs.first() else {
        return Vec::new();
    };
    let counted = Metric::ALL
        .into_iter()
        .filter(|metric| metric.is_counted(first.mode()));
    let line = |metric: Metric| {
        let values: Vec<u64> = runs.iter().map(|run| metric.of(&run.all())).collect();
        budget::spread(metric, &values)
    };
    counted.filter_map(line).collect()
}

/// What a run came to in one line that stays as it is from version to version, for `grep`: bytes,
/// and for `allocs` a number. `run` may be the median of several.
#[must_use]
pub fn result(run: &Side, status: u8) -> String {
    let figures = run.all();
    let complete = !run.is_incomplete();
    let of = |metric: Metric| format!("{metric}={}", metric.of(&figures));
    let counted = Metric::ALL
        .into_iter()
        .filter(|metric| metric.is_counted(run.mode()));
    let counted: Vec<String> = counted.map(of).collect();
    format!(
        "tracer: result: exit={status} {} complete={complete}",
        counted.join(" ")
    )
}

/// A report that is being written.
type Running<'s> = std::thread::ScopedJoinHandle<'s, io::Result<PathBuf>>;

/// Writes every report to the out dir and returns the paths.
///
/// # Errors
/// The first report that could not be written; the others are written all the
/// same.
pub fn write_all(dir: &OutDir, input: &Concluded) -> io::Result<Vec<PathBuf>> {
    let reports = all();
    let write = |report: &dyn Report| dir.write(report.file_name(), |out| report.write(input, out));
    // Side by side: each is a function of the same input, and has a file of its own.
    let results: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = reports
            .iter()
            .map(|report| {
                let work = || write(&**report);
                std::thread::Builder::new().spawn_scoped(scope, work)
            })
            .collect();
        let finish = |started: io::Result<Running<'_>>, report: &dyn Report| match started {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // Where no thread can be had, this one does it.
            Err(_) => write(report),
        };
        let both = started.into_iter().zip(&reports);
        both.map(|(started, report)| finish(started, &**report))
            .collect()
    });
    results.into_iter().collect()
}
