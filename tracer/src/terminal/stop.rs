//! Stopping while reports are written: the command has ended, and its signals are ours.
//!
//! One signal may have been meant for the command, which was quicker; two are meant.

use super::say;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use tracer::reports::{OutDir, Owner};
use tracer::tracee::{Capabilities, Signals};

/// What is understood as a wish to stop.
const STOPPING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT];

/// Takes the signals from now on. The second one ends the process: what was written so far stays,
/// half of a file does not.
pub(crate) fn on_second(signals: Signals, out: &OutDir, kept: Capabilities) {
    let dir = out.path().to_owned();
    let watch = move || {
        super::notices().give_up(kept);
        wait(signals, &dir);
    };
    // Where no thread can be had, signals wait until everything is written, as one alone does.
    drop(std::thread::Builder::new().name("stop".into()).spawn(watch));
}

fn wait(mut signals: Signals, dir: &Path) {
    let mut told = false;
    loop {
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::NONE);
        let Ok(received) = signals.read() else { return };
        if !received.is_some_and(|received| STOPPING.contains(&received.signal)) {
            continue;
        }
        if std::mem::replace(&mut told, true) {
            remove_halves(dir);
            say(format_args!(
                "tracer: stopped; `tracer report {}` makes the reports that are missing",
                dir.display()
            ));
            std::process::exit(super::FAILED.into());
        }
        say(format_args!(
            "tracer: the command has ended and its reports are being written; once more stops that"
        ));
    }
}

/// Files are written under another name first, in which our process id stands.
fn remove_halves(dir: &Path) {
    let mark = format!(".{}.", std::process::id());
    let is_half = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with('.') && name.contains(&mark)
    };
    let remove = || {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        for half in entries.map(|entry| entry.path()).filter(is_half) {
            // What can't be removed is in nobody's way.
            let _ = std::fs::remove_file(half);
        }
    };
    match Owner::from_sudo() {
        Some(owner) => owner.act(remove),
        None => remove(),
    }
}
