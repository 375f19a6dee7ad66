//! Writes synthetic Censuses.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use workload::census::{FULL_CELLS, Shape, Spec, generate};
use workload::tiledb::{Context, Library};

use crate::libtiledb;

/// What to write, and where.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Human cells; 2,390 of them are ureter, and the real share is lung
    #[arg(long, default_value_t = Spec::default().cells, conflicts_with = "full")]
    cells: u64,
    /// As many cells as the Census of 2024-07-01: 74,322,510
    #[arg(long)]
    full: bool,
    /// How the cells of a tissue lie among the others
    #[arg(long, value_enum, default_value_t = ShapeArg::Clustered)]
    shape: ShapeArg,
    /// Decides every value
    #[arg(long, default_value_t = Spec::default().seed)]
    seed: u64,
    /// The directory to write; must not exist [default: target/census]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write even if the directory exists already
    #[arg(long)]
    force: bool,
}

/// `--shape`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShapeArg {
    /// Dataset by dataset: a small query reads few tiles
    Clustered,
    /// Strewn over all tiles, as in the real Census: a small query reads much
    Scattered,
}

impl ShapeArg {
    /// Its name, in files and in output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Clustered => "clustered",
            Self::Scattered => "scattered",
        }
    }

    fn shape(self) -> Shape {
        match self {
            Self::Clustered => Shape::Clustered,
            Self::Scattered => Shape::Scattered,
        }
    }
}

/// `cargo xtask census`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let cells = if args.full { FULL_CELLS } else { args.cells };
    let out = match &args.out {
        Some(out) => out.clone(),
        None => default_directory()?,
    };
    if args.force && out.join("__group").is_dir() {
        std::fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
    }
    write(
        &out,
        &Spec {
            cells,
            shape: args.shape.shape(),
            seed: args.seed,
        },
    )
}

/// The default synthetic Census, written the first time.
#[allow(dead_code, reason = "for `cargo xtask demo`")]
pub(crate) fn ensure_default() -> Result<PathBuf> {
    ensure_at(DEFAULT, &Spec::default())
}

/// The Census of that many cells for measurements, in `target/census-SHAPE-CELLS`, written the
/// first time.
pub(crate) fn ensure_of(cells: u64, shape: ShapeArg) -> Result<PathBuf> {
    let spec = Spec {
        cells,
        shape: shape.shape(),
        ..Spec::default()
    };
    ensure_at(&format!("census-{}-{cells}", shape.name()), &spec)
}

/// The Census of that name in the target directory, written the first time.
fn ensure_at(name: &str, spec: &Spec) -> Result<PathBuf> {
    let out = libtiledb::target_directory()?.join(name);
    if !out.join("__group").is_dir() {
        write(&out, spec)?;
    }
    Ok(out)
}

/// The name under which the workload looks for it.
const DEFAULT: &str = "census";

/// Where the workload looks for it.
fn default_directory() -> Result<PathBuf> {
    Ok(libtiledb::target_directory()?.join(DEFAULT))
}

/// Threads of libtiledb's while it writes; each holds tiles of its own.
const THREADS: &str = "4";

fn write(out: &Path, spec: &Spec) -> Result<()> {
    let library = Library::load(&libtiledb::ensure()?)?;
    let ctx = Context::new(library, [("sm.compute_concurrency_level", THREADS)])?;
    let bar = ProgressBar::new(spec.cells).with_style(ProgressStyle::with_template(
        "{bar:40} {human_pos}/{human_len} cells, {elapsed}, {eta} to go",
    )?);
    bar.enable_steady_tick(Duration::from_secs(1));
    let start = Instant::now();
    generate(&ctx, out, spec, |cells| bar.inc(cells))
        .with_context(|| format!("no Census was written to {}", out.display()))?;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "Wrote {} cells to {} in {seconds:.1}s",
        HumanCount(spec.cells),
        out.display()
    );
    Ok(())
}
