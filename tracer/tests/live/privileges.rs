//! As whom the command runs, and what the tracer itself may still do while it does.

use crate::harness::{Trace, eventually, number, program, site, trace, tracer};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The user whom every system has.
const NOBODY: u32 = 65534;

/// What a program sees of itself that its user decides.
const SEES: &str = "id; umask; pwd; grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' /proc/self/status; \
                    env | grep -v ^_= | sort";

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn run(options: &[&str], words: &[&str]) -> Trace {
    trace(options, Path::new(words[0]), &words[1..])
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_command_of_another_user_sees_what_runuser_would_give_it() {
    // As they stand in the environment of tests, USER and LOGNAME may be missing.
    let words = ["env", "USER=x", "HOME=/x"];
    let program = env!("CARGO_BIN_EXE_tracer");
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("out").display().to_string();
    let of = |more: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).args(more).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let start = [program, "-q", "-o", &out, "-u", "nobody", "--"];
    let traced = of(&[&start[..], &["sh", "-c", SEES]].concat());
    let alone = of(&["runuser", "-u", "nobody", "--", "sh", "-c", SEES]);
    assert_eq!(traced, alone);
    assert!(traced.contains("USER=nobody\n"), "{traced}");
    assert!(traced.contains("CapEff:\t0000000000000000\n"), "{traced}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_number_without_a_name_is_a_user_with_its_group() {
    let run = run(&["-u", "4321:8765"], &["sh", "-c", SEES]);
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    let sees = run.stdout();
    assert!(sees.contains("Uid:\t4321\t4321\t4321\t4321\n"), "{sees}");
    assert!(sees.contains("Gid:\t8765\t8765\t8765\t8765\n"), "{sees}");
    assert!(sees.contains("Groups:\t8765 \n"), "{sees}");
    assert!(sees.contains("HOME=/\n"), "{sees}");
    assert!(!sees.contains("USER="), "{sees}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_a_user_the_command_has_what_it_would_have_had() {
    let alone = Command::new("sh").args(["-c", SEES]).output();
    let run = run(&["-q"], &["sh", "-c", SEES]);
    assert_eq!(run.stdout(), text(&alone.expect("sh runs").stdout));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_exit_status_of_another_users_command_is_passed_on_and_files_are_ours() {
    let run = run(&["-u", "nobody"], &["sh", "-c", "exit 7"]);
    assert_eq!(run.code(), Some(7), "{}", run.stderr());
    run.assert_nothing_lost();
    let owner = std::fs::metadata(run.out().join("stats.json")).expect("written");
    // SAFETY: no preconditions.
    assert_eq!(owner.uid(), unsafe { libc::geteuid() });
    let denied = self::run(
        &["-u", "nobody"],
        &["sh", "-c", "echo > \"$0\"", "/etc/passwd"],
    );
    assert_eq!(denied.code(), Some(2), "not as root: {}", denied.stderr());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn users_that_do_not_exist_are_refused_before_anything_starts() {
    let dir = tempfile::tempdir().expect("a folder");
    let witness = dir.path().join("witness");
    for (user, said) in [
        ("no-such-user", "there is no user \"no-such-user\""),
        (
            "nobody:no-such-group",
            "there is no group \"no-such-group\"",
        ),
        ("4321", "give its group too"),
    ] {
        let run = run(&["-u", user], &["touch", &witness.display().to_string()]);
        assert_eq!(run.code(), Some(125), "{user}");
        let stderr = run.stderr();
        assert!(stderr.contains(said), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!witness.exists() && !run.out().exists());
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_program_that_the_user_may_not_execute_is_126() {
    let dir = tempfile::tempdir().expect("a folder");
    let copy = dir.path().join("true");
    std::fs::copy("/bin/true", &copy).expect("copied");
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o700)).expect("closed");
    let run = trace(&["-u", "nobody"], &copy, &[]);
    assert_eq!(run.code(), Some(126), "{}", run.stderr());
    assert!(
        run.stderr().contains("Permission denied"),
        "{}",
        run.stderr()
    );
}

/// Rows of `/proc/PID/task/TID/status` that begin with a word, of every thread.
fn threads(process: u32, word: &str) -> BTreeMap<String, String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it lives");
    let row = |path: PathBuf| {
        let text = std::fs::read_to_string(path.join("status")).ok()?;
        let name = text.lines().next()?.to_owned();
        let row = text.lines().find_map(|line| line.strip_prefix(word))?;
        Some((
            format!("{name} {}", path.display()),
            row.trim_start_matches(':').trim().to_owned(),
        ))
    };
    tasks.filter_map(|task| row(task.ok()?.path())).collect()
}

/// A running trace of `late`.
pub(crate) struct Late {
    tracer: Child,
    output: BufReader<ChildStdout>,
    dir: tempfile::TempDir,
}

impl Late {
    /// With options and the command's words.
    pub(crate) fn start(options: &[&str], words: &[&str]) -> Self {
        let (mut command, dir) = tracer(options);
        command.arg("--").args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut tracer = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let output = BufReader::new(tracer.stdout.take().expect("piped"));
        Self {
            tracer,
            output,
            dir,
        }
    }

    /// The allocator is loaded and probed, then used.
    pub(crate) fn load_and_use(&mut self) {
        let before = self.links();
        self.go();
        self.says("loaded");
        let mut last = (0, 0);
        eventually("the allocator is probed", || {
            let now = self.links();
            last = (now, if now == last.0 { last.1 + 1 } else { 0 });
            (now > before && last.1 > 20).then_some(())
        });
        self.go();
    }

    pub(crate) fn says(&mut self, word: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it speaks");
        assert_eq!(line.trim(), word);
    }

    fn go(&mut self) {
        let stdin = self.tracer.stdin.as_mut().expect("piped");
        stdin.write_all(b"x").expect("it listens");
    }

    /// Links of probes that the tracer holds.
    fn links(&self) -> usize {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", self.tracer.id())).expect("it lives");
        let targets = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        let is_link = |target: &PathBuf| {
            let target = target.to_string_lossy();
            target.contains("bpf_link") || target.contains("perf_event")
        };
        targets.filter(is_link).count()
    }

    pub(crate) fn end(self) -> Trace {
        let output = self.tracer.wait_with_output().expect("it ends");
        let dir = self.dir;
        Trace { dir, output }
    }
}

/// `late` and its library, which only `nobody` may see.
fn nobodys_files() -> (tempfile::TempDir, [String; 2]) {
    let files = tempfile::tempdir().expect("a folder");
    let names = ["late", "late.so"].map(|name| files.path().join(name));
    std::fs::copy(program("late_allocator", &[]), &names[0]).expect("copied");
    let library = program("late_allocator", &["-DLIBRARY", "-shared", "-fPIC"]);
    std::fs::copy(library, &names[1]).expect("copied");
    for path in names.iter().map(PathBuf::as_path).chain([files.path()]) {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).expect("closed");
    }
    (files, names.map(|name| name.display().to_string()))
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_the_tracer_kept_is_enough_for_what_comes_late_and_no_more() {
    let (_files, names) = nobodys_files();
    let mut late = Late::start(
        &["-q", "-u", "nobody"],
        &names.each_ref().map(String::as_str),
    );
    late.says("started");
    let tracer = late.tracer.id();
    // BPF, PERFMON, CHECKPOINT_RESTORE, SYS_NICE, SYS_PTRACE, IPC_OWNER, KILL, DAC_READ_SEARCH.
    let most = 0x1c0_0088_8024_u64;
    for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
        for (thread, held) in threads(tracer, set) {
            let held = u64::from_str_radix(&held, 16).expect("a set");
            assert_eq!(held & !most, 0, "{set} of {thread}: {held:x}");
        }
    }
    let cannot_gain: BTreeSet<_> = threads(tracer, "NoNewPrivs").into_values().collect();
    assert_eq!(cannot_gain, BTreeSet::from(["1".to_owned()]));

    late.load_and_use();
    let run = late.end();
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    assert_eq!(run.stderr(), "", "no step failed for want of a privilege");
    run.assert_nothing_lost();
    let stats = run.stats();
    assert_eq!(number(&site(&stats, "thousand")["calls"]), 1000);
    // The segment is the user's own and closed to others: its length was known all the same.
    assert_eq!(
        number(&site(&stats, "main")["reserved_at_peak_bytes"]),
        5 << 20
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_signal_reaches_a_command_of_another_user() {
    let (_files, names) = nobodys_files();
    let mut late = Late::start(
        &["-q", "-u", "nobody"],
        &names.each_ref().map(String::as_str),
    );
    late.says("started");
    // An end of its input would end the command too.
    let _input = late.tracer.stdin.take();
    // SAFETY: kill takes any numbers.
    let sent = unsafe { libc::kill(late.tracer.id() as i32, libc::SIGTERM) };
    assert_eq!(sent, 0);
    let run = late.end();
    assert_eq!(run.code(), Some(128 + libc::SIGTERM), "{}", run.stderr());
    assert_eq!(run.stats()["exit"]["signal"], libc::SIGTERM);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_set_user_id_program_still_gets_its_rights() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).expect("open");
    let copy = dir.path().join("id");
    std::fs::copy(which("id"), &copy).expect("copied");
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o4755)).expect("set-user-ID");
    let run = trace(&["-u", "nobody"], &copy, &["-u"]);
    assert_eq!(run.stdout().lines().next(), Some("0"), "{}", run.stderr());
}

fn which(name: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").expect("a PATH");
    let mut places = std::env::split_paths(&paths).map(|dir| dir.join(name));
    places.find(|path| path.is_file()).expect("it is there")
}
