//! One command several times, its median held against the budget.
//!
//! Each run is a tracer of its own, with a folder of its own: a trace gives up what it no longer
//! needs for good, so that one process can't make two.

use super::budget::{self, Audience};
use super::run::follow;
use crate::cli::RunArgs;
use crate::results;
use crate::terminal::say;
use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use tracer::reports;
use tracer::reports::budget::Verdict;
use tracer::reports::diff::Side;
use tracer::tracee::{Signals, Target};
use tracer::units::Pid;

/// Traces the command `times` times. Returns the exit status: that of the first run whose command
/// failed, which is the last one then.
pub(crate) fn repeat(args: &RunArgs, times: u32) -> Result<u8> {
    let between = crate::cli::between(&args.between);
    let budget = budget::of(&args.budget, follow(args).name(), between.as_ref())?;
    let mut audience = Audience::open(&args.budget, args.quiet)?;
    if args.summary.is_some() {
        bail!("--summary is of one run, and each of several has its top.md: leave one of them out");
    }
    let default = || results::default_out_dir(&args.command);
    let out = args.out_dir.clone().unwrap_or_else(default);
    results::retire(&out)?;
    let mut signals = Signals::take().context("can't take over signals")?;
    let (mut sides, mut verdicts, mut command) = (Vec::new(), Vec::new(), String::new());
    for run in 1..=times {
        let dir = out.join(results::run_name(run));
        let status = one(args, &dir, &mut signals)?;
        if status != 0 {
            say(format_args!(
                "tracer: run {run} of {times} ended with status {status}: the others are left out"
            ));
            return Ok(status);
        }
        let concluded = results::load(&results::recording_at(&dir), None, between.as_ref())?;
        let side = Side::of(&concluded);
        if !args.quiet {
            let result = reports::result(&side, status);
            say(format_args!("{result} run={run} of={times}"));
        }
        verdicts.push(budget.check(&concluded)?);
        sides.push(side);
        command = concluded.command_line();
    }
    if !args.quiet {
        for line in reports::spread(&sides) {
            say(format_args!("tracer: {line}"));
        }
        if let Some(median) = Side::median(&sides) {
            say(format_args!("{} runs={times}", reports::result(&median, 0)));
        }
    }
    if budget.is_empty() {
        return Ok(0);
    }
    budget::tell(&Verdict::median(verdicts), &command, 0, &mut audience)
}

/// One run, by a tracer of its own.
fn one(args: &RunArgs, dir: &Path, signals: &mut Signals) -> Result<u8> {
    let mut tracer = Command::new("/proc/self/exe");
    tracer.args([
        "--one-of-several",
        "--quiet",
        "--trace",
        follow(args).name(),
    ]);
    tracer.arg("--out-dir").arg(dir);
    if let Some(user) = &args.user {
        tracer.args(["--user", user]);
    }
    if !args.between.is_empty() {
        tracer.arg("--between").args(&args.between);
    }
    if args.wait {
        tracer.arg("--wait");
    }
    if let Some(size) = args.ring_buffer {
        tracer.args(["--ring-buffer", &size.to_string()]);
    }
    tracer.arg("--").args(&args.command);
    let parent = nix::unistd::getpid();
    let follow_us = move || {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
        // Whoever died before the line above is not told of any more.
        match nix::unistd::getppid() == parent {
            true => Ok(()),
            false => Err(std::io::ErrorKind::Interrupted.into()),
        }
    };
    // SAFETY: between fork and exec two system calls are made, and no memory is asked for.
    unsafe { tracer.pre_exec(follow_us) };
    let child = tracer.spawn().context("can't start a tracer for a run")?;
    let mut target = Target::new(Pid(child.id())).context("can't follow a run")?;
    loop {
        let mut fds = [
            PollFd::new(target.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        // Interrupted or not: both are looked at.
        let _ = poll(&mut fds, PollTimeout::NONE);
        let relayed = signals.relay_to_tracer(&target);
        relayed.context("can't pass on a signal")?;
        if let Some(ended) = target.try_wait().context("can't wait for a run")? {
            return Ok(ended.status.exit_code());
        }
    }
}
