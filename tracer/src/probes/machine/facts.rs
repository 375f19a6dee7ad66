//! Where the tracer runs: what the remedy for a refusal depends on.

use crate::probes::kernel::has_types;
use std::fmt;

/// The oldest kernel that has every helper that the programs call: `bpf_loop` and
/// `bpf_find_vma` are of Linux 5.17.
pub const FLOOR: Version = Version(5, 17);

/// Kernels that the tracer is tested on.
pub const TESTED: &str = "6.1, 6.12 and 6.18";

/// A kernel's version, as far as it says what the kernel has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16);

/// A capability(7) that a trace may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cap {
    /// Files of other users: a tracefs that is mounted for root alone.
    DacReadSearch = 2,
    /// `/proc/PID` of processes that may more than the tracer.
    SysPtrace = 19,
    /// Contains those below; besides, opening tracefs where it is not mounted.
    SysAdmin = 21,
    /// Perf events, tracepoints, reading the kernel's memory.
    Perfmon = 38,
    /// bpf(2)
    Bpf = 39,
    /// `/proc/PID/map_files`
    CheckpointRestore = 40,
}

/// A set of capabilities, as `/proc/self/status` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps(pub u64);

/// What keeps a process apart from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Docker, or what behaves like it.
    Docker,
    /// Podman.
    Podman,
    /// A pod.
    Kubernetes,
    /// Another one: LXC, systemd-nspawn, …
    Other,
}

/// How far the kernel protects itself from root (kernel_lockdown(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lockdown {
    /// It does not say: securityfs is not mounted, or it knows no lockdown.
    #[default]
    Unknown,
    /// Not at all.
    None,
    /// It may be read, not changed.
    Integrity,
    /// It may not even be read.
    Confidentiality,
}

/// What is known of the place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Effective user id 0.
    pub root: bool,
    /// Effective capabilities.
    pub held: Caps,
    /// What a program run as root could have.
    pub bounding: Caps,
    /// Neither sudo nor another set-user-ID program gains anything.
    pub no_new_privileges: bool,
    /// A seccomp filter stands between us and the kernel.
    pub seccomp: bool,
    /// We are in a user namespace: capabilities don't reach the kernel itself.
    pub user_namespace: bool,
    /// Which container this is.
    pub container: Option<Container>,
    /// `uname -r`, its first two numbers.
    pub kernel: Version,
    /// Lockdown, where the kernel says.
    pub lockdown: Lockdown,
    /// `kernel.perf_event_paranoid`
    pub paranoid: Option<i32>,
    /// `net.core.bpf_jit_enable`; a container's network namespace does not show it.
    pub jit: Option<u32>,
    /// /sys does not show devices: a sandbox has put something over it.
    pub sys_hidden: bool,
    /// Whether the kernel was built with its types (`CONFIG_DEBUG_INFO_BTF`).
    pub built_with_btf: Option<bool>,
}

impl Cap {
    /// As capability(7) calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
            Self::CheckpointRestore => "CAP_CHECKPOINT_RESTORE",
        }
    }
}

impl Caps {
    /// Whether the set grants what the capability grants: `CAP_SYS_ADMIN` does for those that
    /// were split from it.
    #[must_use]
    pub fn grant(self, cap: Cap) -> bool {
        let has = |cap: Cap| self.0 >> cap as u8 & 1 != 0;
        let split = matches!(cap, Cap::Perfmon | Cap::Bpf | Cap::CheckpointRestore);
        has(cap) || split && has(Cap::SysAdmin)
    }

    /// Those that it does not grant.
    #[must_use]
    pub fn lacks(self, wanted: &[Cap]) -> Vec<Cap> {
        let lacks = |&cap: &Cap| !self.grant(cap);
        wanted.iter().copied().filter(lacks).collect()
    }
}

impl Version {
    /// From `uname -r`.
    #[must_use]
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next()?.parse().ok();
        Some(Self(next()?, next()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Lockdown {
    /// From the kernel's list, the one in force in brackets.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let forced = |level: &str| text.contains(&format!("[{level}]"));
        match () {
            () if forced("confidentiality") => Self::Confidentiality,
            () if forced("integrity") => Self::Integrity,
            () if forced("none") => Self::None,
            () => Self::Unknown,
        }
    }
}

impl Facts {
    /// Looks around. What can't be read stays unknown.
    #[must_use]
    pub fn gather() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str| read(path).trim().parse().ok();
        let release = read("/proc/sys/kernel/osrelease");
        let release = release.trim();
        Self {
            root: nix::unistd::geteuid().is_root(),
            user_namespace: is_mapped(&read("/proc/self/uid_map")),
            container: container(),
            kernel: Version::parse(release).unwrap_or_default(),
            lockdown: Lockdown::parse(&read("/sys/kernel/security/lockdown")),
            paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
            jit: read("/proc/sys/net/core/bpf_jit_enable")
                .trim()
                .parse()
                .ok(),
            sys_hidden: !std::path::Path::new("/sys/devices/system/cpu").exists(),
            built_with_btf: has_types().or_else(|| config(release).map(|config| has_btf(&config))),
            ..Self::of_status(&read("/proc/thread-self/status"))
        }
    }

    /// What `/proc/self/status` tells.
    fn of_status(status: &str) -> Self {
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim()
        };
        let caps = |key| Caps(u64::from_str_radix(value(key), 16).unwrap_or(0));
        Self {
            held: caps("CapEff:"),
            bounding: caps("CapBnd:"),
            no_new_privileges: value("NoNewPrivs:") == "1",
            seccomp: value("Seccomp:") == "2",
            ..Self::default()
        }
    }
}

/// Whether ids are those of a user namespace: the initial one maps all to themselves.
fn is_mapped(uid_map: &str) -> bool {
    let numbers: Vec<&str> = uid_map.split_whitespace().collect();
    !numbers.is_empty() && numbers != ["0", "0", "4294967295"]
}

/// What the usual makers of containers leave to be found.
fn container() -> Option<Container> {
    let there = |path: &str| std::path::Path::new(path).exists();
    let cgroups = std::fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    let says = std::env::var("container").unwrap_or_default();
    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    match () {
        () if in_pod || cgroups.contains("kubepods") => Some(Container::Kubernetes),
        () if there("/run/.containerenv") || says == "podman" => Some(Container::Podman),
        () if there("/.dockerenv") || cgroups.contains("docker") => Some(Container::Docker),
        () if !says.is_empty() || cgroups.contains("lxc") => Some(Container::Other),
        () => None,
    }
}

/// How the running kernel was configured, where its files tell it.
fn config(release: &str) -> Option<String> {
    std::fs::read_to_string(format!("/boot/config-{release}")).ok()
}

fn has_btf(config: &str) -> bool {
    config.lines().any(|line| line == "CONFIG_DEBUG_INFO_BTF=y")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdown_is_read_from_the_brackets() {
        let of = Lockdown::parse;
        assert_eq!(of(""), Lockdown::Unknown);
        assert_eq!(of("[none] integrity confidentiality\n"), Lockdown::None);
        assert_eq!(
            of("none [integrity] confidentiality\n"),
            Lockdown::Integrity
        );
        assert_eq!(
            of("none integrity [confidentiality]\n"),
            Lockdown::Confidentiality
        );
    }

    #[test]
    fn versions_compare_as_numbers() {
        let of = |text| Version::parse(text).unwrap();
        assert_eq!(of("6.1.0-56-cloud-amd64"), Version(6, 1));
        assert_eq!(of("6.18-rc1"), Version(6, 18));
        assert!(of("5.4.0") < FLOOR && of("6.1.0") > FLOOR && of("5.17.0") >= FLOOR);
        assert_eq!(Version::parse("linux"), None);
    }

    #[test]
    fn sys_admin_grants_what_was_split_from_it() {
        let admin = Caps(1 << Cap::SysAdmin as u8);
        let wanted = [Cap::Bpf, Cap::Perfmon, Cap::SysPtrace];
        assert_eq!(admin.lacks(&wanted), [Cap::SysPtrace]);
        assert_eq!(Caps(0).lacks(&wanted), wanted);
        assert!(!Caps(1 << Cap::Bpf as u8).grant(Cap::SysAdmin));
    }

    #[test]
    fn status_tells_capabilities_and_sandboxes() {
        let facts = Facts::of_status(
            "Name:\tx\nCapEff:\t0000008000000000\nCapBnd:\t000001ffffffffff\n\
             NoNewPrivs:\t1\nSeccomp:\t2\n",
        );
        assert_eq!(facts.held, Caps(1 << 39));
        assert_eq!(facts.bounding, Caps(0x1ff_ffff_ffff));
        assert!(facts.no_new_privileges && facts.seccomp);
        assert_eq!(Facts::of_status(""), Facts::default());
    }

    #[test]
    fn user_namespaces_map_ids() {
        assert!(!is_mapped("         0          0 4294967295\n"));
        assert!(is_mapped("         0       1000          1\n"));
        assert!(!is_mapped(""));
    }
}
