//! The real TileDB-SOMA (Python, PyPI's wheels) plain, under memray, and under the tracer.

mod compare;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use workload::census::FULL_CELLS;

use super::workload::{BUDGET, Figures, STEPS, TISSUES, answer, medians};
use crate::census::ShapeArg;
use crate::command::{build, line, root};
use crate::root::Root;
use crate::{census, libtiledb, python};

/// How much to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cells of the Census; the real one has as many as the default
    #[arg(long, default_value_t = FULL_CELLS)]
    cells: u64,
    /// Runs of each, in turn; the medians count
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// One tissue alone
    #[arg(long, value_parser = TISSUES)]
    tissue: Option<String>,
}

/// `cargo xtask bench soma`.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.runs > 0, "no runs, no medians");
    let become_root = Root::find()?;
    build(&["tracer"])?;
    let bench = Bench {
        become_root,
        python: python::ensure_memray()?,
        uri: census::ensure_of(args.cells, ShapeArg::Clustered)?,
        directory: TempDir::new()?,
    };
    println!(
        "Medians of {} runs in turn, warm cache, {} cells, budget 10 GiB.",
        args.runs, args.cells
    );
    println!(
        "`fetch` is what bench.py times: open, query, obs, obs-df. `command` has the start of"
    );
    println!("Python too, and for the tracer its reports.");
    let before = bench.traced(&["-c", "pass"])?.1["peak_mem"].clone();
    println!(
        "peak_mem of `python -c pass`, which memray starts after: {} bytes",
        compare::grouped(before.as_u64().unwrap_or_default())
    );
    for tissue in TISSUES {
        if args.tissue.as_ref().is_none_or(|only| only == tissue) {
            bench.compare(tissue, args.runs)?;
        }
    }
    Ok(())
}

struct Bench {
    become_root: Root,
    /// The same interpreter for all three.
    python: PathBuf,
    uri: PathBuf,
    directory: TempDir,
}

impl Bench {
    fn compare(&self, tissue: &str, runs: usize) -> Result<()> {
        let mut measured: HashMap<&str, Vec<Figures>> = HashMap::new();
        // One plain run first, which warms the cache and doesn't count.
        self.plain(tissue)?;
        for _ in 0..runs {
            let mut add = |name, figures| measured.entry(name).or_default().push(figures);
            add("plain", self.plain(tissue)?);
            add("memray", self.memray(tissue)?);
            add("tracer", self.tracer(tissue)?);
        }
        let of = |name: &str| medians(&measured[name]);
        compare::print_totals(tissue, &of("plain"), &of("memray"), &of("tracer"));
        let details = self.scripted(&self.compare_script(), &[&self.capture(), &self.out_dir()])?;
        compare::print_details(&serde_json::from_str(&details).context("compare.py")?);
        Ok(())
    }

    /// The fetch's arguments, for Python.
    fn fetch(&self, tissue: &str) -> Vec<String> {
        let script = root().join("workload/tests/python/bench.py");
        let words = [script.display().to_string(), self.uri.display().to_string()];
        let mut words = words.to_vec();
        words.extend([tissue.to_owned(), BUDGET.to_owned()]);
        words
    }

    fn compare_script(&self) -> PathBuf {
        root().join("xtask/python/compare.py")
    }

    fn capture(&self) -> PathBuf {
        self.directory.path().join("capture.bin")
    }

    fn out_dir(&self) -> PathBuf {
        self.directory.path().join("traced")
    }

    fn plain(&self, tissue: &str) -> Result<Figures> {
        self.measured(&[], tissue)
    }

    fn memray(&self, tissue: &str) -> Result<Figures> {
        let capture = self.capture().display().to_string();
        let options = "-m memray run --quiet --native --force --output";
        let mut options: Vec<_> = options.split(' ').collect();
        options.push(&capture);
        let mut figures = self.measured(&options, tissue)?;
        let script = "import memray, sys; m = memray.FileReader(sys.argv[1]).metadata; \
                      print(m.peak_memory)";
        let said = self.scripted(Path::new("-c"), &[Path::new(script), &self.capture()])?;
        figures.insert("peak".into(), said.trim().parse()?);
        Ok(figures)
    }

    /// The fetch by Python with these options, its seconds and its resident set.
    fn measured(&self, options: &[&str], tissue: &str) -> Result<Figures> {
        let mut command = Command::new(&self.python);
        command
            .arg(root().join("workload/tests/python/measure.py"))
            .arg(&self.python)
            .args(options)
            .args(self.fetch(tissue));
        let start = Instant::now();
        let (said, mut figures) = answer(&mut command)?;
        figures.insert("command".into(), start.elapsed().as_secs_f64());
        add_steps(&mut figures, &said)?;
        Ok(figures)
    }

    fn tracer(&self, tissue: &str) -> Result<Figures> {
        let fetch = self.fetch(tissue);
        let arguments: Vec<&str> = fetch.iter().map(String::as_str).collect();
        let start = Instant::now();
        let (said, stats) = self.traced(&arguments)?;
        let mut figures = Figures::from([("command".into(), start.elapsed().as_secs_f64())]);
        let steps = said.lines().find(|line| line.starts_with("{\"open\""));
        add_steps(&mut figures, steps.context("bench.py said nothing")?)?;
        for (name, place) in [
            ("peak", "/peak_mem"),
            ("resident", "/resident/kernel_peak_bytes"),
            ("own resident", "/resident/peak_bytes"),
            ("unexplained", "/resident/unexplained_bytes"),
        ] {
            let value = stats.pointer(place).and_then(Value::as_f64);
            figures.insert(name.into(), value.with_context(|| place.to_owned())?);
        }
        let lost = stats["lost"].as_object().into_iter().flatten();
        let lost: u64 = lost.filter_map(|(_, count)| count.as_u64()).sum();
        figures.insert("lost".into(), lost as f64);
        Ok(figures)
    }

    /// Traces Python with these arguments; what was said, and stats.json.
    fn traced(&self, arguments: &[&str]) -> Result<(String, Value)> {
        let tracer = libtiledb::release("tracer")?.display().to_string();
        let mut command = self.become_root.command(&tracer, &[]);
        command.arg("-o").arg(self.out_dir()).arg("--");
        command.arg(&self.python).args(arguments);
        let output = command.output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{} failed:\n{errors}",
            line(&command)
        );
        let stats = std::fs::read(self.out_dir().join("stats.json"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((said, serde_json::from_slice(&stats)?))
    }

    /// What a Python script prints.
    fn scripted(&self, script: &Path, arguments: &[&Path]) -> Result<String> {
        let mut command = Command::new(&self.python);
        let output = command.arg(script).args(arguments).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{} failed:\n{errors}",
            line(&command)
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The seconds of bench.py's steps, as one.
fn add_steps(figures: &mut Figures, said: &str) -> Result<()> {
    let said = said.lines().find(|line| line.starts_with('{'));
    let steps: Figures = serde_json::from_str(said.unwrap_or_default()).context("bench.py")?;
    let fetch = STEPS.iter().filter_map(|step| steps.get(*step)).sum();
    figures.insert("fetch".into(), fetch);
    Ok(())
}
