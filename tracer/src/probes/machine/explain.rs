//! What an error of loading or attaching means for this machine.

use super::ask;
use super::facts::Facts;
use super::lack::{Lack, Name};
use crate::probes::kernel::KernelError;
use crate::probes::load::LoadError;
use crate::units::Bytes;
use aya::maps::MapError;
use std::error::Error;
use std::io;

/// Why the programs can't be loaded, with the ring buffer that was asked for.
#[must_use]
pub fn loading(error: &LoadError, ring: Bytes, facts: &Facts) -> Lack {
    match error {
        LoadError::Kernel(error) => kernel(error, facts),
        // What the verifier says of a locked down kernel (bpf_base_func_proto: the function is
        // not there).
        LoadError::Refused { log, .. } if log.contains("bpf_probe_read_kernel#") => {
            Lack::no_kernel_reads(facts)
        }
        LoadError::Refused { name, error, log } => Lack::program_refused(name, error, log, facts),
        LoadError::Attach { name, .. } => match os_error(error) {
            Some(error) if *name == "rss_stat" => {
                Lack::no_perf_events(Name::RssStat, &error, facts)
            }
            Some(error) => Lack::no_tracepoint(name, &error, facts),
            None => Lack::strange_kernel(Name::Tracepoints, error.to_string()),
        },
        LoadError::Object(_) | LoadError::Target { .. } => object(error, ring, facts),
    }
}

/// Whether less memory would have done.
#[must_use]
pub fn wants_memory(error: &LoadError) -> bool {
    let number = os_error(error).and_then(|error| error.raw_os_error());
    matches!(error, LoadError::Object(_)) && number == Some(libc::ENOMEM)
}

/// The maps, for want of memory most often.
fn object(error: &LoadError, ring: Bytes, facts: &Facts) -> Lack {
    let Some(cause) = os_error(error) else {
        return Lack::strange_kernel(Name::Programs, error.to_string());
    };
    match cause.raw_os_error() {
        Some(libc::ENOMEM | libc::ENOSPC | libc::E2BIG) => Lack::no_memory(ring, &cause),
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => ask::no_program(&cause, facts),
        _ => Lack::strange_kernel(
            Name::Programs,
            format!("{}{}", error, in_map(error).unwrap_or_default()),
        ),
    }
}

fn kernel(error: &KernelError, facts: &Facts) -> Lack {
    match error {
        KernelError::NoBtf(error) => Lack::no_btf(error, facts),
        KernelError::NoTracepoint { error, .. } => Lack::no_rss_stat(error, facts),
        other => Lack::strange_kernel(Name::Btf, other.to_string()),
    }
}

/// Why a probe can't be put on a function.
#[must_use]
pub fn attaching(error: &io::Error, facts: &Facts) -> Lack {
    Lack::no_uprobes(error, facts)
}

/// Why the kernel can't even be asked about uprobes.
#[must_use]
pub fn uprobes(error: &io::Error, facts: &Facts) -> Lack {
    ask::no_program(error, facts)
}

/// An error and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The operating system's word in a chain of causes.
fn os_error(error: &(dyn Error + 'static)) -> Option<io::Error> {
    let os = chain(error).filter_map(|error| error.downcast_ref::<io::Error>());
    let number = os.filter_map(io::Error::raw_os_error).next();
    number.map(io::Error::from_raw_os_error)
}

/// Which map it was.
fn in_map(error: &(dyn Error + 'static)) -> Option<String> {
    let mut maps = chain(error).filter_map(|error| error.downcast_ref::<MapError>());
    maps.next().map(|map| format!(" ({map})"))
}
