use super::*;
use std::fs;

/// A folder that looks like a mount of cgroups.
struct Fake {
    dir: tempfile::TempDir,
    version: Version,
}

impl Fake {
    fn new(version: Version) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, version }
    }

    fn write(&self, cgroup: &str, files: &[(&str, &str)]) {
        let folder = self.dir.path().join(cgroup);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    fn place(&self, root: &str, path: &str) -> Option<Hierarchy> {
        let about = match self.version {
            Version::One => "cgroup none rw,memory",
            Version::Two => "cgroup2 none rw",
        };
        let mounts = format!(
            "22 27 0:21 / /proc rw shared:3 - proc proc rw\n\
             31 23 0:28 {root} {} rw,relatime master:4 - {about}\n",
            self.dir.path().display()
        );
        Hierarchy::among(self.version, path, &mounts, Path::new(""))
    }
}

#[test]
fn the_memory_controller_is_where_it_is() {
    let hybrid = "9:name=systemd:/\n4:cpu,memory:/a:b\n0::/unified\n";
    assert_eq!(place::memory_path(hybrid), Some((Version::One, "/a:b")));
    let unified = "1:name=systemd:/x\n0::/unified\n";
    assert_eq!(
        place::memory_path(unified),
        Some((Version::Two, "/unified"))
    );
    assert_eq!(place::memory_path("5:cpu:/x\n"), None);
    assert_eq!(place::memory_path(""), None);
}

#[test]
fn the_lowest_limit_of_all_ancestors_counts_in_version_2() {
    let fake = Fake::new(Version::Two);
    fake.write("", &[]);
    fake.write(
        "a",
        &[
            ("memory.current", "5\n"),
            ("memory.max", "1000000\n"),
            ("memory.swap.max", "0\n"),
            ("memory.events.local", "low 0\noom 1\noom_kill 1\n"),
        ],
    );
    fake.write(
        "a/b",
        &[
            ("memory.current", "5\n"),
            ("memory.max", "max\n"),
            ("memory.swap.max", "max\n"),
            ("memory.peak", "4096\n"),
            (
                "memory.events",
                "low 0\noom 0\noom_kill 2\noom_group_kill 7\n",
            ),
            ("memory.events.local", "low 0\noom 0\noom_kill 2\n"),
        ],
    );
    let place = fake.place("/", "/a/b").unwrap();
    assert_eq!(place.limit(), Some((1_000_000, "/a".to_owned())));
    assert_eq!(place.swap_limit(), Some(0));
    let counts = Counts {
        peak: Some(4096),
        oom_kills: Some(2),
        exhausted: vec![Some(0), Some(1), None],
    };
    assert_eq!(place.counts(), counts);
    // The root of all has no limits, and no files of the controller.
    assert_eq!(fake.place("/", "/"), None);
}

#[test]
fn limits_above_the_mount_are_told_by_version_1() {
    let fake = Fake::new(Version::One);
    fake.write(
        "",
        &[
            ("memory.usage_in_bytes", "5\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.memsw.limit_in_bytes", "9223372036854771712\n"),
            ("memory.stat", "cache 7\nhierarchical_memory_limit 300000\n"),
            ("memory.max_usage_in_bytes", "8192\n"),
            ("memory.oom_control", "under_oom 0\noom_kill 3\n"),
            ("memory.failcnt", "11\n"),
        ],
    );
    // In a container without a cgroup namespace: its own cgroup is mounted.
    let place = fake.place("/docker/1", "/docker/1").unwrap();
    assert_eq!(place.limit(), Some((300_000, "/".to_owned())));
    assert_eq!(place.swap_limit(), None);
    let counts = Counts {
        peak: Some(8192),
        oom_kills: Some(3),
        exhausted: vec![Some(11)],
    };
    assert_eq!(place.counts(), counts);
    assert_eq!(fake.place("/docker/1", "/docker/12"), None);
    assert_eq!(fake.place("/", "/../x"), None);
}

#[test]
fn swap_of_version_1_is_what_its_limit_allows_beside_memory() {
    let fake = Fake::new(Version::One);
    fake.write(
        "a",
        &[
            ("memory.usage_in_bytes", "5\n"),
            ("memory.limit_in_bytes", "1000\n"),
            ("memory.memsw.limit_in_bytes", "1500\n"),
        ],
    );
    let place = fake.place("/", "/a").unwrap();
    assert_eq!(place.limit(), Some((1000, "/a".to_owned())));
    assert_eq!(place.swap_limit(), Some(500));
}

fn counts(peak: u64, oom_kills: u64, exhausted: [u64; 2]) -> Counts {
    Counts {
        peak: Some(peak),
        oom_kills: Some(oom_kills),
        exhausted: exhausted.map(Some).to_vec(),
    }
}

fn seen(before: Option<Counts>, last: Counts) -> Seen {
    let fake = Fake::new(Version::Two);
    fake.write("a", &[("memory.current", "5\n"), ("memory.max", "10\n")]);
    let place = fake.place("/", "/a").unwrap();
    Seen {
        place,
        before,
        last,
    }
}

#[test]
fn what_was_killed_before_does_not_count() {
    let before = counts(100, 4, [2, 0]);
    let sum = seen(Some(before.clone()), before.clone()).sum(Some(1));
    assert_eq!((sum.oom_kills, sum.exhausted), (Some(0), None));
    assert_eq!((sum.peak, sum.peak_before), (Some(100), Some(100)));
    let sum = seen(Some(before.clone()), counts(200, 5, [2, 1])).sum(Some(1));
    assert_eq!(sum.oom_kills, Some(1));
    assert_eq!(sum.exhausted.as_deref(), Some("/"), "an ancestor's limit");
    // Killed though no limit of the cgroups was reached.
    let sum = seen(Some(before), counts(200, 5, [2, 0])).sum(Some(1));
    assert_eq!((sum.oom_kills, sum.exhausted), (Some(1), None));
}

#[test]
fn in_a_cgroup_that_was_seen_too_late_the_machines_count_is_the_limit() {
    let sum = seen(None, counts(100, 4, [2, 0])).sum(Some(0));
    assert_eq!((sum.oom_kills, sum.exhausted), (Some(0), None));
    let sum = seen(None, counts(100, 4, [2, 0])).sum(Some(1));
    assert_eq!(sum.oom_kills, Some(1));
    assert_eq!(sum.exhausted.as_deref(), Some("/a"));
}

#[test]
fn figures_of_a_cgroup_that_is_gone_stay() {
    let mut last = counts(100, 4, [2, 0]);
    last.take(Counts {
        peak: None,
        oom_kills: None,
        exhausted: vec![None, Some(9)],
    });
    assert_eq!(last, counts(100, 4, [2, 9]));
}
