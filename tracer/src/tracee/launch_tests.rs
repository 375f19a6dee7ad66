use super::super::signals::Signals;
use super::super::status::Status;
use super::*;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::ffi::OsString;
use std::io::BufRead;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn launch(words: &[&str]) -> Launch {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let command = Command::new(&words).unwrap();
    Launch::new(&command, &Environment::current()).unwrap()
}

fn run(words: &[&str]) -> Status {
    launch(words).release().unwrap().wait().unwrap().status
}

fn exec_error(words: &[&str]) -> (u8, String) {
    let error = launch(words).release().unwrap_err();
    (error.exit_code(), error.to_string())
}

fn file(directory: &Path, name: &str, text: &str, mode: u32) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    path.display().to_string()
}

fn exists(pid: Pid) -> bool {
    kill(nix::unistd::Pid::from_raw(pid.0 as i32), None).is_ok()
}

#[test]
fn the_commands_end_is_told() {
    assert_eq!(run(&["true"]), Status::Exited(0));
    assert_eq!(run(&["sh", "-c", "exit $1", "-", "7"]), Status::Exited(7));
    let killed = run(&["sh", "-c", "kill -KILL $$"]);
    let core = false;
    assert_eq!(killed, Status::Signaled { signal: 9, core });
}

#[test]
fn failures_to_execute_are_those_of_env() {
    let directory = tempfile::tempdir().unwrap();
    let plain = file(directory.path(), "plain", "", 0o644);
    let garbage = file(directory.path(), "garbage", "#!/nonexistent\n", 0o755);
    let nowhere = "No such file or directory (os error 2)";
    let denied = "Permission denied (os error 13)";
    for (word, code, text) in [
        ("no-such-command-at-all", 127, nowhere),
        ("/no/such/command", 127, nowhere),
        (&garbage, 127, nowhere),
        (&plain, 126, denied),
        ("/", 126, denied),
    ] {
        assert_eq!(exec_error(&[word]), (code, format!("{word}: {text}")));
    }
    assert_eq!(exec_error(&[""]), (127, format!(": {nowhere}")));
}

#[test]
fn a_script_without_interpreter_line_is_run_by_sh() {
    let directory = tempfile::tempdir().unwrap();
    let script = file(directory.path(), "script", "exit $(($# + $1))", 0o755);
    assert_eq!(run(&[&script, "40", "x"]), Status::Exited(42));
}

/// What a program sees of itself must not depend on who starts it.
#[test]
fn the_command_inherits_what_any_child_would() {
    let directory = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| directory.path().join(name));
    // Terminals of other tests apart: forkpty's are not close-on-exec.
    let script = "exec > $1; pwd; env | grep -v ^_=; \
                  for fd in /proc/$$/fd/*; do case $(readlink $fd) in \
                  /dev/ptmx) ;; *) echo ${fd##*/} ;; esac; done; \
                  grep -e SigBlk -e SigIgn -e SigCgt -e NoNewPrivs -e Cap /proc/self/status; \
                  ulimit -a; umask; cut -d' ' -f5,7,8 /proc/self/stat; readlink /proc/self/ns/*";
    let words = |path: &Path| {
        let path = path.display().to_string();
        ["sh", "-c", script, "-", &path].map(str::to_owned)
    };
    let own = words(&ours);
    assert_eq!(run(&own.each_ref().map(String::as_str)), Status::Exited(0));
    let other = words(&theirs);
    let status = std::process::Command::new(&other[0])
        .args(&other[1..])
        .status();
    assert!(status.unwrap().success());
    let read = |path| without_glibcs_own(&std::fs::read_to_string(path).unwrap());
    let (ours, theirs) = (read(ours), read(theirs));
    assert!(ours.len() > 20);
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
}

/// glibc's posix_spawn, but not its fork, leaves its internal signals 32 and 33 ignored.
fn without_glibcs_own(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .map(|line| match line.strip_prefix("SigIgn:\t") {
            Some(mask) => {
                let mask = u64::from_str_radix(mask, 16).unwrap();
                format!("SigIgn:\t{:016x}", mask & !(0b11 << 31))
            }
            None => line.to_owned(),
        });
    lines.collect()
}

#[test]
fn an_unreleased_child_never_runs() {
    let directory = tempfile::tempdir().unwrap();
    let witness = directory.path().join("witness");
    let launch = launch(&["touch", &witness.display().to_string()]);
    let pid = launch.pid();
    assert!(exists(pid));
    drop(launch);
    assert!(!exists(pid), "neither running nor a zombie");
    assert!(!witness.exists());
}

#[test]
fn a_child_killed_while_it_waits_is_a_target_that_ended() {
    let launch = launch(&["true"]);
    launch.target.signal(libc::SIGTERM).unwrap();
    let pidfd = [PollFd::new(launch.target.as_fd(), PollFlags::POLLIN)];
    poll(&mut pidfd.clone(), PollTimeout::NONE).unwrap();
    let status = launch.release().unwrap().wait().unwrap().status;
    let core = false;
    assert_eq!(status, Status::Signaled { signal: 15, core });
}

/// Forks a process that plays the tracer; it has one thread only.
fn tracer(role: impl FnOnce(File) -> u8) -> (nix::unistd::Pid, io::BufReader<File>) {
    let (read, write) = pipe().unwrap();
    // SAFETY: glibc makes its allocator usable in the child; what `role` does
    // needs no lock of another thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop(read);
            let code = role(write.into());
            // SAFETY: ends the child without running the test harness's handlers.
            unsafe { libc::_exit(code.into()) }
        }
        ForkResult::Parent { child } => (child, io::BufReader::new(read.into())),
    }
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn waited(pid: nix::unistd::Pid) -> WaitStatus {
    waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap()
}

#[test]
fn a_tracer_killed_before_release_takes_the_child_along() {
    let (pid, mut output) = tracer(|mut out| {
        let launch = launch(&["true"]);
        writeln!(out, "{}", launch.pid().0).unwrap();
        // The child holds a copy of `out`; its end shows that the child is gone.
        std::thread::park();
        drop(launch);
        0
    });
    let child: u32 = line(&mut output).parse().unwrap();
    assert!(exists(Pid(child)));
    kill(pid, Signal::SIGKILL).unwrap();
    assert_eq!(line(&mut output), "", "the pipe has no writer left");
    assert_eq!(
        waited(pid),
        WaitStatus::Signaled(pid, Signal::SIGKILL, false)
    );
}

#[test]
fn a_tracer_killed_after_release_leaves_the_command_running() {
    let directory = tempfile::tempdir().unwrap();
    let [go, done] = ["go", "done"].map(|name| directory.path().join(name));
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    nix::unistd::mkfifo(&done, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!(
        "read x < {}; echo unharmed > {}",
        go.display(),
        done.display()
    );
    let (pid, mut output) = tracer(|mut out| {
        let _target = launch(&["sh", "-c", &script]).release().unwrap();
        writeln!(out, "released").unwrap();
        std::thread::park();
        0
    });
    assert_eq!(line(&mut output), "released");
    kill(pid, Signal::SIGKILL).unwrap();
    assert_eq!(
        waited(pid),
        WaitStatus::Signaled(pid, Signal::SIGKILL, false)
    );
    std::fs::write(&go, "\n").unwrap();
    assert_eq!(std::fs::read_to_string(&done).unwrap(), "unharmed\n");
}

/// The tracer's loop: relays signals until the command has ended.
fn trace(words: &[&str], mut out: impl Write) -> u8 {
    let mut signals = Signals::take().unwrap();
    let mut target = launch(words).release().unwrap();
    writeln!(out, "running").unwrap();
    loop {
        let mut fds =
            [target.as_fd(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut fds, PollTimeout::NONE).unwrap();
        for (received, action) in signals.relay(&target).unwrap() {
            writeln!(out, "{} {action:?}", received.signal).unwrap();
        }
        if let Some(ended) = target.try_wait().unwrap() {
            return ended.status.exit_code();
        }
    }
}

#[test]
fn a_signal_to_the_tracer_alone_reaches_the_command() {
    let script = "trap 'exit 9' TERM; echo ready; while :; do read x; done";
    let (stdin, stdout) = (pipe().unwrap(), pipe().unwrap());
    let (pid, mut output) = tracer(|out| {
        nix::unistd::dup2_stdin(&stdin.0).unwrap();
        nix::unistd::dup2_stdout(&stdout.1).unwrap();
        trace(&["sh", "-c", script], out)
    });
    let mut ready = io::BufReader::new(File::from(stdout.0));
    assert_eq!(line(&mut ready), "ready");
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(line(&mut output), "running");
    assert_eq!(line(&mut output), "15 PassOn(15)");
    assert_eq!(waited(pid), WaitStatus::Exited(pid, 9));
}

/// A terminal whose foreground job is the tracer.
struct Terminal {
    tracer: nix::unistd::Pid,
    master: File,
    /// What the tracer says of itself: not on the terminal, whose hangup at the
    /// tracer's end discards what was not read.
    says: io::BufReader<File>,
}

impl Terminal {
    /// Starts a script under the tracer, and waits until it is ready.
    fn new(script: &str) -> Self {
        let (read, write) = pipe().unwrap();
        // SAFETY: as in `tracer`.
        let result = unsafe { nix::pty::forkpty(None, None) }.unwrap();
        let (tracer, master) = match result {
            nix::pty::ForkptyResult::Child => {
                drop(read);
                for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM] {
                    // What ignores them for us (nohup, a shell's `&`) has them ignored by the script.
                    // SAFETY: no handler of ours.
                    unsafe { libc::signal(signal, libc::SIG_DFL) };
                }
                let code = trace(&["sh", "-c", script], File::from(write));
                // SAFETY: as in `tracer`.
                unsafe { libc::_exit(code.into()) }
            }
            nix::pty::ForkptyResult::Parent { child, master } => (child, File::from(master)),
        };
        drop(write);
        let mut terminal = Self {
            tracer,
            master,
            says: io::BufReader::new(read.into()),
        };
        assert_eq!(line(&mut terminal.says), "running");
        let mut output = io::BufReader::new(terminal.master.try_clone().unwrap());
        assert_eq!(line(&mut output), "ready");
        terminal
    }

    fn types(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }
}

const CTRL_C: &[u8] = &[3];

#[test]
fn the_terminals_interrupt_is_not_delivered_twice() {
    let script = "trap 'exit 5' INT; echo ready; while :; do read x; done";
    let mut terminal = Terminal::new(script);
    terminal.types(CTRL_C);
    assert_eq!(line(&mut terminal.says), "2 Nothing");
    let tracer = terminal.tracer;
    assert_eq!(waited(tracer), WaitStatus::Exited(tracer, 5));
}

/// The child of `forkpty` leads the session.
#[test]
fn a_hangup_of_the_terminal_reaches_the_command_of_a_session_leader() {
    let script = "trap 'exit 6' HUP; echo ready; while :; do sleep 0.01; done";
    let Terminal {
        tracer,
        master,
        mut says,
    } = Terminal::new(script);
    drop(master);
    assert_eq!(line(&mut says), "1 PassOn(1)");
    assert_eq!(waited(tracer), WaitStatus::Exited(tracer, 6));
}

#[test]
fn the_third_interrupt_kills_a_command_that_ignores_it() {
    let script = "trap '' INT; echo ready; while :; do read x; done";
    let mut terminal = Terminal::new(script);
    for answer in ["2 Nothing", "2 Nothing", "2 PassOn(9)"] {
        terminal.types(CTRL_C);
        assert_eq!(line(&mut terminal.says), answer);
    }
    let tracer = terminal.tracer;
    assert_eq!(waited(tracer), WaitStatus::Exited(tracer, 137));
}

#[test]
fn a_commands_own_signal_to_its_group_is_no_echo() {
    let script = "trap '' TERM; echo ready; kill -TERM 0; read x; exit 3";
    let mut terminal = Terminal::new(script);
    assert_eq!(line(&mut terminal.says), "15 Nothing");
    terminal.types(b"\n");
    let tracer = terminal.tracer;
    assert_eq!(waited(tracer), WaitStatus::Exited(tracer, 3));
}

#[test]
fn job_control_stops_and_continues_both() {
    let mut terminal = Terminal::new("echo ready; read x; exit 4");
    let tracer = terminal.tracer;
    // A session's only group is orphaned, and the terminal's stop does nothing
    // there; a stop by signal does.
    let group = nix::unistd::Pid::from_raw(-tracer.as_raw());
    kill(group, Signal::SIGSTOP).unwrap();
    assert_eq!(waited(tracer), WaitStatus::Stopped(tracer, Signal::SIGSTOP));
    kill(group, Signal::SIGCONT).unwrap();
    terminal.types(b"\n");
    assert_eq!(waited(tracer), WaitStatus::Exited(tracer, 4));
}

#[test]
fn a_word_with_a_nul_is_refused() {
    let command = Command::new(&["a\0b".into()]).unwrap();
    let error = Launch::new(&command, &Environment::current()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
