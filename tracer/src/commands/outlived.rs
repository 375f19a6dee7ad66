//! Processes that outlive the command: daemons, jobs in the background.

use super::collect::Collector;
use super::progress::{self, Line};
use super::session::Session;
use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tracer::target::Signals;

/// How soon it is seen that the last one has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Until every process that is followed has ended, or somebody wants the report now.
pub(super) fn wait(
    signals: &mut Signals,
    session: &Session,
    collector: &Collector,
    line: &mut Line,
) -> Result<()> {
    let mut drawn = Instant::now();
    while session.has_targets() {
        let mut wanted = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
        // Interrupted or not: both are looked at.
        let _ = poll(&mut wanted, timeout);
        if signals.read().context("can't read signals")?.is_some() {
            break;
        }
        // Their heap is not followed: nothing is probed in what they map.
        collector.mapped().for_each(drop);
        if drawn.elapsed() >= progress::EVERY {
            line.draw(&collector.progress());
            drawn = Instant::now();
        }
    }
    Ok(())
}
