use super::*;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A process that sleeps, until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("60").spawn().expect("sleep"))
    }

    fn signal(&self, signal: i32) {
        // SAFETY: no pointers.
        unsafe { libc::kill(self.0.id() as i32, signal) };
    }

    fn is_stopped(&self) -> bool {
        is_stopped(&std::fs::read(format!("/proc/{}/stat", self.0.id())).expect("it runs"))
    }

    /// Whether it comes to be so within two seconds.
    fn becomes(&self, stopped: bool) -> bool {
        let began = Instant::now();
        while self.is_stopped() != stopped && began.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.is_stopped() == stopped
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_stopped_target_is_continued_when_the_tracer_is_gone() {
    let target = Sleeper::start();
    let mut guard = Guard::start(Pid(target.0.id())).expect("a guard");
    target.signal(libc::SIGSTOP);
    assert!(target.becomes(true));
    // As our death would close it.
    guard.dismissal = None;
    assert!(target.becomes(false));
    // Nor does a stop that comes a little later stay.
    target.signal(libc::SIGSTOP);
    assert!(target.becomes(true) && target.becomes(false));
}

#[test]
fn a_dismissed_guard_leaves_a_stopped_target_alone_and_no_child() {
    let target = Sleeper::start();
    let guard = Guard::start(Pid(target.0.id())).expect("a guard");
    target.signal(libc::SIGSTOP);
    assert!(target.becomes(true));
    let pid = guard.pid;
    drop(guard);
    assert!(target.is_stopped());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn the_state_stands_behind_the_name() {
    assert!(is_stopped(b"7 (a) T 1 (b) S) T 1 1 1"));
    assert!(!is_stopped(b"7 (a) T 1 (b) T) S 1 1 1"));
    assert!(!is_stopped(b"7 (a)"));
    assert!(!is_stopped(b""));
}
