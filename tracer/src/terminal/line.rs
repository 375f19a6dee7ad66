//! The live line on stderr: elapsed, reserved, resident, events, lost.
//!
//! The terminal is the command's, too. Whether it writes there can't be seen from outside, so
//! there is no line where its output goes to that terminal; and none while it, or another job,
//! has the terminal to itself: an editor, a password prompt, a menu.

use nix::sys::stat::fstat;
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{Duration, Instant};
use tracer::trace::Progress;

/// How often the line is drawn.
pub(crate) const EVERY: Duration = Duration::from_millis(250);

/// The line; shown only where stderr is a terminal and stdout is not the same one.
pub(crate) struct Line {
    began: Instant,
    shown: bool,
    drawn: bool,
    drawn_at: Instant,
}

impl Line {
    /// A line that is not drawn yet; `quiet` keeps it so.
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            began: Instant::now(),
            drawn_at: Instant::now(),
            shown: !quiet && stderr().is_terminal() && !is_output_too(),
            drawn: false,
        }
    }

    /// Whether anybody sees it: what only feeds the line need not be computed otherwise.
    pub(crate) fn is_shown(&self) -> bool {
        self.shown
    }

    /// Draws it over the last one, if that is old enough.
    pub(crate) fn draw(&mut self, progress: impl FnOnce() -> Progress) {
        if !self.shown || self.drawn_at.elapsed() < EVERY || is_taken() {
            return;
        }
        self.drawn_at = Instant::now();
        self.drawn = true;
        let progress = &progress();
        // Nothing depends on the line: a terminal that went away is no failure.
        let _ = write!(stderr(), "\r\x1b[K{}", text(self.began.elapsed(), progress));
        let _ = stderr().flush();
    }

    /// Takes it away, so that what follows begins on a clean line.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// Whether the command's output goes to the terminal that is stderr.
fn is_output_too() -> bool {
    match (fstat(stdout()), fstat(stderr())) {
        (Ok(stdout), Ok(stderr)) => {
            (stdout.st_dev, stdout.st_ino) == (stderr.st_dev, stderr.st_ino)
        }
        _ => false,
    }
}

/// Whether a program reads single keys or hides what is typed, or another job is in front.
fn is_taken() -> bool {
    let plain = LocalFlags::ICANON | LocalFlags::ECHO;
    let changed = tcgetattr(stderr()).is_ok_and(|mode| !mode.local_flags.contains(plain));
    // It fails where the terminal is not the one that controls us: then there are no jobs.
    changed || tcgetpgrp(stderr()).is_ok_and(|front| front != getpgrp())
}

fn text(elapsed: Duration, progress: &Progress) -> String {
    format!(
        "tracer: {:.1} s  reserved {}  resident {}  {} events  {} lost",
        elapsed.as_secs_f64(),
        progress.reserved,
        progress.resident,
        count(progress.events),
        count(progress.lost),
    )
}

/// `812`, `45.2 k`, `1.3 M`: a width that hardly changes.
fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1} k", n as f64 / 1e3),
        _ => format!("{:.1} M", n as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer::units::Bytes;

    #[test]
    fn the_line_says_it_all() {
        let progress = Progress {
            reserved: Bytes(29 << 30),
            resident: Bytes(300 << 20),
            events: 1_250_000,
            lost: 0,
        };
        assert_eq!(
            text(Duration::from_millis(3210), &progress),
            "tracer: 3.2 s  reserved 29 GiB  resident 300 MiB  1.2 M events  0 lost"
        );
    }
}
