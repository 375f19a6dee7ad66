//! Whatever dies: the report is written, the status is the command's own, nothing is left.

use crate::harness::{
    Trace, assert_nothing_left, eventually, number, program, site, trace, tracer,
};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

fn assert_thousand(run: &Trace) {
    assert_eq!(number(&site(&run.stats(), "thousand")["calls"]), 1000);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_exit_status_is_the_commands_own() {
    let ends = program("ends", &[]);
    for (how, code) in [
        (&["exit", "0"][..], 0),
        (&["exit", "77"], 77),
        (&["abort"], 128 + libc::SIGABRT),
        (&["segv"], 128 + libc::SIGSEGV),
        (&["kill"], 128 + libc::SIGKILL),
    ] {
        let run = trace(&[], &ends, how);
        assert_eq!(run.code(), Some(code), "{how:?}: {}", run.stderr());
        run.assert_nothing_lost();
        assert_thousand(&run);
    }
}

/// Starts a trace of `ends HOW` and waits until the target says it is ready.
fn start(
    how: &str,
) -> (
    Child,
    tempfile::TempDir,
    BufReader<std::process::ChildStdout>,
) {
    let (mut command, dir) = tracer(&["-q"]);
    command.arg("--").arg(program("ends", &[])).arg(how);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("tracer starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("the target speaks");
    assert_eq!(line, "ready\n");
    (child, dir, stdout)
}

fn target_of(tracer: u32) -> u32 {
    eventually("the target is a child of the tracer", || {
        let children =
            std::fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    })
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: kill takes any numbers.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_signal_to_the_tracer_reaches_the_target_and_the_report_is_written() {
    for (how, number, code) in [
        ("wait", libc::SIGINT, 128 + libc::SIGINT),
        ("wait", libc::SIGTERM, 128 + libc::SIGTERM),
        ("catch", libc::SIGINT, 42),
        ("catch", libc::SIGTERM, 42),
    ] {
        let (child, dir, _stdout) = start(how);
        let (tracer, target) = (child.id(), target_of(child.id()));
        signal(tracer, number);
        let output = child.wait_with_output().expect("tracer ends");
        assert_eq!(output.status.code(), Some(code), "{how} {number}");
        assert!(
            std::fs::metadata(format!("/proc/{target}")).is_err(),
            "no orphan"
        );
        let run = Trace { dir, output };
        run.assert_nothing_lost();
        assert_thousand(&run);
        assert_nothing_left(tracer);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_killed_target_is_reported() {
    let (child, dir, _stdout) = start("wait");
    let tracer = child.id();
    signal(target_of(tracer), libc::SIGKILL);
    let output = child.wait_with_output().expect("tracer ends");
    assert_eq!(output.status.code(), Some(128 + libc::SIGKILL));
    assert_thousand(&Trace { dir, output });
    assert_nothing_left(tracer);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_killed_tracer_leaves_no_probe_and_lets_the_target_live() {
    let (mut child, _dir, _stdout) = start("catch");
    let (tracer, target) = (child.id(), target_of(child.id()));
    signal(tracer, libc::SIGKILL);
    child.wait().expect("tracer ends");
    assert_nothing_left(tracer);
    // Unharmed: it still runs its own handler.
    let state = std::fs::read_to_string(format!("/proc/{target}/stat")).expect("the target lives");
    assert!(!state.contains(") T "), "not stopped: {state}");
    signal(target, libc::SIGTERM);
    eventually("the target ends", || {
        let stat = std::fs::read_to_string(format!("/proc/{target}/stat"));
        (stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))).then_some(())
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_exec_by_another_thread_hides_nothing() {
    let images = program("images", &["-pthread"]);
    let run = trace(&["-q"], &images, &["12"]);
    assert_eq!(
        (run.code(), run.stdout().as_str()),
        (Some(0), "13 images\n"),
        "{}",
        run.stderr()
    );
    run.assert_nothing_lost();
    let stats = run.stats();
    let block = site(&stats, "block");
    assert_eq!(
        (number(&block["calls"]), number(&block["size"])),
        (13, 13 * 1_000_003)
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_tracer_that_is_killed_while_the_target_is_held_does_not_leave_it_so() {
    let (mut command, _dir) = tracer(&["-q"]);
    command
        .arg("--")
        .arg(program("images", &["-pthread"]))
        .arg("200");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("tracer starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let target = target_of(child.id());
    let stat =
        || std::fs::read_to_string(format!("/proc/{target}/stat")).expect("the target lives");
    eventually("the target is held", || {
        stat().contains(") T ").then_some(())
    });
    signal(child.id(), libc::SIGKILL);
    let mut said = String::new();
    stdout.read_line(&mut said).expect("the target speaks");
    assert_eq!(said, "201 images\n");
    child.wait().expect("tracer ends");
    assert_nothing_left(child.id());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn standard_streams_and_folder_and_environment_are_the_targets_own() {
    let (mut command, dir) = tracer(&["-q"]);
    command
        .args(["--", "sh", "-c", "cat; pwd; echo $WORD >&2"])
        .current_dir("/usr")
        .env("WORD", "kept")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("tracer starts");
    use std::io::Write;
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(b"through\n")
        .expect("stdin is open");
    let output = child.wait_with_output().expect("tracer ends");
    let run = Trace { dir, output };
    assert_eq!(run.stdout(), "through\n/usr\n");
    assert!(
        run.stderr().lines().any(|line| line == "kept"),
        "{}",
        run.stderr()
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn files_of_a_sudo_run_belong_to_the_user() {
    use std::os::unix::fs::MetadataExt;
    let (mut command, dir) = tracer(&["-q"]);
    std::os::unix::fs::chown(dir.path(), Some(12345), Some(54321)).expect("root may");
    command
        .env("SUDO_UID", "12345")
        .env("SUDO_GID", "54321")
        .args(["--", "true"]);
    assert!(command.status().expect("tracer runs").success());
    let mut waiting = vec![dir.path().join("out")];
    let mut seen = 0;
    while let Some(path) = waiting.pop() {
        let meta = std::fs::symlink_metadata(&path).expect("it exists");
        assert_eq!(
            (meta.uid(), meta.gid()),
            (12345, 54321),
            "{}",
            path.display()
        );
        seen += 1;
        if meta.is_dir() {
            waiting.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    assert!(
        seen > 8,
        "the folder, the reports and the recording: {seen}"
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_command_that_ends_at_once_is_quick_and_whole() {
    let run = trace(&[], &which("true"), &[]);
    assert_eq!(run.code(), Some(0));
    run.assert_nothing_lost();
    assert!(number(&run.stats()["resident"]["peak_bytes"]) > 0);
}

fn which(name: &str) -> std::path::PathBuf {
    let output = Command::new("sh")
        .args(["-c", &format!("command -v {name}")])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().into()
}
