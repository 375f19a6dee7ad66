//! Loading the programs, with what the machine has.

use super::options::Options;
use crate::probes::attach::Mechanism;
use crate::probes::kernel::Kernel;
use crate::probes::load::{self, LoadError, Loaded, Preparation};
use crate::probes::machine::{self, DEFAULT_RING, Degradation, Facts, SMALLEST_RING};
use crate::probes::unwinding::Tables;
use crate::units::{Bytes, Pid};
use anyhow::Result;

/// How uprobes are attached here.
pub(super) fn mechanism() -> Result<Mechanism> {
    Mechanism::of_this_kernel().map_err(|error| machine::uprobes(&error, &Facts::gather()).into())
}

/// The error in the machine's own words.
pub(super) fn explained(error: LoadError, ring: Bytes) -> anyhow::Error {
    let lack = machine::loading(&error, ring, &Facts::gather());
    anyhow::Error::new(error).context(lack)
}

/// Loads the programs, with a smaller ring buffer where memory is short and none was asked for;
/// says how large it is. `target` is held when another thread of its than the first executes a
/// program. The unwind tables are filled by `fill` meanwhile.
pub(super) fn load<T: Send>(
    preparation: Preparation,
    kernel: &Kernel,
    uprobes: Option<Mechanism>,
    asked: &Options,
    target: Pid,
    fill: impl Fn(&mut Tables) -> T + Sync,
) -> Result<(Loaded, T, Bytes)> {
    let mut ring = asked
        .ring
        .unwrap_or_else(|| machine::ring_that_fits(DEFAULT_RING));
    let mut preparation = Some(preparation);
    loop {
        let options = load::Options {
            ring,
            uprobes,
            copy_all: asked.copy_all,
            stacks: asked.stacks,
            held: uprobes.and(Some(target)),
        };
        let ready = preparation.take().unwrap_or_else(Preparation::start);
        let error = match Loaded::load_and(ready, kernel, options, &fill) {
            Ok((loaded, filled)) => return Ok((loaded, filled, ring)),
            Err(error) => error,
        };
        if asked.ring.is_some() || ring <= SMALLEST_RING || !machine::wants_memory(&error) {
            return Err(explained(error, ring));
        }
        ring = Bytes(ring.0 / 2);
    }
}

/// What is known to be less exact once everything is attached.
pub(super) fn degradations(
    kernel: &Kernel,
    loaded: &Loaded,
    uprobes: Option<Mechanism>,
    asked: Option<Bytes>,
    ring: Bytes,
) -> Vec<Degradation> {
    let mut all = Vec::new();
    if !loaded.counts_pages() {
        all.push(Degradation::NoRssStat);
    } else if kernel.counts_by_thread() {
        all.push(Degradation::RssBatches);
    }
    if uprobes == Some(Mechanism::PerfEvent) {
        all.push(Degradation::PerfUprobes);
    }
    all.extend(machine::of_pages());
    if asked.is_none() && ring < DEFAULT_RING {
        all.push(Degradation::SmallerRing(ring));
    }
    all
}
