//! Measurements: what the parts cost.

mod soma;
mod workload;

use anyhow::Result;
use clap::Subcommand;

use crate::command::{cargo, run as run_to_end};

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum What {
    /// Replay synthetic events through the ledger and through a recording
    Ledger {
        /// How many
        #[arg(default_value_t = 20_000_000)]
        events: u64,
    },
    /// Take stacks by unwind tables and by the kernel's frame pointers, in the same programs
    Stacks {
        /// Runs of each, one after the other in turn; the medians count
        #[arg(default_value_t = 5)]
        rounds: usize,
        /// What to trace; a storm of small blocks if nothing is given
        #[arg(trailing_var_arg = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Trace a command that does nothing, beside the same untraced
    Start {
        /// Runs of each, in turn; the medians count
        #[arg(default_value_t = 11)]
        rounds: usize,
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
        What::Ledger { events } => bench("ledger", &[events.to_string().into()]),
        What::Stacks { rounds, command } => {
            let rounds = rounds.to_string().into();
            bench("stacks", &[&[rounds], command.as_slice()].concat())
        }
        What::Start { rounds } => bench("start", &[rounds.to_string().into()]),
        What::Workload(args) => workload::run(args),
        What::Soma(args) => soma::run(args),
    }
}

fn bench(name: &str, arguments: &[std::ffi::OsString]) -> Result<()> {
    run_to_end(
        cargo()
            .args(["bench", "--package", "tracer", "--bench", name, "--"])
            .args(arguments),
    )
}
