//! What this machine allows, and the remedy for what it lacks.

use crate::cli::DoctorArgs;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;
use tracer::probes::attach::Mechanism;
use tracer::probes::kernel::Kernel;
use tracer::unwind::Table;

/// Looks at the machine, or at what the unwind tables of a file cover.
pub(crate) fn doctor(args: &DoctorArgs) -> Result<u8> {
    match &args.unwind {
        Some(file) => unwind(file),
        None => machine(),
    }
}

/// Succeeds where everything that a trace needs is there; the error says what is not, and the
/// remedy.
fn machine() -> Result<u8> {
    let kernel = Kernel::probe()?;
    println!("root, BPF, BTF and tracefs: ok");
    kernel.tracepoint_id("kmem/rss_stat")?;
    println!("tracepoint kmem:rss_stat (resident memory): ok");
    kernel.check_uprobes()?;
    match Mechanism::of_this_kernel().context("can't ask the kernel about uprobes")? {
        Mechanism::UprobeMulti => println!("uprobes (allocations): ok, by uprobe_multi"),
        Mechanism::PerfEvent => println!(
            "uprobes (allocations): ok, by perf events; taking them off lasts some seconds \
             (from Linux 6.6 on it is quick)"
        ),
    }
    Ok(0)
}

fn unwind(file: &Path) -> Result<u8> {
    let what = || format!("can't read {}", file.display());
    let table = File::open(file)
        .map_err(anyhow::Error::from)
        .and_then(|open| Ok(Table::of_file(open)?));
    print!("{}", table.with_context(what)?.coverage);
    Ok(0)
}
