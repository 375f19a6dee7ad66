//! Machines that allow less: fewer capabilities, a masked /sys, little memory, somebody else's
//! /proc. Each is either traced right, or refused by one true line with exit status 125.

use crate::harness::{need_root, program};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The remedy that is told to those who aren't root.
const THREE: &str = "+bpf,+perfmon,+sys_ptrace";

/// A folder that everybody can write to, with a copy of the tracer.
struct CodeAddress {
    dir: tempfile::TempDir,
}

impl CodeAddress {
    fn new() -> Self {
        need_root();
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_tracer"), place.tracer()).unwrap();
        place
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn tracer(&self) -> PathBuf {
        self.path().join("tracer")
    }

    fn out(&self) -> PathBuf {
        self.path().join("out")
    }

    /// Runs `before` (`setpriv …`), then the tracer with `args`.
    fn run(&self, before: &[&str], args: &[&str]) -> Output {
        let tracer = self.tracer();
        let mut words = before.to_vec();
        words.push(tracer.to_str().unwrap());
        words.extend(args);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.path());
        command.env("TRACER_CACHE", "");
        command
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", words[0]))
    }

    /// The same by a shell, in a mount namespace of its own; `$T` is the tracer.
    fn shell(&self, unshare: &[&str], script: &str) -> Output {
        let mut command = Command::new("unshare");
        command.args(unshare).args(["sh", "-c", script]);
        command.env("T", self.tracer()).env("TRACER_CACHE", "");
        command.current_dir(self.path());
        command.output().expect("unshare is needed")
    }

    fn stats(&self) -> Value {
        let text = std::fs::read_to_string(self.out().join("stats.json")).expect("stats.json");
        serde_json::from_str(&text).expect("JSON")
    }
}

fn as_nobody(caps: &str) -> Vec<String> {
    let mut words: Vec<_> = ["setpriv", "--reuid", "65534", "--clear-groups"].into();
    if !caps.is_empty() {
        words.extend(["--inh-caps", caps, "--ambient-caps", caps]);
    }
    words.into_iter().map(ToOwned::to_owned).collect()
}

/// What the doctor prints as JSON, and its exit status.
#[track_caller]
fn doctor(output: &Output) -> (Value, i32) {
    let text = String::from_utf8_lossy(&output.stdout);
    let found = serde_json::from_str(&text);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let found = found.unwrap_or_else(|error| panic!("{error}: {text}{stderr}"));
    (found, output.status.code().expect("an exit status"))
}

fn capability<'a>(doctor: &'a Value, name: &str) -> &'a Value {
    let all = doctor["capabilities"].as_array().expect("a list");
    let found = all.iter().find(|capability| capability["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {doctor:#}"))
}

/// One line, 125, and nothing that looks like a result.
#[track_caller]
fn assert_refused(place: &CodeAddress, output: &Output, words: &[&str], never: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "one line: {text}");
    for word in words {
        assert!(text.contains(word), "`{word}` in: {text}");
    }
    for word in never {
        assert!(!text.contains(word), "no `{word}` in: {text}");
    }
    assert!(!place.out().exists(), "nothing ran: no folder");
}

const TRUE: [&str; 5] = ["-q", "-o", "out", "--", "true"];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn this_machine_is_proved_by_a_trace_and_nothing_stays() {
    let place = CodeAddress::new();
    let began = Instant::now();
    let (found, code) = doctor(&place.run(&["env"], &["doctor", "--json"]));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(code, 0, "{found:#}");
    for (name, said) in [
        (
            "heap",
            "1000 of 1000 blocks of a child seen to be made, 1000 to be freed",
        ),
        ("pages", "500 of 500 pages"),
        ("ending", "VmHWM"),
        ("stacks", "2 of 2 stacks complete"),
    ] {
        let value = capability(&found, name)["value"].as_str().unwrap();
        assert!(value.contains(said), "{value}");
    }
    let names = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
    assert_eq!(names(place.path()), 1, "the tracer alone");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nobody_is_told_how_to_become_somebody() {
    let place = CodeAddress::new();
    let nobody = as_nobody("");
    let nobody: Vec<_> = nobody.iter().map(String::as_str).collect();
    let words = ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "root", "sudo"];
    assert_refused(&place, &place.run(&nobody, &TRUE), &words, &["CONFIG"]);
    let (found, code) = doctor(&place.run(&nobody, &["doctor", "--json"]));
    assert_eq!((code, found["verdict"].as_str()), (1, Some("unable")));
    let bpf = capability(&found, "bpf");
    assert_eq!(bpf["answer"], "error", "EPERM is no `unsupported`: {bpf}");
    assert!(bpf["remedy"].as_str().unwrap().contains("CAP_BPF"));
    assert_eq!(capability(&found, "heap")["answer"], "untried");
}

/// The remedy works. What it can't open is named, in the doctor's words and in the results.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn three_capabilities_trace_the_heap_and_name_what_they_lack() {
    let place = CodeAddress::new();
    let three = as_nobody(THREE);
    let three: Vec<_> = three.iter().map(String::as_str).collect();
    let (found, code) = doctor(&place.run(&three, &["doctor", "--json"]));
    assert_eq!((code, found["verdict"].as_str()), (0, Some("degraded")));
    assert_eq!(capability(&found, "heap")["answer"], "yes");
    let rss_stat = capability(&found, "rss_stat");
    assert_eq!(rss_stat["answer"], "error");
    assert_eq!(rss_stat["degraded"]["name"], "no_rss_stat");
    assert!(
        rss_stat["remedy"]
            .as_str()
            .unwrap()
            .contains("CAP_SYS_ADMIN")
    );

    let storm = program("storm", &[]);
    let copy = place.path().join("storm");
    std::fs::copy(storm, &copy).unwrap();
    let args = ["-q", "-o", "out", "--", copy.to_str().unwrap(), "2", "1000"];
    let output = place.run(&three, &args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let stats = place.stats();
    assert!(
        stats["tracked_allocs"].as_u64().unwrap() >= 2000,
        "{stats:#}"
    );
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list");
        let name = |entry: &Value| entry["name"].as_str().unwrap().to_owned();
        let mut names: Vec<_> = list.iter().map(name).collect();
        names.sort();
        names.dedup();
        names
    };
    let told: Vec<Value> = found["capabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|capability| capability["degraded"].clone())
        .filter(|degraded| !degraded.is_null())
        .collect();
    assert_eq!(names(&stats["degraded"]), names(&Value::Array(told)));
    let top = std::fs::read_to_string(place.out().join("top.md")).unwrap();
    assert!(top.contains("no_rss_stat"), "{top}");
}

/// A tracefs that is mounted will do where CAP_SYS_ADMIN is wanting.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn root_without_sys_admin_uses_the_tracefs_that_is_mounted() {
    let place = CodeAddress::new();
    let less = "setpriv --bounding-set -sys_admin $T doctor --json";
    let output = place.shell(&["--mount"], less);
    let (found, code) = doctor(&output);
    assert_eq!(code, 0, "{found:#}");
    let mounted = format!("mount -t tracefs none /sys/kernel/tracing && {less}");
    let (found, code) = doctor(&place.shell(&["--mount"], &mounted));
    assert_eq!(code, 0, "{found:#}");
    assert_eq!(capability(&found, "rss_stat")["answer"], "yes");
    assert_eq!(capability(&found, "pages")["answer"], "yes");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_masked_sys_is_seen_through_or_told_as_a_sandbox() {
    let place = CodeAddress::new();
    let masked = "mount -t tmpfs none /sys/kernel";
    let all = format!("{masked} && $T doctor --json");
    let (found, code) = doctor(&place.shell(&["--mount"], &all));
    assert_eq!(
        (code, capability(&found, "btf")["answer"].as_str()),
        (0, Some("yes"))
    );
    let less = format!("{masked} && exec setpriv --bounding-set -sys_admin $T -q -o out -- true");
    let output = place.shell(&["--mount"], &less);
    let (words, never) = (["/sys/kernel/btf/vmlinux", "host"], ["2020"]);
    assert_refused(&place, &output, &words, &never);
    let whole = "mount -t tmpfs none /sys && exec $T -q -o out -- true";
    let output = place.shell(&["--mount"], whole);
    assert_refused(&place, &output, &["hides /sys"], &["CONFIG"]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn another_namespaces_proc_is_refused_with_the_remedy() {
    let place = CodeAddress::new();
    let output = place.shell(&["--pid", "--fork"], "exec $T -q -o out -- true");
    assert_refused(
        &place,
        &output,
        &["another pid namespace", "--mount-proc"],
        &[],
    );
    let none = "umount -l /proc && exec $T -q -o out -- true";
    let output = place.shell(&["--mount"], none);
    assert_refused(&place, &output, &["mount -t proc proc /proc"], &["root"]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn capabilities_of_a_user_namespace_are_none_of_the_kernels() {
    let place = CodeAddress::new();
    let output = place.shell(&["--map-root-user"], "exec $T -q -o out -- true");
    assert_refused(
        &place,
        &output,
        &["host", "user namespace"],
        &["lacks", "sudo"],
    );
}

/// A memory cgroup of version 1 or 2, removed at the end.
struct Group(PathBuf);

impl Group {
    fn new(limit: &str) -> Self {
        let name = format!("tracer-test-{}-{limit}", std::process::id());
        let roots = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        for (root, file) in roots {
            let group = Path::new(root).join(&name);
            if std::fs::create_dir(&group).is_ok() {
                let group = Self(group);
                // Where version 1 is mounted, what lies above it is a folder like any other.
                let is_cgroup = group.0.join("cgroup.procs").exists();
                if is_cgroup && std::fs::write(group.0.join(file), limit).is_ok() {
                    return group;
                }
            }
        }
        panic!("a memory cgroup is needed");
    }

    fn script(&self, then: &str) -> String {
        format!(
            "echo $$ > {}/cgroup.procs && exec $T {then}",
            self.0.display()
        )
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes have ended; the kernel may need a moment to see it.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn little_memory_makes_the_ring_smaller_by_name() {
    for limit in ["128M", "64M"] {
        a_smaller_ring_under(limit);
    }
}

fn a_smaller_ring_under(limit: &str) {
    let place = CodeAddress::new();
    let group = Group::new(limit);
    let output = place.shell(&["--mount"], &group.script("-q -o out -- true"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let stats = place.stats();
    assert_eq!(
        stats["degraded"][0]["name"], "smaller_ring",
        "{}",
        stats["degraded"]
    );
    assert_eq!(stats["complete"], true);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_ring_that_was_asked_for_is_not_made_smaller_in_silence() {
    let place = CodeAddress::new();
    let group = Group::new("96M");
    let script = group.script("-q -o out --ring-buffer 128MiB -- true");
    let output = place.shell(&["--mount"], &script);
    assert_refused(
        &place,
        &output,
        &["128 MiB", "--ring-buffer 32MiB"],
        &["EVENTS"],
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_group_that_is_too_small_is_refused_before_the_kernel_kills() {
    let place = CodeAddress::new();
    let group = Group::new("32M");
    let output = place.shell(&["--mount"], &group.script("-q -o out -- true"));
    assert_refused(
        &place,
        &output,
        &["memory limit of this cgroup, 32 MiB"],
        &[],
    );
}
