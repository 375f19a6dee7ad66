//! Measurements: what the parts cost.

mod soma;
mod workload;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum What {
    /// Replay synthetic events through the ledger and through a recording
    Ledger {
        /// How many
        #[arg(default_value_t = 20_000_000)]
        events: u64,
    },
    /// Fetch from full-size synthetic Censuses, beside Python's TileDB-SOMA
    Workload(workload::Args),
    /// Run the real TileDB-SOMA plain, under memray --native and under the tracer, and hold their
    /// numbers against each other
    Soma(soma::Args),
}

/// Runs a benchmark.
pub(crate) fn run(what: &What) -> Result<()> {
    match what {
        What::Ledger { events } => ledger(*events),
        What::Workload(args) => workload::run(args),
        What::Soma(args) => soma::run(args),
    }
}

fn ledger(events: u64) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["bench", "--package", "tracer", "--bench", "ledger", "--"])
        .arg(events.to_string())
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "the benchmark ended with {status}");
    Ok(())
}
