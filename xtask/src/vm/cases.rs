//! What is run under each kernel.

use super::guest::Machine;
use std::borrow::Cow;

/// One thing to check.
pub(crate) struct Case {
    /// How the table calls it.
    pub(crate) name: &'static str,
    /// Whether it belongs to what CI runs.
    pub(crate) core: bool,
    /// The guest that it runs in; cases of equal machines share one.
    pub(crate) machine: Machine,
    /// Longest that it may take, in seconds.
    pub(crate) limit: u64,
    /// What the guest's shell runs. `$LIVE`, `$PROBES` and `$CHAINS` are the test binaries;
    /// `constrained WORDS…` runs what `constrained.sh` says with these words before each command.
    pub(crate) script: &'static str,
}

/// A script that prints this before something says that results are less exact, and why.
pub(crate) const DEGRADED: &str = "degraded: ";
/// A script that prints this says that the tracer refused in the way it should.
pub(crate) const REFUSED: &str = "refused: ";
/// What comes after this is the number of instructions of each BPF program, as JSON.
pub(crate) const VERIFIED: &str = "verified: ";

const TWO: Machine = Machine {
    cpus: 2,
    mib: 2048,
    kernel: Cow::Borrowed(""),
};
const ONE: Machine = Machine { cpus: 1, ..TWO };
const INTEGRITY: Machine = Machine {
    kernel: Cow::Borrowed("lockdown=integrity"),
    ..TWO
};
const CONFIDENTIALITY: Machine = Machine {
    kernel: Cow::Borrowed("lockdown=confidentiality"),
    ..TWO
};

const fn core(name: &'static str, limit: u64, script: &'static str) -> Case {
    Case {
        name,
        core: true,
        machine: TWO,
        limit,
        script,
    }
}

const fn more(name: &'static str, machine: Machine, limit: u64, script: &'static str) -> Case {
    Case {
        name,
        core: false,
        machine,
        limit,
        script,
    }
}

/// All of them, in the order of the table.
pub(crate) static CASES: [Case; 33] = [
    core("doctor", 60, "tracer doctor"),
    core("programs load", 60, "python3 /vm/verified.py"),
    core(
        "truth, heap",
        900,
        "$LIVE residency::with_the_malloc_family",
    ),
    core("truth, pages", 900, "$LIVE residency::without_it"),
    core("reserved and resident", 120, "$LIVE memory::"),
    core("allocations", 400, "$LIVE allocations::"),
    core("events", 400, "$PROBES"),
    core("stacks", 120, "$LIVE stacks::"),
    core("losses", 400, "$LIVE losses::"),
    core("deaths", 400, "$LIVE endings::"),
    core("Python, late library", 120, "$LIVE late::"),
    core("pid namespace", 120, "constrained unshare -pf --mount-proc"),
    core("chroot", 120, CHROOT),
    core("memory cgroup, 64 MiB", 120, CGROUP),
    core(
        "without CAP_SYS_ADMIN",
        120,
        "constrained setpriv --bounding-set -sys_admin --inh-caps -sys_admin",
    ),
    core(
        "/sys masked",
        120,
        "constrained unshare -m sh -c 'mount -t tmpfs none /sys && exec \"$@\"' sh",
    ),
    core(
        "tracefs not mounted",
        120,
        "umount /sys/kernel/tracing; constrained env; status=$?; mount -t tracefs tracefs /sys/kernel/tracing; exit $status",
    ),
    core(
        "JIT off",
        120,
        "sysctl -q net.core.bpf_jit_enable=0; constrained env; status=$?; sysctl -q net.core.bpf_jit_enable=1; exit $status",
    ),
    more("swap", TWO, 200, "$LIVE residency::what_is_swapped_out"),
    more("khugepaged", TWO, 200, "$LIVE residency::khugepaged"),
    more(
        "hugetlbfs",
        TWO,
        200,
        "$LIVE residency::huge_pages_of_hugetlbfs",
    ),
    more("files that moved", TWO, 400, "$LIVE files::"),
    more("bad input", TWO, 400, "$LIVE bad_input::"),
    more("recordings", TWO, 200, "$LIVE recording:: --skip pyarrow"),
    more("chains of calls", TWO, 1500, "$CHAINS"),
    more(
        "1 processor: truth, heap",
        ONE,
        900,
        "$LIVE residency::with_the_malloc_family",
    ),
    more(
        "1 processor: truth, pages",
        ONE,
        900,
        "$LIVE residency::without_it",
    ),
    more("1 processor: allocations", ONE, 400, "$LIVE allocations::"),
    more("1 processor: losses", ONE, 400, "$LIVE losses::"),
    more("1 processor: deaths", ONE, 400, "$LIVE endings::"),
    more(
        "lockdown=integrity",
        INTEGRITY,
        120,
        "grep -F '[integrity]' /sys/kernel/security/lockdown && constrained env",
    ),
    more(
        "lockdown, no securityfs",
        INTEGRITY,
        120,
        "umount /sys/kernel/security && constrained env",
    ),
    more(
        "lockdown=confidentiality",
        CONFIDENTIALITY,
        120,
        "grep -F '[confidentiality]' /sys/kernel/security/lockdown && constrained env",
    ),
];

/// The root folder of a chroot: everything but the name.
const CHROOT: &str = "
mkdir -p /jail
mount --bind / /jail
for place in proc sys dev tmp; do mount --rbind /$place /jail/$place; done
constrained chroot /jail";

/// The programs of `memory` take too much for so small a group, in which the tracer is as well.
const CGROUP: &str = "
export TESTS=
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir -p /sys/fs/cgroup/small
echo $((64 << 20)) >/sys/fs/cgroup/small/memory.max
constrained sh -c 'echo $$ >/sys/fs/cgroup/small/cgroup.procs && exec \"$@\"' sh";
