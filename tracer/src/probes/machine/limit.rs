//! How much memory the kernel side may take here.

use crate::units::Bytes;
use std::path::Path;

/// Room for events where nothing else is asked for.
pub const DEFAULT_RING: Bytes = Bytes(tracer_ebpf::RING_BYTES as u64);

/// Less than this loses events of any program that allocates much.
pub const SMALLEST_RING: Bytes = Bytes(1 << 20);

/// What a trace takes at least, the command aside.
pub const LEAST_MEMORY: Bytes = Bytes(BESIDE.0 + (12 << 20));

/// What the tracer takes beside its ring buffer, the command aside. Measured on 6.18, `true` under
/// a limit: 24 MiB for maps, programs and what the kernel keeps of them; the rest for itself and
/// the process that reads names. The allocator of the static program gives back less of what the
/// start took.
const BESIDE: Bytes = Bytes(if cfg!(target_env = "musl") { 70 } else { 52 } << 20);

/// Below this the kernel kills rather than refuses.
const HOPELESS: Bytes = Bytes(BESIDE.0 + (4 << 20));

/// The memory that our cgroups grant, where it is too little to begin with.
pub(super) fn too_little() -> Option<Bytes> {
    memory_limit().filter(|&limit| limit < HOPELESS)
}

/// The largest power of two up to `wanted` that leaves half of what our cgroups grant beside the
/// tracer itself: to unwind tables, and to the command.
#[must_use]
pub fn ring_that_fits(wanted: Bytes) -> Bytes {
    match memory_limit() {
        Some(limit) => within(wanted, limit),
        None => wanted,
    }
}

fn within(wanted: Bytes, limit: Bytes) -> Bytes {
    let half = limit.0.saturating_sub(BESIDE.0) / 2;
    Bytes(wanted.0.min(1 << half.max(SMALLEST_RING.0).ilog2()))
}

/// The tightest memory limit of our cgroups and those above them.
fn memory_limit() -> Option<Bytes> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        match controllers {
            "" => tightest("/sys/fs/cgroup", path, "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                tightest("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes")
            }
            _ => None,
        }
    });
    limits.min()
}

/// The smallest of the limits in `file` of a group and of those that it is in.
fn tightest(root: &str, path: &str, file: &str) -> Option<Bytes> {
    let root = Path::new(root);
    let group = root.join(path.trim_start_matches('/'));
    let around = group
        .ancestors()
        .take_while(|group| group.starts_with(root));
    let limits = around.filter_map(|group| {
        let text = std::fs::read_to_string(group.join(file)).ok()?;
        text.trim().parse().ok().map(Bytes)
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_left_at_most() {
        let mib = |n: u64| Bytes(n << 20);
        for (left, ring) in [
            (mib(4096), mib(128)),
            (mib(256), mib(128)),
            (mib(255), mib(64)),
            (mib(12), mib(4)),
            (mib(0), mib(1)),
        ] {
            assert_eq!(within(mib(128), Bytes(BESIDE.0 + left.0)), ring, "{left}");
        }
        assert_eq!(within(mib(128), mib(3)), mib(1));
    }

    #[test]
    fn limits_of_the_groups_around_count() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let find = || tightest(root, "/a/b", "memory.max");
        assert_eq!(find(), None);
        std::fs::write(inner.join("memory.max"), "max\n").unwrap();
        assert_eq!(find(), None);
        std::fs::write(dir.path().join("a/memory.max"), "4096\n").unwrap();
        assert_eq!(find(), Some(Bytes(4096)));
        std::fs::write(inner.join("memory.max"), "8192\n").unwrap();
        assert_eq!(find(), Some(Bytes(4096)));
    }
}
