//! Tracing a command.

use super::collect::{self, Collector, Streams};
use super::deferred::Deferred;
use super::progress::{self, Line};
use super::session::Session;
use super::summary::Summary;
use super::{Refused, conclude, label, losses, out_dir, outlived, stop, warn};
use crate::cli::{RunArgs, Trace};
use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::time::{Duration, Instant};
use tracer::events::{Body, Event, Lost};
use tracer::probes::machine::{self, Facts, Lack, Name};
use tracer::probes::modules::Watcher;
use tracer::probes::objects::Finder;
use tracer::recording::{Cgroup, Limits, Meta, Writer};
use tracer::reports::OutDir;
use tracer::target::cgroup::{self, Watch};
use tracer::target::{
    Capabilities, Command, Ended, Environment, Guard, Launch, LaunchError, Signals, Target, User,
};
use tracer::units::{Bytes, Nanos, Pid, StackId, Tid};
use tracer::unwind::Cache;

/// How soon a file that the target maps is looked at for an allocator.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the command under the probes, then writes every report. Returns the exit status.
pub(crate) fn run(args: &RunArgs) -> Result<u8> {
    machine::early()?;
    let out = args
        .out_dir
        .clone()
        .unwrap_or_else(|| label::default_out_dir(&args.command));
    // Whatever becomes of this run: nothing is to look like its results but they.
    out_dir::retire(&out)?;
    let user = args.user.as_deref().map(User::find).transpose()?;
    let environment = Environment::current();
    let command = Command::new(&args.command).context("the command is an empty word")?;
    let mut finder = Finder::default();
    let found = match args.trace {
        Trace::Heap => finder
            .command(&command, &environment)
            .map_err(refused_program)?,
        // Only to know the files: nothing of them is probed.
        Trace::Pages => finder.command(&command, &environment).unwrap_or_default(),
    };
    let name = args.command[0].to_string_lossy();
    // A path is left to exec, which knows why; a name that is nowhere need not make a folder.
    if !name.contains('/') && command.file(&environment).is_none() {
        return Err(not_found(&name));
    }
    let made = !out.exists();
    let out = out_dir::prepare(&out)?;
    let mut summary = Summary::of_trace(args.summary.as_deref(), args.quiet)?;

    // Before any thread is started: they inherit the mask.
    let mut signals = Signals::take().context("can't take over signals")?;
    let launch = Launch::as_user(&command, &environment, user.as_ref())
        .context("can't start the command")?;
    let (ring, pid) = (args.ring_buffer.map(Bytes), launch.pid());
    let _guard = match args.trace {
        Trace::Heap => Some(Guard::start(pid).context("can't start the guard")?),
        Trace::Pages => None,
    };
    // The kernel lets it wait for a grace period: the programs are verified meanwhile.
    let watcher = std::thread::spawn(move || Watcher::new(pid));
    let session = Session::start(
        pid,
        args.trace,
        ring,
        finder,
        &found,
        Cache::open(),
        super::for_tracing() | out_dir::capabilities(&out),
    );
    let watcher = watcher.join().unwrap_or_else(|panic| resume_unwind(panic));
    let started = session.and_then(|session| Ok((session, watcher.map_err(unwatched)?)));
    let (mut session, modules) = match started {
        Ok(started) => started,
        Err(error) => {
            if made {
                out_dir::abandon(&out);
            }
            return Err(error);
        }
    };
    let mut line = Line::new(args.quiet);
    let collector = start_collector(&mut session, modules, args, &out, line.is_shown())?;

    let watch = Watch::start(pid);
    let mut target = match launch.release() {
        Ok(target) => target,
        Err(error) => {
            drop(session);
            collector.finish()?;
            return Err(not_executed(&error, &out));
        }
    };
    let ended = follow(
        &mut target,
        &mut signals,
        &mut session,
        &collector,
        &mut line,
    );
    let waited = match args.wait && ended.is_ok() {
        true => outlived::wait(&mut signals, &session, &collector, &mut line),
        false => Ok(()),
    };
    let limits = match &ended {
        Ok(_) => limits(watch.finish()),
        // It may run for long still.
        Err(_) => Limits::default(),
    };
    let unprobed = session.unprobed();
    let reporting = Capabilities::REPORTING | out_dir::capabilities(&out);
    stop::on_second(signals, &out, reporting);
    line.clear();
    // Detached first, or with nobody left to send: whatever was sent is in the buffer. Dropped
    // last: reports are written meanwhile.
    let (_detaching, kept) = session.finish();
    if let Err(error) = kept {
        warn(format_args!("some stacks are incomplete: {error:#}"));
    }
    // A disk that is full loses a part; what there is is reported all the same.
    let used = ended.as_ref().ok().map(|ended| usage(pid, ended));
    let recorded = finish(collector, used.as_ref(), limits, unprobed, &out);
    // Names are found: what is left is to read the recording and to write reports of it.
    super::give_up(reporting);
    let concluded = conclude::conclude(&out_dir::recording(&out), &out, &mut summary);
    both(recorded, concluded)?;
    waited?;
    let ended = ended?;
    Ok(ended.status.exit_code())
}

/// Why what the command maps can't be followed.
pub(super) fn unwatched(error: std::io::Error) -> anyhow::Error {
    let lack = Lack::no_perf_events(Name::Modules, &error, &Facts::gather());
    anyhow::Error::new(error).context(lack)
}

fn start_collector(
    session: &mut Session,
    modules: Watcher,
    args: &RunArgs,
    out: &OutDir,
    live: bool,
) -> Result<Collector> {
    let mode = match args.trace {
        Trace::Heap => "heap",
        Trace::Pages => "pages",
    };
    let mut meta = Meta::here(mode, out_dir::words(&args.command), Some(session.target()));
    meta.degraded = session.degraded().iter().map(|d| d.told()).collect();
    let writer = out.act(|| Writer::create(&out_dir::recording(out), &meta))?;
    let ring = session.loaded().ring()?;
    // What is mapped is opened at once: its process may end in a millisecond.
    for news in modules.fds() {
        ring.also_wake_by(news)?;
    }
    let losses = session.loaded().losses()?;
    let deferred = Deferred::new(session.known());
    Collector::start(
        Streams {
            ring,
            modules,
            losses,
            writer,
            deferred,
        },
        live,
    )
}

/// Until the target has ended: signals are passed on, new files probed, the line drawn.
fn follow(
    target: &mut Target,
    signals: &mut Signals,
    session: &mut Session,
    collector: &Collector,
    line: &mut Line,
) -> Result<Ended> {
    let mut drawn = Instant::now();
    loop {
        wait_for_any(target, signals, collector);
        signals.relay(target).context("can't pass on a signal")?;
        for module in collector.mapped() {
            if let Err(error) = session.mapped(&module) {
                warn(format_args!("{}: {error:#}", module.path));
            }
        }
        for moved in collector.moved() {
            let attached = session.moved(moved);
            if moved.held {
                target
                    .signal(libc::SIGCONT)
                    .context("can't continue the command")?;
            }
            attached?;
        }
        if let Some(ended) = target.try_wait().context("can't wait for the command")? {
            return Ok(ended);
        }
        if drawn.elapsed() >= progress::EVERY {
            line.draw(&collector.progress());
            drawn = Instant::now();
        }
    }
}

fn wait_for_any(target: &Target, signals: &Signals, collector: &Collector) {
    let mut wanted = [
        PollFd::new(target.as_fd(), PollFlags::POLLIN),
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        PollFd::new(collector.calls(), PollFlags::POLLIN),
    ];
    let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
    // Interrupted or not: the caller looks at all.
    let _ = poll(&mut wanted, timeout);
}

/// What the command had used, as an event of its own.
fn usage(pid: Pid, ended: &Ended) -> Event {
    let nanos = |time: Duration| Nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    Event {
        time: Nanos::now(),
        pid,
        tid: Tid(pid.0),
        stack: StackId(0),
        in_allocator: false,
        body: Body::Usage {
            user: nanos(ended.user),
            system: nanos(ended.system),
        },
    }
}

/// As they are recorded.
fn limits(seen: cgroup::Limits) -> Limits {
    Limits {
        cgroup: seen.cgroup.map(|seen| Cgroup {
            version: seen.version,
            path: seen.path,
            limit: seen.limit,
            limited_by: seen.limited_by,
            swap_limit: seen.swap_limit,
            peak: seen.peak,
            peak_before: seen.peak_before,
            oom_kills: seen.oom_kills,
            exhausted: seen.exhausted,
        }),
        machine_oom_kills: seen.machine_oom_kills,
    }
}

/// Ends the recording: what was used, names for its addresses, then its losses.
fn finish(
    collector: Collector,
    used: Option<&Event>,
    limits: Limits,
    unprobed: Option<Lost>,
    out: &OutDir,
) -> Result<()> {
    let mut collected = collector.finish()?;
    collected.losses.extend(unprobed);
    collected.writer.note_limits(limits);
    if let Some(used) = used {
        collect::tell_failure(collected.writer.push(used));
    }
    let symbols = collected
        .symbolizer
        .resolve(&collected.stacks, &collected.modules);
    for trouble in collected.symbolizer.troubles() {
        warn(format_args!("debuginfod: {trouble}"));
    }
    for symbol in symbols {
        collect::tell_failure(collected.writer.push_symbol(&symbol));
    }
    if let Some(text) = losses::sentence(&collected.losses) {
        warn(text);
    }
    // Only then the number of events that found no room is final.
    collect::tell_failure(collected.writer.flush());
    let not_written = collected.writer.not_written();
    let finished = out.act(|| collected.writer.finish(&collected.losses));
    if not_written > 0 {
        bail!(
            "{not_written} events could not be written to {}; `tracer report` makes reports of \
             the rest",
            out_dir::recording(out).display(),
        );
    }
    finished.context("the recording has no end").map(drop)
}

/// Where the disk is full neither can be written: what of the recording is missing must not be
/// hidden by what came after.
fn both(recorded: Result<()>, concluded: Result<()>) -> Result<()> {
    match (recorded, concluded) {
        (Err(recorded), Err(concluded)) => bail!("{recorded:#}; {concluded:#}"),
        (recorded, concluded) => recorded.and(concluded),
    }
}

fn refused_program(error: tracer::probes::objects::CommandError) -> anyhow::Error {
    Refused {
        message: error.to_string(),
        code: super::FAILED,
    }
    .into()
}

fn not_found(name: &str) -> anyhow::Error {
    Refused {
        message: format!("{name}: command not found"),
        code: 127,
    }
    .into()
}

/// Nothing ran: an empty recording would only look like a result.
fn not_executed(error: &LaunchError, out: &OutDir) -> anyhow::Error {
    if let Err(error) = out.act(|| std::fs::remove_dir_all(out_dir::recording(out))) {
        warn(format_args!("can't remove the empty recording: {error}"));
    }
    Refused {
        message: error.to_string(),
        code: error.exit_code(),
    }
    .into()
}
