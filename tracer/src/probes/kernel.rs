//! What this kernel offers and where it keeps things.

use super::bpf;
use super::btf::{Btf, BtfError};
use super::namespace::Namespace;
use super::offsets;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tracer_ebpf::Config;
use tracer_ebpf::tables::KernelOffsets;

/// Where the kernel shows its types.
const BTF_PATH: &str = "kernel/btf/vmlinux";
/// Where tracefs is mounted, if it is.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// What tells every change of resident memory.
pub const RSS_STAT: &str = "kmem/rss_stat";

/// What the kernel does not tell of itself; `machine` knows the remedies.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No BTF.
    #[error("this kernel does not describe its types (/sys/{BTF_PATH}: {0})")]
    NoBtf(#[source] io::Error),
    /// BTF that can't be read.
    #[error("/sys/{BTF_PATH} can't be understood: {0}")]
    BadBtf(#[from] BtfError),
    /// A structure without a member that every supported kernel has.
    #[error(
        "this kernel's {structure} has no {member}: it is older or newer than this tracer knows"
    )]
    NoMember {
        /// The struct.
        structure: &'static str,
        /// The member.
        member: &'static str,
    },
    /// The pid namespace can't be found out about.
    #[error("the pid namespace of this process can't be told ({0})")]
    Namespace(#[source] io::Error),
    /// A tracepoint is missing, or tracefs is.
    #[error("the tracepoint {name} can't be found ({error})")]
    NoTracepoint {
        /// Its category and name.
        name: &'static str,
        /// What opening tracefs or reading its id said.
        #[source]
        error: io::Error,
    },
}

/// What was found out about the running kernel.
#[derive(Debug)]
pub struct Kernel {
    btf: Btf,
    tracefs: io::Result<OwnedFd>,
}

impl Kernel {
    /// Looks at the running kernel.
    ///
    /// # Errors
    /// [`KernelError`] for the first thing that tracing can't do without.
    pub fn probe() -> Result<Self, KernelError> {
        let btf = read_btf().map_err(KernelError::NoBtf)?;
        Ok(Self {
            btf: Btf::parse(btf)?,
            tracefs: open_tracefs(),
        })
    }

    /// The id of a classic tracepoint, such as `kmem/rss_stat`.
    ///
    /// # Errors
    /// [`KernelError::NoTracepoint`] where the kernel has none of that name, or
    /// tracefs can't be opened.
    pub fn tracepoint_id(&self, name: &'static str) -> Result<u64, KernelError> {
        let no_tracepoint = |error| KernelError::NoTracepoint { name, error };
        let tracefs = self.tracefs.as_ref().map_err(|error| {
            no_tracepoint(match error.raw_os_error() {
                Some(number) => io::Error::from_raw_os_error(number),
                None => io::Error::other(error.to_string()),
            })
        })?;
        bpf::read_at(tracefs.as_fd(), &format!("events/{name}/id"))
            .and_then(|text| String::from_utf8(text).map_err(io::Error::other))
            .and_then(|text| text.trim().parse().map_err(io::Error::other))
            .map_err(no_tracepoint)
    }

    /// Whether there is a tracepoint, by category and name. Its type tells, for
    /// which no tracefs is needed.
    #[must_use]
    pub fn has_tracepoint(&self, name: &'static str) -> bool {
        let name = name.rsplit('/').next().unwrap_or(name);
        self.btf.has_type(&format!("btf_trace_{name}"))
    }

    /// Whether threads keep changes of their process's counters of resident
    /// memory to themselves, up to 64 pages of each: so it was before Linux 6.2.
    #[must_use]
    pub fn counts_by_thread(&self) -> bool {
        self.btf.offset_of("task_struct", "rss_stat").is_some()
    }

    /// What the BPF programs have to know of this kernel. How they wake the
    /// ring buffer's reader is left to the caller.
    ///
    /// # Errors
    /// [`KernelError::NoMember`] where a struct lacks what every kernel has.
    pub fn config(&self) -> Result<Config, KernelError> {
        let namespace = Namespace::own(&self.btf).map_err(KernelError::Namespace)?;
        let config = Config {
            page_size: page_size(),
            prepare_exec: u32::from(self.has_tracepoint("sched/sched_prepare_exec")),
            ..offsets::of_programs(&self.btf, &namespace).map_err(no_member)?
        };
        Ok(config)
    }

    /// What the unwinder has to know of this kernel.
    ///
    /// # Errors
    /// [`KernelError::NoMember`] where a struct lacks what every kernel has.
    pub fn unwind_offsets(&self) -> Result<KernelOffsets, KernelError> {
        offsets::of_walk(&self.btf).map_err(no_member)
    }
}

fn no_member(offsets::Missing { structure, member }: offsets::Missing) -> KernelError {
    KernelError::NoMember { structure, member }
}

/// Bytes of a page.
#[must_use]
pub fn page_size() -> u64 {
    // SAFETY: takes an integer and returns one.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

/// The kernel's types, also where a sandbox has hidden them.
fn read_btf() -> io::Result<Vec<u8>> {
    let shown = std::fs::read(format!("/sys/{BTF_PATH}"));
    shown.or_else(|error| hidden_btf().map_err(|_| error))
}

/// The same from a sysfs of our own.
fn hidden_btf() -> io::Result<Vec<u8>> {
    let sysfs = bpf::open_unmounted(c"sysfs")?;
    bpf::read_at(sysfs.as_fd(), BTF_PATH)
}

/// Whether a kernel that shows no types has any: `None` where a sysfs of our own
/// can't be had to look.
pub(super) fn has_types() -> Option<bool> {
    bpf::open_unmounted(c"sysfs").ok()?;
    Some(hidden_btf().is_ok())
}

/// A tracefs of our own, else one that is mounted.
fn open_tracefs() -> io::Result<OwnedFd> {
    let refusal = match bpf::open_unmounted(c"tracefs") {
        Ok(tracefs) => return Ok(tracefs),
        Err(error) => error,
    };
    let mounted = TRACEFS.iter().find_map(|path| {
        let folder = std::fs::File::open(path).ok()?;
        folder_has_events(&folder).then_some(OwnedFd::from(folder))
    });
    mounted.ok_or(refusal)
}

/// Whether it is a tracefs that we may read.
fn folder_has_events(folder: &std::fs::File) -> bool {
    bpf::read_at(folder.as_fd(), "events/header_page").is_ok()
}
