//! Building truth programs, running the tracer over them, reading what it wrote.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest that anything may take before a test calls it hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Fails the test unless it runs as root: live tests never pass by being skipped.
pub(crate) fn need_root() {
    // SAFETY: geteuid has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(
        root,
        "live tests attach probes: run them as root, by `cargo xtask test`"
    );
}

/// How many times a test runs what may differ from one time to the next.
pub(crate) fn runs() -> usize {
    match std::env::var("TRACER_RUNS") {
        Ok(runs) => runs.parse().expect("TRACER_RUNS is a number"),
        Err(_) => 3,
    }
}

/// Compiles `tests/programs/<name>.c`, once for each set of flags, and returns the program.
pub(crate) fn program(name: &str, flags: &[&str]) -> PathBuf {
    build("cc", name, flags)
}

/// The same with another compiler driver.
pub(crate) fn build(compiler: &str, name: &str, flags: &[&str]) -> PathBuf {
    static BUILT: std::sync::Mutex<Vec<PathBuf>> = std::sync::Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(|broken| broken.into_inner());
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(name)
        .with_extension("c");
    let program = build_dir().join(format!("{name}{}{compiler}", flags.concat()));
    if built.contains(&program) {
        return program;
    }
    let fresh = program.with_extension("new");
    let mut command = Command::new(compiler);
    command.args(["-O1", "-g", "-fno-omit-frame-pointer", "-fno-builtin"]);
    command
        .args(["-pthread"])
        .args(flags)
        .arg("-o")
        .arg(&fresh)
        .arg(&source);
    let status = command.status().expect("a C compiler is needed");
    assert!(status.success(), "{command:?} failed");
    // Another test may be running the old one.
    std::fs::rename(&fresh, &program).expect("the program is in place");
    built.push(program.clone());
    program
}

/// Where programs are built: on a real disk, unlike many temporary folders.
pub(crate) fn build_dir() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// A finished trace.
pub(crate) struct Trace {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) output: Output,
}

/// A `tracer` command that writes to a fresh folder.
pub(crate) fn tracer(options: &[&str]) -> (Command, tempfile::TempDir) {
    need_root();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.args(options).arg("-o").arg(dir.path().join("out"));
    command.stdin(Stdio::null());
    (command, dir)
}

/// Traces `program` with `args` to its end.
pub(crate) fn trace(options: &[&str], program: &Path, args: &[&str]) -> Trace {
    let (mut command, dir) = tracer(options);
    command.arg("--").arg(program).args(args);
    let output = command.output().expect("tracer runs");
    Trace { dir, output }
}

impl Trace {
    pub(crate) fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// The summary, and whatever else the tracer and the command say on standard error.
    pub(crate) fn summary(&self) -> String {
        self.stderr()
    }

    /// `stats.json`; fails with the tracer's own words where there is none.
    pub(crate) fn stats(&self) -> Value {
        let path = self.out().join("stats.json");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), self.stderr()));
        serde_json::from_str(&text).expect("stats.json is JSON")
    }

    /// Passes if nothing was lost.
    pub(crate) fn assert_nothing_lost(&self) {
        let stats = self.stats();
        assert_eq!(lost(&stats), 0, "{}", stats["lost"]);
        assert_eq!(stats["complete"], true);
    }
}

/// Everything lost, whatever the cause.
pub(crate) fn lost(stats: &Value) -> u64 {
    stats["lost"]
        .as_object()
        .expect("lost is an object")
        .values()
        .map(|n| n.as_u64().expect("a count"))
        .sum()
}

/// A number in `stats.json`.
pub(crate) fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is not a count"))
}

/// The top allocation whose location begins with `function`.
pub(crate) fn site<'a>(stats: &'a Value, function: &str) -> &'a Value {
    stats["top_allocs"]
        .as_array()
        .expect("top_allocs is a list")
        .iter()
        .find(|entry| {
            entry["location"]
                .as_str()
                .is_some_and(|at| at.split(':').next() == Some(function))
        })
        .unwrap_or_else(|| panic!("no location `{function}` in {}", stats["top_allocs"]))
}

/// Waits until `done` gives something; fails after [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until no BPF program or link of a tracer is without a living owner. Programs are freed
/// after a grace period, so this polls; it fails if one stays.
pub(crate) fn assert_nothing_left(tracer: u32) {
    for kind in ["prog", "link"] {
        eventually(&format!("bpftool {kind} shows nothing left"), || {
            let output = Command::new("bpftool")
                .args(["-j", kind])
                .output()
                .expect("bpftool is needed");
            let all: Value = serde_json::from_slice(&output.stdout).expect("bpftool prints JSON");
            let left = all
                .as_array()?
                .iter()
                .any(|entry| belongs_to(entry, tracer));
            (!left).then_some(())
        });
    }
}

fn belongs_to(entry: &Value, tracer: u32) -> bool {
    entry["pids"]
        .as_array()
        .is_some_and(|pids| pids.iter().any(|pid| pid["pid"] == tracer))
}
