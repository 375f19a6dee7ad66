//! Tracing a command.

use super::Refused;
use super::budget::{self, Audience};
use crate::cli::{Job, RunArgs, Trace};
use crate::results;
use crate::terminal::{FAILED, Line, Summary, line, losses, notices, stop, warn};
use anyhow::{Context, Result, bail};
use std::panic::resume_unwind;
use std::thread::JoinHandle;
use tracer::probes::machine;
use tracer::recording::{Limits, Meta, Writer};
use tracer::reports::budget::Budget;
use tracer::reports::diff::Side;
use tracer::reports::{self, Between, Concluded, Counted, OutDir};
use tracer::trace::{self, Collected, Follow, Live, Options, Recorder, Session, Subject, View};
use tracer::tracee::{Capabilities, Command, Environment, LaunchError, Signals, User};
use tracer::units::Bytes;
use tracer::unwind::Cache;

/// Who is told what a trace sees: the recording, and the live line where one is shown.
type Told = (Recorder, Option<Live>);

/// Runs the command under the probes, then writes every report. Returns the exit status.
pub(crate) fn run(args: &RunArgs) -> Result<u8> {
    machine::early()?;
    let between = crate::cli::between(&args.between);
    let budget = match args.one_of_several {
        true => Budget::default(),
        false => budget::of(&args.budget, follow(args).name(), between.as_ref())?,
    };
    let mut audience = Audience::open(&args.budget, args.quiet)?;
    let out = args
        .out_dir
        .clone()
        .unwrap_or_else(|| results::default_out_dir(&args.command));
    // Whatever becomes of this run: nothing is to look like its results but they.
    results::retire(&out)?;
    let user = args.user.as_deref().map(User::find).transpose()?;
    let subject = subject(args)?;
    let made = !out.exists();
    let out = results::prepare(&out)?;
    let mut summary = Summary::of_trace(args.summary.as_deref(), args.quiet)?;

    // Before any thread is started: they inherit the mask.
    let mut signals = Signals::take().context("can't take over signals")?;
    let mut line = Line::new(args.quiet);
    let live = line.is_shown().then(|| Live::new(line::EVERY));
    let view = live.as_ref().map(Live::view);
    let started = trace::Trace::start(subject, user.as_ref(), &options(args, &out), |session| {
        Ok((recorder(session, args, &out)?, live))
    });
    let waiting = match started {
        Ok(waiting) => waiting,
        Err(error) => {
            if made {
                results::abandon(&out);
            }
            return Err(error);
        }
    };
    give_back_what_is_free();
    let mut running = waiting
        .release()
        .map_err(|error| not_executed(&error, &out))?;
    let mut draw = || line.draw(|| view.as_ref().map(View::progress).unwrap_or_default());
    let ended = running.follow(&mut signals, &mut draw);
    let waited = match args.wait && ended.is_ok() {
        true => running.outlive(&mut signals, &mut draw),
        false => Ok(()),
    };
    let reporting = Capabilities::REPORTING | results::capabilities(&out);
    stop::on_second(signals, &out, reporting);
    line.clear();
    let finished = running.finish(ended.as_ref().ok());
    // Dropped last: reports are written meanwhile.
    let _detaching = finished.detaching;
    // A disk that is full loses a part; what there is is reported all the same.
    let mut counting = None;
    let recorded = finished.collected.and_then(|mut collected| {
        collected.consumer.0.flush();
        counting = count(&out, between.clone(), reporting);
        record(collected, finished.limits, &out)
    });
    // Names are found: what is left is to read the recording and to write reports of it.
    notices().give_up(reporting);
    let counted = counting.and_then(|thread| thread.join().unwrap_or_else(|p| resume_unwind(p)));
    let loaded = results::load(&results::recording(&out), counted, between.as_ref());
    let concluded = loaded.and_then(|concluded| {
        results::write(&out, &concluded, &mut summary)?;
        Ok(concluded)
    });
    let concluded = both(recorded, concluded)?;
    waited?;
    let status = ended?.status.exit_code();
    // The last line of the summary, wherever that goes.
    summary.add(&reports::result(&Side::of(&concluded), status))?;
    if !args.one_of_several {
        audience.hear(|| reports::markdown(&concluded))?;
    }
    budget::conclude(&budget, &concluded, status, &mut audience)
}

/// Has glibc give back what the start took for a moment: 8 MiB less at the peak of a trace of `true`
/// in a small cgroup. Once: a limit from which it always would costs page faults with each batch of
/// events that is taken in.
fn give_back_what_is_free() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it looks for free pages in the allocator's own lists, under their locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What to trace.
fn subject(args: &RunArgs) -> Result<Subject> {
    let environment = Environment::current();
    let command = Command::new(&args.command).context("the command is an empty word")?;
    let subject =
        Subject::command(command, environment, follow(args)).map_err(|error| Refused {
            message: error.to_string(),
            code: FAILED,
        })?;
    let name = args.command[0].to_string_lossy();
    // A path is left to exec, which knows why; a name that is nowhere need not make a folder.
    if !name.contains('/') && !subject.has_file() {
        bail!(Refused {
            message: format!("{name}: command not found"),
            code: 127,
        });
    }
    Ok(subject)
}

pub(super) fn follow(args: &RunArgs) -> Follow {
    match args.trace {
        Trace::Heap => Follow::Heap,
        Trace::Pages => Follow::Pages,
    }
}

fn options(args: &RunArgs, out: &OutDir) -> Options {
    Options {
        ring: args.ring_buffer.map(Bytes),
        cache: Cache::open(),
        kept: Some(super::for_tracing() | results::capabilities(out)),
        naming: Job::naming(),
        ..Options::new(follow(args), notices())
    }
}

fn recorder(session: &Session, args: &RunArgs, out: &OutDir) -> Result<Recorder> {
    let words = results::words(&args.command);
    let mut meta = Meta::here(follow(args).name(), words, Some(session.target()));
    meta.degraded = session.degraded().iter().map(|d| d.told()).collect();
    let writer = out.act(|| Writer::create(&results::recording(out), &meta))?;
    Ok(Recorder::new(writer, notices()))
}

/// Counts the events of the recording on a thread of its own, while names are looked for. Where that
/// is not to be had they are counted later.
fn count(
    out: &OutDir,
    between: Option<Between>,
    kept: Capabilities,
) -> Option<JoinHandle<Option<Counted>>> {
    let dir = results::recording(out);
    let work = move || {
        notices().give_up(kept);
        Counted::load(&dir, between.as_ref()).ok()
    };
    std::thread::Builder::new()
        .name("count".into())
        .spawn(work)
        .ok()
}

/// Ends the recording: names for its addresses, then its losses.
fn record(mut collected: Collected<Told>, limits: Limits, out: &OutDir) -> Result<()> {
    let symbols = collected.symbols();
    for warning in collected.symbolizer.warnings() {
        warn(warning);
    }
    if let Some(text) = losses::sentence(&collected.losses) {
        warn(text);
    }
    let (mut recorder, _) = collected.consumer;
    recorder.symbols(&symbols);
    out.act(|| recorder.finish(limits, &collected.losses))
}

/// Where the disk is full neither can be written: what of the recording is missing must not be
/// hidden by what came after.
fn both(recorded: Result<()>, concluded: Result<Concluded>) -> Result<Concluded> {
    match (recorded, concluded) {
        (Err(recorded), Err(concluded)) => bail!("{recorded:#}; {concluded:#}"),
        (recorded, concluded) => recorded.and(concluded),
    }
}

/// Nothing ran: an empty recording would only look like a result.
fn not_executed(error: &LaunchError, out: &OutDir) -> Refused {
    if let Err(error) = out.act(|| std::fs::remove_dir_all(results::recording(out))) {
        warn(format_args!("can't remove the empty recording: {error}"));
    }
    Refused {
        message: error.to_string(),
        code: error.exit_code(),
    }
}
