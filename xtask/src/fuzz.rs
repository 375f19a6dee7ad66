//! `cargo xtask fuzz`: builds the fuzz targets of `tracer/fuzz` and runs them.

use crate::command::{command, root, run, succeeds};
use anyhow::{Result, ensure};
use std::path::PathBuf;

/// Every target; see `tracer/fuzz/src/lib.rs`.
const TARGETS: [&str; 7] = [
    "elf_eh_frame",
    "symbols",
    "debug_files",
    "perf_map",
    "table_cache",
    "recording",
    "ledger",
];

/// Fuzzes one target, or all of them one after the other.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Minutes for each target
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The target; all of them if none is named
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
}

/// Runs them. What a run finds new is kept in `target/fuzz/corpus`; the committed corpus is
/// read, not written.
pub(crate) fn fuzz(args: &Args) -> Result<()> {
    ensure!(
        succeeds(command("cargo").args(["fuzz", "--version"])),
        "cargo-fuzz is missing: cargo install cargo-fuzz"
    );
    for target in TARGETS {
        if args.target.as_deref().is_none_or(|wanted| wanted == target) {
            one(target, args.minutes)?;
        }
    }
    Ok(())
}

fn one(target: &str, minutes: f64) -> Result<()> {
    let built = root().join("target/fuzz");
    let found = built.join("corpus").join(target);
    let committed = root().join("tracer/fuzz/corpus").join(target);
    std::fs::create_dir_all(&found)?;
    let corpora: Vec<PathBuf> = [found, committed]
        .into_iter()
        .filter(|d| d.is_dir())
        .collect();
    let mut fuzz = command("cargo");
    // The instrumentation is a nightly option that every stable compiler has. Of the sanitizers
    // none: the crate is safe Rust on these paths.
    fuzz.env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &built)
        // Some targets read files: in memory that takes a tenth of the time.
        .env("TMPDIR", "/dev/shm")
        .args([
            "fuzz",
            "run",
            "--fuzz-dir",
            "tracer/fuzz",
            "-O",
            "-s",
            "none",
        ])
        .arg(target)
        .args(&corpora)
        .arg("--")
        // Half a gigabyte is more than any input of this size is worth, and so is a second: but
        // it is measured by the clock, and on a machine that is shared a run may get no processor
        // for several. What took long is kept as `slow-unit-…`, to be looked at.
        .args(["-timeout=60", "-report_slow_units=5"])
        .args(["-rss_limit_mb=512", "-max_len=65536"])
        .arg(format!("-max_total_time={}", (minutes * 60.0).round()));
    run(&mut fuzz)
}
