//! What this kernel offers and where it keeps things; and, where it does not
//! let us, what happened, why, and what to do about it.

use super::bpf;
use super::btf::{Btf, BtfError};
use super::namespace::Namespace;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tracer_ebpf::tables::KernelOffsets;
use tracer_ebpf::{ABSENT, Config};

/// Where the kernel shows its types.
const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";
/// Where it shows that it has uprobes.
const UPROBE_PATH: &str = "/sys/bus/event_source/devices/uprobe/type";
/// Which lockdown is in force, `[in brackets]`.
const LOCKDOWN_PATH: &str = "/sys/kernel/security/lockdown";

/// Why this machine can't trace.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Not root.
    #[error(
        "tracing needs root: the kernel lets only privileged users load BPF programs.\n\
         Run it under sudo, or give it CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE."
    )]
    NotRoot,
    /// No bpf(2).
    #[error(
        "this kernel has no BPF (bpf(2) is not implemented).\n\
         Use one built with CONFIG_BPF_SYSCALL, as those of all distributions are."
    )]
    NoBpf,
    /// No BTF.
    #[error(
        "this kernel does not describe its types ({BTF_PATH}: {0}), so that its counters \
         can't be found.\nUse one built with CONFIG_DEBUG_INFO_BTF, as distributions' are since 2020."
    )]
    NoBtf(#[source] io::Error),
    /// BTF that can't be read.
    #[error("{BTF_PATH} can't be understood: {0}.\nPlease report this with the kernel's version.")]
    BadBtf(#[from] BtfError),
    /// A structure without a member that every supported kernel has.
    #[error(
        "this kernel's {structure} has no {member}: it is older or newer than this tracer knows.\n\
         Please report this with the kernel's version."
    )]
    NoMember {
        /// The struct.
        structure: &'static str,
        /// The member.
        member: &'static str,
    },
    /// No uprobes.
    #[error(
        "this kernel has no uprobes ({UPROBE_PATH}: {0}), so that calls of malloc can't be seen.\n\
         Use one built with CONFIG_UPROBE_EVENTS; or trace mappings and faults alone: --trace pages."
    )]
    NoUprobes(#[source] io::Error),
    /// Lockdown forbids to read the kernel.
    #[error(
        "the kernel is locked down for confidentiality: BPF programs may not read its counters.\n\
         Boot with lockdown=integrity, or without Secure Boot."
    )]
    LockedDown,
    /// The pid namespace can't be found out about.
    #[error(
        "the pid namespace of this process can't be told ({0}), so that processes can't be followed.\n\
         Mount /proc, or run the tracer outside of this container."
    )]
    Namespace(#[source] io::Error),
    /// No tracefs.
    #[error(
        "tracefs can't be opened ({0}), so that the kernel's tracepoints can't be found.\n\
         Use a kernel (5.2 or newer) built with CONFIG_TRACING, outside of any sandbox that \
         forbids fsopen(2)."
    )]
    NoTracefs(#[source] io::Error),
    /// A tracepoint is missing.
    #[error(
        "this kernel has no tracepoint {name} ({error}).\n\
         Use Linux 5.15 or newer, built with CONFIG_FTRACE."
    )]
    NoTracepoint {
        /// Its category and name.
        name: &'static str,
        /// What reading its id said.
        #[source]
        error: io::Error,
    },
}

/// What was found out about the running kernel.
#[derive(Debug)]
pub struct Kernel {
    btf: Btf,
    tracefs: OwnedFd,
}

impl Kernel {
    /// Looks at the running kernel.
    ///
    /// # Errors
    /// [`KernelError`] for the first thing that tracing can't do without.
    pub fn probe() -> Result<Self, KernelError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(KernelError::NotRoot);
        }
        if locked_down(&std::fs::read_to_string(LOCKDOWN_PATH).unwrap_or_default()) {
            return Err(KernelError::LockedDown);
        }
        if !has_bpf() {
            return Err(KernelError::NoBpf);
        }
        let btf = std::fs::read(BTF_PATH).map_err(KernelError::NoBtf)?;
        Ok(Self {
            btf: Btf::parse(btf)?,
            tracefs: bpf::open_tracefs().map_err(KernelError::NoTracefs)?,
        })
    }

    /// Whether functions of programs can be probed.
    ///
    /// # Errors
    /// [`KernelError::NoUprobes`] where they can't.
    pub fn check_uprobes(&self) -> Result<(), KernelError> {
        match std::fs::metadata(UPROBE_PATH) {
            Ok(_) => Ok(()),
            Err(error) => Err(KernelError::NoUprobes(error)),
        }
    }

    /// The id of a classic tracepoint, such as `kmem/rss_stat`.
    ///
    /// # Errors
    /// [`KernelError::NoTracepoint`] where the kernel has none of that name.
    pub fn tracepoint_id(&self, name: &'static str) -> Result<u64, KernelError> {
        let path = format!("events/{name}/id");
        bpf::read_at(self.tracefs.as_fd(), &path)
            .and_then(|text| text.trim().parse().map_err(io::Error::other))
            .map_err(|error| KernelError::NoTracepoint { name, error })
    }

    /// Whether there is a tracepoint.
    #[must_use]
    pub fn has_tracepoint(&self, name: &'static str) -> bool {
        self.tracepoint_id(name).is_ok()
    }

    /// What the BPF programs have to know of this kernel. How they wake the
    /// ring buffer's reader is left to the caller.
    ///
    /// # Errors
    /// [`KernelError::NoMember`] where a struct lacks what every kernel has.
    pub fn config(&self) -> Result<Config, KernelError> {
        let offset = |structure, member| {
            let found = self.btf.offset_of(structure, member);
            found.ok_or(KernelError::NoMember { structure, member })
        };
        let task = |member| offset("task_struct", member);
        let signal = |member| offset("signal_struct", member);
        let mm = |member| offset("mm_struct", member);
        let namespace = Namespace::own(&self.btf).map_err(KernelError::Namespace)?;
        Ok(Config {
            namespace_level: namespace.level,
            namespace_inode: namespace.inode,
            task_thread_pid: namespace.task_thread_pid,
            pid_level: namespace.pid_level,
            pid_numbers: namespace.pid_numbers,
            namespace_inum: namespace.inum,
            wake_bytes: 0,
            wake_every: 1,
            page_size: page_size(),
            copy_all: 0,
            stacks: 0,
            prepare_exec: u32::from(self.has_tracepoint("sched/sched_prepare_exec")),
            // Only x86 has it, for 32-bit calls.
            task_status: task("thread_info.status").unwrap_or(ABSENT),
            task_mm: task("mm")?,
            task_pid: task("pid")?,
            task_tgid: task("tgid")?,
            // From 6.2 on, no thread counts by itself.
            task_rss_stat: task("rss_stat.count").unwrap_or(ABSENT),
            action_handler: offset("k_sigaction", "sa.sa_handler")?,
            task_signal: task("signal")?,
            task_group_leader: task("group_leader")?,
            task_exit_code: task("exit_code")?,
            task_min_flt: task("min_flt")?,
            task_maj_flt: task("maj_flt")?,
            signal_live: signal("live")?,
            signal_flags: signal("flags")?,
            signal_group_exit_code: signal("group_exit_code")?,
            mm_hiwater_rss: mm("hiwater_rss")?,
            mm_hiwater_vm: mm("hiwater_vm")?,
            mm_total_vm: mm("total_vm")?,
            mm_stack_vm: mm("stack_vm")?,
            mm_hugetlb_usage: match super::hugetlb::is_possible() {
                true => mm("hugetlb_usage").unwrap_or(ABSENT),
                false => ABSENT,
            },
            // Only for kernels with uprobes.
            mm_xol_area: mm("uprobes_state.xol_area").unwrap_or(ABSENT),
            xol_area_vaddr: offset("xol_area", "vaddr").unwrap_or(ABSENT),
        })
    }
}

impl Kernel {
    /// What the unwinder has to know of this kernel.
    ///
    /// # Errors
    /// [`KernelError::NoMember`] where a struct lacks what every kernel has.
    pub fn unwind_offsets(&self) -> Result<KernelOffsets, KernelError> {
        super::walk_offsets::offsets(&self.btf)
            .map_err(|(structure, member)| KernelError::NoMember { structure, member })
    }
}

/// Bytes of a page.
#[must_use]
pub fn page_size() -> u64 {
    // SAFETY: takes an integer and returns one.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

fn locked_down(text: &str) -> bool {
    text.contains("[confidentiality]")
}

/// A call with no attribute: any answer but "no such system call" means that
/// there is one.
fn has_bpf() -> bool {
    // SAFETY: a null attribute of size 0 is refused, whatever the command.
    let result = unsafe { libc::syscall(libc::SYS_bpf, 0, std::ptr::null::<u8>(), 0) };
    result >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdown_is_read_from_the_brackets() {
        assert!(!locked_down(""));
        assert!(!locked_down("[none] integrity confidentiality\n"));
        assert!(!locked_down("none [integrity] confidentiality\n"));
        assert!(locked_down("none integrity [confidentiality]\n"));
    }
}
