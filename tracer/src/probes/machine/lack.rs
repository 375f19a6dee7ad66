//! What is missing, what is lost without it, and the remedy, which depends on why: the one
//! place of these texts. `tracer` says them when it can't start, `tracer doctor` beforehand.

use super::facts::{Cap, Container, FLOOR, Facts, Lockdown, TESTED};
use crate::units::Bytes;
use std::fmt;
use std::io;

/// What a machine must allow, or is better to allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A /proc of our own pid namespace.
    Proc,
    /// bpf(2)
    Bpf,
    /// Reading the kernel's memory.
    KernelReads,
    /// Compiled programs, which alone can be called back.
    Jit,
    /// The kernel's description of its types.
    Btf,
    /// Room for events.
    Memory,
    /// Every program loads.
    Programs,
    /// Raw tracepoints.
    Tracepoints,
    /// `kmem:rss_stat`
    RssStat,
    /// Probes on functions.
    Uprobes,
    /// Records of what is mapped.
    Modules,
    /// `/proc/PID/pagemap`
    Pagemap,
    /// `/proc/PID/map_files`
    MapFiles,
    /// The child's blocks were seen, all of them.
    Heap,
    /// Its pages were.
    Pages,
    /// Its end was, with the kernel's account of it.
    Ending,
    /// Its stacks are whole.
    Stacks,
}

/// Whether the machine hasn't got it, or it is not known because something else went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It isn't there.
    Missing,
    /// The question was refused or failed.
    Refused,
}

/// Something that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What is missing.
    pub name: Name,
    /// Whether it is not there, or could not be asked for.
    pub kind: Kind,
    /// What happened and why, a clause.
    pub what: String,
    /// What to do about it, a clause.
    pub remedy: String,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

impl std::error::Error for Lack {}

impl Name {
    /// Its stable name.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Bpf => "bpf",
            Self::KernelReads => "kernel_reads",
            Self::Jit => "jit",
            Self::Btf => "btf",
            Self::Memory => "memory",
            Self::Programs => "programs",
            Self::Tracepoints => "tracepoints",
            Self::RssStat => "rss_stat",
            Self::Uprobes => "uprobes",
            Self::Modules => "modules",
            Self::Pagemap => "pagemap",
            Self::MapFiles => "map_files",
            Self::Heap => "heap",
            Self::Pages => "pages",
            Self::Ending => "ending",
            Self::Stacks => "stacks",
        }
    }

    /// What a trace lacks without it.
    #[must_use]
    pub const fn lost(self) -> &'static str {
        match self {
            Self::Proc => "the processes that are traced can't be looked at",
            Self::Bpf | Self::KernelReads | Self::Jit | Self::Btf | Self::Memory => {
                "nothing can be traced"
            }
            Self::Programs | Self::Tracepoints | Self::Modules => "nothing can be traced",
            Self::RssStat | Self::Pages => "resident memory is not known",
            Self::Uprobes | Self::Heap => {
                "calls of malloc are not seen (--trace pages works without them)"
            }
            Self::Pagemap => "pages that no event tells of have no owner",
            Self::MapFiles => "files that were deleted have no names",
            Self::Ending => "VmHWM and VmPeak are not known",
            Self::Stacks => "callers are not known",
        }
    }
}

impl Lack {
    /// The kernel has it not, whoever asks.
    fn missing(name: Name, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name,
            kind: Kind::Missing,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// Something else stood between.
    fn unknown(name: Name, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            kind: Kind::Refused,
            ..Self::missing(name, what, remedy)
        }
    }

    /// A call was refused (EPERM, EACCES), or hidden (ENOSYS under seccomp). `needs` is what the
    /// kernel asks for.
    #[must_use]
    pub fn refused(
        name: Name,
        call: &str,
        needs: &[Cap],
        error: &io::Error,
        facts: &Facts,
    ) -> Self {
        let lacking = facts.held.lacks(needs);
        let error = plain(error);
        let what = match lacking.is_empty() {
            true => format!(
                "{call} is refused ({error}) though {} are held",
                names(needs)
            ),
            false => format!(
                "{call} is refused ({error}): this process lacks {}",
                names(&lacking)
            ),
        };
        Self::unknown(name, what, way_to(&lacking, call, facts))
    }

    /// There is no such system call.
    #[must_use]
    pub fn no_bpf(facts: &Facts) -> Self {
        match facts.seccomp {
            true => Self::unknown(
                Name::Bpf,
                "bpf(2) is not there, which may be this sandbox's seccomp filter",
                way_to(&[], "bpf(2)", facts),
            ),
            false => Self::missing(
                Name::Bpf,
                "this kernel has no bpf(2)",
                "use one built with CONFIG_BPF_SYSCALL, as those of all distributions are",
            ),
        }
    }

    /// /proc shows another pid namespace's processes.
    #[must_use]
    pub fn foreign_proc() -> Self {
        Self::missing(
            Name::Proc,
            "/proc shows the processes of another pid namespace than this one",
            "mount this one's (`mount -t proc proc /proc`, or `unshare --mount-proc`)",
        )
    }

    /// There is no /proc.
    #[must_use]
    pub fn no_proc(error: &io::Error) -> Self {
        Self::missing(
            Name::Proc,
            format!("/proc can't be read ({})", plain(error)),
            "mount it (`mount -t proc proc /proc`)",
        )
    }

    /// The kernel's memory may not be read.
    #[must_use]
    pub fn no_kernel_reads(facts: &Facts) -> Self {
        let (what, remedy) = match facts.lockdown {
            Lockdown::Confidentiality | Lockdown::Unknown => (
                "the kernel is locked down for confidentiality, so that BPF programs may not read \
                 its counters",
                "boot with lockdown=integrity, or without Secure Boot",
            ),
            Lockdown::None | Lockdown::Integrity => (
                "this kernel has no bpf_probe_read_kernel for us, though it is not locked down",
                "look into the kernel's log for a security module that forbids it",
            ),
        };
        Self::missing(Name::KernelReads, what, remedy)
    }

    /// Programs are interpreted.
    #[must_use]
    pub fn no_jit(facts: &Facts) -> Self {
        let (what, remedy) = match facts.jit {
            Some(0) => (
                "the kernel's BPF compiler is switched off, and interpreted programs can't be \
                 called back",
                "sysctl net.core.bpf_jit_enable=1",
            ),
            _ => (
                "the kernel does not compile BPF programs, and interpreted ones can't be called \
                 back",
                "sysctl net.core.bpf_jit_enable=1 on the host, or use a kernel built with \
                 CONFIG_BPF_JIT",
            ),
        };
        Self::missing(Name::Jit, what, remedy)
    }

    /// The kernel's types can't be read.
    #[must_use]
    pub fn no_btf(error: &io::Error, facts: &Facts) -> Self {
        const PATH: &str = "/sys/kernel/btf/vmlinux";
        let is_absent = error.kind() == io::ErrorKind::NotFound;
        if is_absent && facts.built_with_btf == Some(false) {
            return Self::missing(
                Name::Btf,
                "this kernel was built without a description of its types",
                "use one built with CONFIG_DEBUG_INFO_BTF, as distributions' are since 2020",
            );
        }
        if is_absent && facts.built_with_btf.is_none() && facts.container.is_none() {
            return Self::unknown(
                Name::Btf,
                format!("there is no {PATH}: this sandbox hides it, or the kernel has none"),
                format!(
                    "{}; or use a kernel built with CONFIG_DEBUG_INFO_BTF",
                    outside(facts)
                ),
            );
        }
        let what = format!("this sandbox hides {PATH} ({})", plain(error));
        Self::unknown(Name::Btf, what, outside(facts))
    }

    /// /sys shows nothing.
    #[must_use]
    pub fn no_sys(name: Name, facts: &Facts) -> Self {
        Self::unknown(name, "this sandbox hides /sys", outside(facts))
    }

    /// What is there is not BTF, or has not what every kernel has.
    #[must_use]
    pub fn strange_kernel(name: Name, what: impl Into<String>) -> Self {
        Self::missing(
            name,
            what,
            format!("use Linux {TESTED}, or report this with the kernel's version"),
        )
    }

    /// No memory for a ring of that size.
    #[must_use]
    pub fn no_memory(asked: Bytes, error: &io::Error) -> Self {
        let what = format!(
            "there is no memory for the kernel side, a ring buffer of {asked} among it ({})",
            plain(error)
        );
        let smaller = Bytes((asked.0 / 4).max(super::SMALLEST_RING.0));
        let remedy = match asked > super::SMALLEST_RING {
            true => format!("try a smaller one: --ring-buffer {}", option(smaller)),
            false => format!(
                "give it more: {} do, the command aside",
                super::LEAST_MEMORY
            ),
        };
        Self::unknown(Name::Memory, what, remedy)
    }

    /// The cgroup grants too little for anything.
    #[must_use]
    pub fn small_group(limit: Bytes) -> Self {
        Self::missing(
            Name::Memory,
            format!("the memory limit of this cgroup, {limit}, is too low for a trace"),
            format!(
                "raise it to {} and what the command takes",
                super::LEAST_MEMORY
            ),
        )
    }

    /// The verifier refused a program.
    #[must_use]
    pub fn program_refused(program: &str, error: &io::Error, log: &str, facts: &Facts) -> Self {
        if log.contains("non-JITed") {
            return Self::no_jit(facts);
        }
        let denied = [Some(libc::EPERM), Some(libc::EACCES)].contains(&error.raw_os_error());
        if denied && log.is_empty() {
            let call = format!("loading the BPF program {program}");
            return Self::refused(
                Name::Programs,
                &call,
                &[Cap::Bpf, Cap::Perfmon],
                error,
                facts,
            );
        }
        let reason = reason(log).unwrap_or_else(|| plain(error));
        let what = format!("this kernel refuses the BPF program {program} ({reason})");
        match facts.kernel < FLOOR {
            true => Self::missing(Name::Programs, what, format!("use Linux {FLOOR} or newer")),
            false => Self::strange_kernel(Name::Programs, what),
        }
    }

    /// A raw tracepoint can't be attached to.
    #[must_use]
    pub fn no_tracepoint(tracepoint: &str, error: &io::Error, facts: &Facts) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                let call = format!("attaching to the tracepoint {tracepoint}");
                Self::refused(Name::Tracepoints, &call, &[Cap::Perfmon], error, facts)
            }
            _ => Self::missing(
                Name::Tracepoints,
                format!(
                    "this kernel has no tracepoint {tracepoint} ({})",
                    plain(error)
                ),
                format!("use Linux {FLOOR} or newer, built with CONFIG_FTRACE"),
            ),
        }
    }

    /// `kmem:rss_stat` can't be had. `refusal` is what opening tracefs said.
    #[must_use]
    pub fn no_rss_stat(refusal: &io::Error, facts: &Facts) -> Self {
        let denied = [Some(libc::EPERM), Some(libc::EACCES)].contains(&refusal.raw_os_error());
        match denied {
            true => Self::unknown(
                Name::RssStat,
                format!(
                    "the tracepoint kmem:rss_stat can't be found: tracefs can't be opened ({})",
                    plain(refusal)
                ),
                tracefs_remedy(facts),
            ),
            false => Self::missing(
                Name::RssStat,
                format!(
                    "this kernel has no tracepoint kmem:rss_stat ({})",
                    plain(refusal)
                ),
                format!("use Linux {FLOOR} or newer, built with CONFIG_FTRACE"),
            ),
        }
    }

    /// perf_event_open(2) was refused.
    #[must_use]
    pub fn no_perf_events(name: Name, error: &io::Error, facts: &Facts) -> Self {
        if facts.sys_hidden && error.kind() == io::ErrorKind::NotFound {
            return Self::no_sys(name, facts);
        }
        let strict = facts.paranoid.filter(|&level| level > 2);
        let denied = [Some(libc::EPERM), Some(libc::EACCES)].contains(&error.raw_os_error());
        let lacking = facts.held.lacks(&[Cap::Perfmon]);
        match (denied, strict) {
            (true, Some(level)) if lacking.is_empty() && !facts.held.grant(Cap::SysAdmin) => {
                Self::unknown(
                    name,
                    format!(
                        "perf_event_open(2) is refused: with kernel.perf_event_paranoid={level} \
                         this kernel asks for CAP_SYS_ADMIN"
                    ),
                    "sysctl kernel.perf_event_paranoid=2, or give it CAP_SYS_ADMIN",
                )
            }
            (true, _) => Self::refused(name, "perf_event_open(2)", &[Cap::Perfmon], error, facts),
            (false, _) => Self::missing(
                name,
                format!("perf_event_open(2) fails ({})", plain(error)),
                "use a kernel built with CONFIG_PERF_EVENTS",
            ),
        }
    }

    /// No uprobes.
    #[must_use]
    pub fn no_uprobes(error: &io::Error, facts: &Facts) -> Self {
        if facts.sys_hidden {
            return Self::no_sys(Name::Uprobes, facts);
        }
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::no_perf_events(Name::Uprobes, error, facts),
            _ => Self::missing(
                Name::Uprobes,
                format!("functions of programs can't be probed ({})", plain(error)),
                "use a kernel built with CONFIG_UPROBE_EVENTS; or trace mappings and faults \
                 alone: --trace pages",
            ),
        }
    }

    /// The trace of the doctor's own child saw something else than the child did.
    #[must_use]
    pub fn wrong(name: Name, what: impl Into<String>) -> Self {
        Self::missing(
            name,
            what,
            "report this with what `tracer doctor --json` prints",
        )
    }

    /// `/proc/PID/map_files` is closed.
    #[must_use]
    pub fn no_map_files() -> Self {
        Self::unknown(
            Name::MapFiles,
            "links in /proc/PID/map_files can't be followed",
            "give it CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN",
        )
    }
}

/// An error without its number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// `CAP_BPF and CAP_PERFMON`
fn names(caps: &[Cap]) -> String {
    let names: Vec<_> = caps.iter().map(|cap| cap.name()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "all capabilities".to_owned(),
    }
}

/// How to get capabilities, or, where none is lacking, past what forbids a call all the same.
pub(super) fn way_to(lacking: &[Cap], call: &str, facts: &Facts) -> String {
    if facts.user_namespace {
        return "run it as root on the host: capabilities of a user namespace (a rootless \
                container) don't reach the kernel"
            .into();
    }
    if lacking.is_empty() {
        return match (facts.seccomp, facts.container) {
            (true, Some(_)) => format!(
                "this container's seccomp filter forbids {call}: {}",
                outside(facts)
            ),
            (true, None) => format!("a seccomp filter forbids {call}: {}", outside(facts)),
            (false, _) => {
                "look into the kernel's log for the security module that forbids it (SELinux, \
                 AppArmor, lockdown), or run it on the host"
                    .into()
            }
        };
    }
    let attainable = facts.bounding.lacks(lacking).is_empty();
    match (attainable, facts.container) {
        (true, _) if !facts.root && facts.no_new_privileges => {
            "start it outside of this sandbox, in which sudo gains nothing (no_new_privs)".into()
        }
        (true, _) if !facts.root => format!(
            "run it as root (sudo), or give it {}",
            names(&[Cap::Bpf, Cap::Perfmon, Cap::SysPtrace])
        ),
        (true, _) => format!("give it {} (capabilities(7))", names(lacking)),
        (false, Some(_)) => outside(facts),
        (false, None) => format!(
            "run it where nothing takes {} away (here a sandbox or a service's \
             CapabilityBoundingSet= does): on the host, as root",
            names(lacking)
        ),
    }
}

/// How to get out of a sandbox.
fn outside(facts: &Facts) -> String {
    match facts.container {
        Some(Container::Docker) => {
            "ask for --privileged, or --cap-add SYS_ADMIN --cap-add SYS_PTRACE (Docker); or run \
             it on the host"
        }
        Some(Container::Podman) => "ask for --privileged as root (Podman); or run it on the host",
        Some(Container::Kubernetes) => {
            "ask for securityContext.privileged, or capabilities.add [SYS_ADMIN, SYS_PTRACE] \
             (Kubernetes); or run it on the node"
        }
        Some(Container::Other) => "ask for a privileged container, or run it on the host",
        None => "run it on the host, outside of this sandbox",
    }
    .into()
}

/// How tracefs can be opened.
fn tracefs_remedy(facts: &Facts) -> String {
    let held = facts.held.grant(Cap::SysAdmin);
    match (held, facts.root) {
        (true, _) => outside(facts),
        (false, true) => format!(
            "mount it on the host and into the container (mount -t tracefs nodev \
             /sys/kernel/tracing), or get CAP_SYS_ADMIN: {}",
            way_to(&[Cap::SysAdmin], "fsopen(2)", facts)
        ),
        (false, false) => {
            "run it as root (sudo); or give it CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH as well; or \
             mount tracefs so that this user can read it (mount -t tracefs -o \
             mode=755 nodev /sys/kernel/tracing)"
                .into()
        }
    }
}

/// The verifier's last word: its statistics follow it.
fn reason(log: &str) -> Option<String> {
    let mut words = log.lines().map(str::trim);
    let is_word = |line: &&str| {
        let statistics = [
            "processed ",
            "verification time",
            "stack depth",
            "mark_precise",
        ];
        !line.is_empty() && !statistics.iter().any(|prefix| line.starts_with(prefix))
    };
    words.rfind(is_word).map(ToOwned::to_owned)
}

/// A size as `--ring-buffer` takes it.
fn option(bytes: Bytes) -> String {
    format!("{}MiB", (bytes.0 >> 20).max(1))
}

#[cfg(test)]
#[path = "lack_tests.rs"]
mod tests;
