//! The workload against Python's TileDB-SOMA, on synthetic Censuses of both shapes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use workload::census::FULL_CELLS;

use crate::command::{build, root};
use crate::{census, libtiledb, python};

/// How much to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cells of each Census; the real one has as many as the default
    #[arg(long, default_value_t = FULL_CELLS)]
    cells: u64,
    /// Runs of each fetch, one after the other in turn; the medians count
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// One shape of Census alone
    #[arg(long, value_enum)]
    shape: Option<census::ShapeArg>,
    /// One tissue alone
    #[arg(long, value_parser = TISSUES)]
    tissue: Option<String>,
}

/// A small fetch and a large one.
pub(super) const TISSUES: [&str; 2] = ["ureter", "lung"];

/// `sm.mem.total_budget`, the same for both.
pub(super) const BUDGET: &str = "10737418240";
/// The steps that both report.
pub(super) const STEPS: [&str; 4] = ["open", "query", "obs", "obs-df"];

/// Seconds by step, with `submit` (the part of `obs` inside libtiledb) for the workload, `cpu`, the
/// seconds on all processors, and `resident`, the greatest resident set in bytes.
pub(super) type Figures = HashMap<String, f64>;

/// `cargo xtask bench workload`.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.runs > 0, "no runs, no medians");
    let bench = Bench {
        library: libtiledb::ensure()?,
        python: python::ensure()?,
        workload: libtiledb::target_directory()?.join("release/workload"),
        scripts: root().join("workload/tests/python"),
    };
    build(&["workload"])?;
    println!(
        "Medians of {} runs in turn, warm cache, {} cells, budget 10 GiB.",
        args.runs, args.cells
    );
    println!("`obs` is the Arrow table over the read buffers in both. `obs-df` is one contiguous");
    println!(
        "Arrow table (workload), a pandas DataFrame (Python). `CPU` is user and system time on"
    );
    println!(
        "all threads: of the whole process (workload), of what follows the imports (Python).\n"
    );
    println!("| fetch | | open | query | obs | of it in libtiledb | obs-df | CPU | VmHWM |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let shapes = [census::ShapeArg::Clustered, census::ShapeArg::Scattered];
    for shape in shapes {
        if args.shape.is_some_and(|only| only != shape) {
            continue;
        }
        let uri = census::ensure_of(args.cells, shape)?;
        for tissue in TISSUES {
            if args.tissue.as_ref().is_none_or(|only| only == tissue) {
                bench.compare(&uri, shape.name(), tissue, args.runs)?;
            }
        }
    }
    Ok(())
}

struct Bench {
    library: PathBuf,
    python: PathBuf,
    workload: PathBuf,
    scripts: PathBuf,
}

impl Bench {
    /// Prints the medians of both, and their ratio.
    fn compare(&self, uri: &Path, shape: &str, tissue: &str, runs: usize) -> Result<()> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // One of each first, which warms the cache and doesn't count.
        for run in 0..=runs {
            let (our, their) = (self.ours(uri, tissue)?, self.theirs(uri, tissue)?);
            if run > 0 {
                ours.push(our);
                theirs.push(their);
            }
        }
        let (ours, theirs) = (medians(&ours), medians(&theirs));
        println!("| {shape} {tissue} | workload | {} |", cells(&ours));
        println!("| | Python | {} |", cells(&theirs));
        let ratio = |key: &str| format!("{:.2}", ours[key] / theirs[key]);
        let ratios: Vec<_> = STEPS.iter().map(|step| ratio(step)).collect();
        let [open, query, obs, df] = &ratios[..] else {
            return Ok(());
        };
        println!(
            "| | ratio | {open} | {query} | {obs} | | {df} | {} | {} |",
            ratio("cpu"),
            ratio("resident")
        );
        Ok(())
    }

    fn ours(&self, uri: &Path, tissue: &str) -> Result<Figures> {
        let mut command = self.measured(&self.workload);
        command
            .arg("--timings")
            .arg("--uri")
            .arg(uri)
            .args(["-t", tissue, "-b", BUDGET]);
        let (said, mut figures) = answer(command.env("TILEDB_LIB", &self.library))?;
        for line in said.lines() {
            if let Some((step, seconds)) = line.split_once(" took ") {
                figures.insert(step.to_owned(), seconds.trim_end_matches('s').parse()?);
            }
        }
        Ok(figures)
    }

    fn theirs(&self, uri: &Path, tissue: &str) -> Result<Figures> {
        let mut command = self.measured(&self.python);
        command
            .arg(self.scripts.join("bench.py"))
            .arg(uri)
            .args([tissue, BUDGET]);
        let (said, mut figures) = answer(&mut command)?;
        let steps: Figures = serde_json::from_str(&said).with_context(|| said.clone())?;
        figures.extend(steps);
        Ok(figures)
    }

    /// A command whose last line says what it used.
    fn measured(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.scripts.join("measure.py")).arg(program);
        command
    }
}

/// What a measured command said, its processor time and its resident set.
pub(super) fn answer(command: &mut Command) -> Result<(String, Figures)> {
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed:\n{errors}");
    let said = String::from_utf8(output.stdout)?;
    let (said, used) = said
        .trim_end()
        .rsplit_once('\n')
        .context("nothing was said")?;
    Ok((said.to_owned(), serde_json::from_str(used)?))
}

pub(super) fn medians(runs: &[Figures]) -> Figures {
    let Some(first) = runs.first() else {
        return Figures::new();
    };
    let median = |key: &str| {
        let mut values: Vec<f64> = runs
            .iter()
            .filter_map(|run| run.get(key).copied())
            .collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    first.keys().map(|key| (key.clone(), median(key))).collect()
}

/// Seconds by column, and the resident set in megabytes.
fn cells(figures: &Figures) -> String {
    let seconds = |key: &str| {
        figures
            .get(key)
            .map_or(String::new(), |s| format!("{s:.3} s"))
    };
    let columns = ["open", "query", "obs", "submit", "obs-df", "cpu"].map(seconds);
    let resident = figures["resident"] / 1e6;
    format!("{} | {resident:.0} MB", columns.join(" | "))
}
