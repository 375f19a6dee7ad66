//! What containers are made of: memory cgroups, overlays, root folders of their own.

use crate::files::copy_libc;
use crate::harness::{Trace, number, program, site, trace};
use crate::privileges::Late;
use std::fs;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

/// A memory cgroup of its own, of whichever version the machine has.
struct Cgroup {
    path: PathBuf,
    two: bool,
}

impl Cgroup {
    fn new(name: &str) -> Self {
        let name = format!("tracer-test-{}-{name}", std::process::id());
        let one = Path::new("/sys/fs/cgroup/memory");
        let two = !one.join("memory.limit_in_bytes").exists();
        let root = if two {
            Path::new("/sys/fs/cgroup")
        } else {
            one
        };
        if two {
            fs::write(root.join("cgroup.subtree_control"), "+memory").expect("cgroups are mounted");
        }
        let path = root.join(name);
        fs::create_dir(&path).expect("root may make a cgroup");
        Self { path, two }
    }

    /// Its path below the root of cgroups.
    fn name(&self) -> String {
        format!(
            "/{}",
            self.path.file_name().expect("a name").to_string_lossy()
        )
    }

    fn limit(&self, bytes: u64) {
        let file = if self.two {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        fs::write(self.path.join(file), bytes.to_string()).expect("it takes a limit");
        // Otherwise a machine with swap would use that first.
        let swap = if self.two {
            "memory.swap.max"
        } else {
            "memory.swappiness"
        };
        let _ = fs::write(self.path.join(swap), "0");
    }

    /// The peak that the kernel has now; nothing before version 2 had one.
    fn peak(&self) -> Option<u64> {
        let file = if self.two {
            "memory.peak"
        } else {
            "memory.max_usage_in_bytes"
        };
        let text = fs::read_to_string(self.path.join(file)).ok()?;
        text.trim().parse().ok()
    }

    /// Traces a program that enters it first.
    fn trace(&self, options: &[&str], program: &Path, args: &[&str]) -> Trace {
        let script = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        let path = self.path.to_str().expect("UTF-8");
        let words = [&["-c", script, path, text(program)][..], args].concat();
        trace(options, Path::new("sh"), &words)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_command_that_its_cgroup_kills_is_told_so() {
    let cgroup = Cgroup::new("kill");
    cgroup.limit(32 * MIB);
    let run = cgroup.trace(&[], &program("hog", &[]), &["256"]);
    assert_eq!(run.code(), Some(137), "{}", run.stderr());
    let summary = run.summary();
    let said = "killed for memory by its cgroup (limit 32 MiB)";
    assert!(summary.contains(said), "{summary}");
    assert!(!summary.contains("signal 9"), "{summary}");
    let stats = run.stats();
    assert_eq!(stats["exit"]["signal"], 9);
    assert_eq!(stats["killed_for_memory"], "cgroup");
    assert_eq!(stats["processes"][0]["killed_for_memory"], "cgroup");
    let about = &stats["cgroup"];
    assert_eq!(about["version"], if cgroup.two { 2 } else { 1 });
    assert_eq!(about["path"], cgroup.name());
    assert_eq!(number(&about["limit_bytes"]), 32 * MIB);
    assert_eq!(about["limited_by"], cgroup.name());
    assert_eq!(number(&about["oom_kills"]), 1);
    assert_eq!(about["peak_bytes"].as_u64(), cgroup.peak());
    if let Some(peak) = cgroup.peak() {
        // The kernel charges in batches of 64 pages a processor.
        assert!((31 * MIB..=32 * MIB).contains(&peak), "{peak}");
        assert!(summary.contains("of a limit of 32 MiB"), "{summary}");
    }
    // What was touched until then stands in the recording as well.
    let grown = number(&site(&stats, "grow")["resident_at_peak_bytes"]);
    assert!((20 * MIB..=32 * MIB).contains(&grown), "{grown}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_child_that_the_cgroup_kills_is_told_of() {
    let cgroup = Cgroup::new("child");
    cgroup.limit(32 * MIB);
    let hog = program("hog", &[]);
    let run = cgroup.trace(
        &[],
        Path::new("sh"),
        &["-c", "\"$0\" 256; exit 3", text(&hog)],
    );
    assert_eq!(run.code(), Some(3), "{}", run.stderr());
    let stats = run.stats();
    assert!(stats["killed_for_memory"].is_null());
    let killed: Vec<_> = stats["processes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|process| process["killed_for_memory"] == "cgroup")
        .collect();
    assert_eq!(killed.len(), 1, "{}", stats["processes"]);
    assert_eq!(killed[0]["exit"]["signal"], 9);
    let said = format!(
        "process {} was killed for memory by its cgroup",
        killed[0]["pid"]
    );
    let summary = run
        .summary()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(summary.contains(&said), "{summary}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_limit_of_an_ancestor_counts_and_its_peak_is_told() {
    let outer = Cgroup::new("outer");
    outer.limit(64 * MIB);
    if outer.two {
        fs::write(outer.path.join("cgroup.subtree_control"), "+memory").expect("it may");
    }
    let inner = Cgroup {
        path: outer.path.join("inner"),
        two: outer.two,
    };
    fs::create_dir(&inner.path).expect("made");
    let run = inner.trace(&[], &program("hog", &[]), &["16"]);
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    let stats = run.stats();
    assert!(stats["killed_for_memory"].is_null());
    let about = &stats["cgroup"];
    assert_eq!(about["path"], format!("{}/inner", outer.name()));
    assert_eq!(number(&about["limit_bytes"]), 64 * MIB);
    assert_eq!(about["limited_by"], outer.name());
    assert_eq!(number(&about["oom_kills"]), 0);
    assert_eq!(about["peak_bytes"].as_u64(), inner.peak());
    let summary = run
        .summary()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let said = format!("of a limit of 64 MiB, set by {}", outer.name());
    assert!(
        summary.contains(&said) || outer.peak().is_none(),
        "{summary}"
    );
    drop(inner);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_kill_by_somebody_is_no_lack_of_memory_and_no_limit_makes_no_line() {
    let cgroup = Cgroup::new("none");
    let run = cgroup.trace(&[], &program("hog", &[]), &["16"]);
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    let has_line = |run: &Trace| run.summary().lines().any(|line| line.starts_with("cgroup"));
    assert!(!has_line(&run), "{}", run.summary());
    let stats = run.stats();
    assert_eq!(stats["cgroup"]["path"], cgroup.name());
    assert!(stats["cgroup"]["limit_bytes"].is_null());
    cgroup.limit(64 * MIB);
    let run = cgroup.trace(&[], &program("ends", &[]), &["kill"]);
    assert_eq!(run.code(), Some(137), "{}", run.stderr());
    assert!(run.stats()["killed_for_memory"].is_null());
    assert!(
        run.summary().contains("ended by signal 9"),
        "{}",
        run.summary()
    );
}

/// All that a container's root file system has to have, C library and all, is in an overlay that
/// only the target sees.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_allocator_in_the_root_file_system_of_a_container_is_probed() {
    let image = tempfile::tempdir().expect("a folder");
    copy_libc(image.path());
    fs::copy(program("late_allocator", &[]), image.path().join("late")).expect("copied");
    let library = program("late_allocator", &["-DLIBRARY", "-shared", "-fPIC"]);
    fs::copy(library, image.path().join("late.so")).expect("copied");
    let layers = tempfile::tempdir().expect("a folder");
    let script = r#"mount -t tmpfs none "$1" && mkdir "$1/root" "$1/upper" "$1/work" &&
        mount -t overlay -o "lowerdir=$0,upperdir=$1/upper,workdir=$1/work" none "$1/root" &&
        exec chroot "$1/root" /late /late.so"#;
    let words = [
        "unshare",
        "-m",
        "sh",
        "-c",
        script,
        text(image.path()),
        text(layers.path()),
    ];
    let mut late = Late::start(&["-q"], &words);
    late.says("started");
    late.load_and_use();
    let run = late.end();
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    run.assert_nothing_lost();
    let stats = run.stats();
    let thousand = site(&stats, "thousand");
    assert_eq!(number(&thousand["calls"]), 1000);
    let stack: Vec<_> = thousand["stack"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|frame| {
            frame
                .as_str()
                .expect("text")
                .split(':')
                .next()
                .expect("a name")
        })
        .collect();
    assert_eq!(stack[..3], ["malloc", "thousand", "main"]);
    assert_eq!(stack.last(), Some(&"_start"));
    assert_eq!(
        number(&site(&stats, "main")["resident_at_peak_bytes"]),
        5 * MIB
    );
}
