//! What goes where: standard output is the command's own, and so is its terminal.

use crate::harness::{Trace, eventually, need_root, program, trace, tracer};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Every report.
const REPORTS: [&str; 6] = [
    "top.md",
    "stats.json",
    "reserved.svg",
    "resident.svg",
    "touched.svg",
    "timeline.svg",
];

/// Lines that every summary has.
const LINES: [&str; 4] = ["reserved ", "resident ", "unexplained ", "files "];

fn has_summary(text: &str) -> bool {
    LINES
        .iter()
        .all(|line| text.lines().any(|found| found.starts_with(line)))
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn standard_output_is_the_commands_own() {
    let run = trace(&[], Path::new("printf"), &["a\\0b\\nc"]);
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    assert_eq!(run.output.stdout, b"a\0b\nc");
    assert!(has_summary(&run.stderr()), "{}", run.stderr());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_summary_goes_where_it_is_asked_for() {
    let quiet = trace(&["-q"], Path::new("printf"), &["out"]);
    assert_eq!(
        (quiet.stdout(), quiet.stderr()),
        ("out".to_owned(), String::new())
    );

    let run = trace(&["--summary", "-"], Path::new("printf"), &["out\\n"]);
    let rest = run.stdout();
    let rest = rest
        .strip_prefix("out\n")
        .expect("the command's own comes first");
    assert!(has_summary(rest), "{rest}");
    assert_eq!(run.stderr(), "");

    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("summary.txt");
    fs::write(&file, "x".repeat(1 << 20)).expect("written");
    let path = file.to_str().expect("UTF-8");
    // What is asked for is not silenced.
    let run = trace(&["-q", "--summary", path], Path::new("printf"), &["out"]);
    assert_eq!(
        (run.stdout(), run.stderr()),
        ("out".to_owned(), String::new())
    );
    let text = fs::read_to_string(&file).expect("written");
    assert!(has_summary(&text) && !text.contains('x'.to_string().repeat(9).as_str()));
    assert!(!text.contains('\x1b'), "plain: {text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("tracer: result: exit=0 "), "{text}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_summary_that_can_not_be_written_is_told_before_anything_runs() {
    let dir = tempfile::tempdir().expect("a folder");
    let witness = dir.path().join("witness");
    let words = [witness.to_str().expect("UTF-8")];
    let run = trace(
        &["--summary", "/no/such/folder/x"],
        Path::new("touch"),
        &words,
    );
    assert_eq!(run.code(), Some(125));
    assert!(
        run.stderr().contains("/no/such/folder/x"),
        "{}",
        run.stderr()
    );
    assert!(!witness.exists());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_summary_file_of_a_sudo_run_belongs_to_the_user() {
    let dir = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::chown(dir.path(), Some(12345), Some(54321)).expect("root may");
    let file = dir.path().join("summary");
    let mut command = summary_elsewhere(dir.path());
    command
        .env("SUDO_UID", "12345")
        .env("SUDO_GID", "54321")
        .args(["--", "true"]);
    assert!(command.status().expect("tracer runs").success());
    let found = fs::metadata(file).expect("written");
    assert_eq!((found.uid(), found.gid()), (12345, 54321));
}

/// A terminal, and all that is written to it.
struct Terminal {
    master: File,
    slave: File,
}

impl Terminal {
    fn new() -> Self {
        let OpenptyResult { master, slave } = openpty(None, None).expect("a terminal");
        Self {
            master: master.into(),
            slave: slave.into(),
        }
    }

    fn slave(&self) -> Stdio {
        self.slave.try_clone().expect("a descriptor").into()
    }

    /// What was written, once nobody can write any more.
    fn all(self) -> String {
        drop(self.slave);
        let mut bytes = Vec::new();
        // The end is an error: the other side is closed.
        let _ = { self.master }.read_to_end(&mut bytes);
        String::from_utf8(bytes).expect("UTF-8")
    }
}

/// A second is four pictures of the line.
const SECOND: [&str; 4] = ["--", "sh", "-c", "echo out; sleep 1; echo end"];

fn summary_elsewhere(dir: &Path) -> Command {
    need_root();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.arg("-o").arg(dir.join("out"));
    command.arg("--summary").arg(dir.join("summary"));
    command.stdin(Stdio::null());
    command
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_live_line_is_on_a_terminal_that_the_command_does_not_write_to() {
    let dir = tempfile::tempdir().expect("a folder");
    let terminal = Terminal::new();
    let mut command = summary_elsewhere(dir.path());
    command.args(SECOND).stderr(terminal.slave());
    let output = command.output().expect("tracer runs");
    drop(command);
    assert_eq!(output.stdout, b"out\nend\n");
    let shown = terminal.all();
    assert!(shown.contains("  reserved "), "{shown:?}");
    assert!(shown.ends_with("\r\x1b[K"), "taken away: {shown:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_line_is_drawn_over_what_the_command_writes() {
    let dir = tempfile::tempdir().expect("a folder");
    let terminal = Terminal::new();
    let mut command = summary_elsewhere(dir.path());
    command.args(SECOND);
    command.stderr(terminal.slave()).stdout(terminal.slave());
    assert!(command.status().expect("tracer runs").success());
    drop(command);
    assert_eq!(terminal.all(), "out\r\nend\r\n");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_line_is_drawn_while_a_program_has_the_terminal_for_single_keys() {
    let dir = tempfile::tempdir().expect("a folder");
    let terminal = Terminal::new();
    let mut mode = tcgetattr(&terminal.slave).expect("a terminal");
    cfmakeraw(&mut mode);
    tcsetattr(&terminal.slave, SetArg::TCSANOW, &mode).expect("set");
    let mut command = summary_elsewhere(dir.path());
    command.args(SECOND).stderr(terminal.slave());
    assert_eq!(command.output().expect("tracer runs").stdout, b"out\nend\n");
    drop(command);
    assert_eq!(terminal.all(), "");
}

/// A pipe by name that is full: whoever writes to it waits.
fn full_pipe(path: &Path) -> File {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK);
    let mut pipe = options.open(path).expect("open");
    // SAFETY: a descriptor and a number.
    unsafe {
        libc::fcntl(
            std::os::fd::AsRawFd::as_raw_fd(&pipe),
            libc::F_SETPIPE_SZ,
            4096,
        )
    };
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    pipe
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: kill takes any numbers.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_second_signal_stops_the_writing_of_reports() {
    for number in [libc::SIGTERM, libc::SIGINT] {
        let dir = tempfile::tempdir().expect("a folder");
        let fifo = dir.path().join("summary");
        let _pipe = full_pipe(&fifo);
        let mut command = summary_elsewhere(dir.path());
        command.args(["--", "true"]).stderr(Stdio::piped());
        let mut child = command.spawn().expect("tracer starts");
        let out = dir.path().join("out");
        // The summary comes last, and waits; the reports before it come in any order.
        eventually("reports are there", || {
            REPORTS
                .iter()
                .all(|name| out.join(name).exists())
                .then_some(())
        });
        let half = out.join(format!(".top.md.{}.0", child.id()));
        fs::write(&half, "half").expect("written");
        signal(&child, number);
        let mut stderr = child.stderr.take().expect("piped");
        let mut told = String::new();
        let mut byte = [0];
        while !told.ends_with('\n') {
            stderr.read_exact(&mut byte).expect("it says so");
            told.push(char::from(byte[0]));
        }
        assert!(told.contains("once more stops that"), "{told}");
        assert!(
            child.try_wait().expect("ours").is_none(),
            "one is not enough"
        );
        signal(&child, number);
        assert_eq!(child.wait().expect("it ends").code(), Some(125));
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).expect("text");
        assert!(rest.contains("stopped"), "{rest}");
        assert!(!half.exists() && out.join("stats.json").exists());
        let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
            .arg("report")
            .arg(&out)
            .output()
            .expect("tracer runs");
        assert!(output.status.success(), "the recording is whole");
        assert!(has_summary(&String::from_utf8_lossy(&output.stdout)));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_earlier_run_is_kept_and_nothing_of_it_is_taken_for_the_next() {
    let (mut command, dir) = tracer(&["-q"]);
    command.arg("--").arg(program("ends", &[]));
    assert!(command.status().expect("tracer runs").success());
    let run = Trace {
        output: command.output().expect("tracer runs"),
        dir,
    };
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    let previous = run.out().join("previous");
    let report = |folder: &Path| {
        let again = run.dir.path().join("again");
        let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
            .args(["report", "-o"])
            .args([&again, folder])
            .output();
        output.expect("tracer runs").status.success()
    };
    assert!(report(&previous) && report(&run.out()), "both are whole");
    // A command that can't be run leaves no results, and the last ones are kept.
    let stats = fs::read(run.out().join("stats.json")).expect("there");
    for word in ["/no/such/file", "no-such-command-here"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
        command.arg("-o").arg(run.out()).args(["--", word]);
        assert_eq!(
            command.output().expect("tracer runs").status.code(),
            Some(127)
        );
        assert!(!run.out().join("stats.json").exists());
        assert!(!run.out().join("recording").exists());
        assert_eq!(fs::read(previous.join("stats.json")).expect("kept"), stats);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_recording_of_a_killed_tracer_is_reported_with_names() {
    let (mut command, dir) = tracer(&["-q"]);
    command.arg("--").arg(program("ends", &[])).arg("catch");
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .expect("tracer starts");
    let mut ready = [0; 6];
    child
        .stdout
        .take()
        .expect("piped")
        .read_exact(&mut ready)
        .expect("ready");
    let out = dir.path().join("out");
    // The file of events grows beyond its schema once a batch is a second old.
    let events = out.join("recording/events.arrows");
    eventually("a batch is written", || {
        (fs::metadata(&events).ok()?.len() > 16 << 10).then_some(())
    });
    let target = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()));
    // The first; the guard is the second.
    let target = target
        .expect("children")
        .split_whitespace()
        .next()
        .map(str::parse);
    let target: i32 = target.expect("one").expect("a process id");
    child.kill().expect("ours");
    child.wait().expect("it ends");
    // SAFETY: kill takes any numbers.
    unsafe { libc::kill(target, libc::SIGKILL) };
    let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .args(["report", "-q"])
        .arg(&out)
        .output()
        .expect("tracer runs");
    let run = Trace { dir, output };
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    let stats = run.stats();
    assert_eq!(stats["complete"], false);
    assert_eq!(crate::harness::site(&stats, "thousand")["calls"], 1000);
}
