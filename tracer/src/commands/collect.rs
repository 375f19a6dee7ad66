//! The thread that keeps up: from the ring buffer into the recording, while the target runs.

use super::checks::{self, Checks};
use super::deferred::Deferred;
use super::progress::{self, Progress};
use anyhow::Result;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracer::events::{Body, Captured, Event, LossCause, Lost, Module};
use tracer::ledger::Ledger;
use tracer::probes::decode::Record;
use tracer::probes::losses::Losses;
use tracer::probes::modules::Watcher;
use tracer::probes::ring::Ring;
use tracer::recording::Writer;
use tracer::symbols::Symbolizer;
use tracer::units::{Nanos, Pid};

/// Records taken at once, before mapped files are looked at again.
const BATCH: usize = 16_384;

/// Longest pause between two looks into an empty ring buffer.
const PAUSE: Duration = Duration::from_millis(10);

/// Everything that the thread reads from and writes to.
pub(crate) struct Streams {
    pub(crate) ring: Ring,
    pub(crate) modules: Watcher,
    pub(crate) losses: Losses,
    pub(crate) writer: Writer,
    pub(crate) deferred: Deferred,
}

/// What it leaves behind.
pub(crate) struct Collected {
    pub(crate) writer: Writer,
    pub(crate) losses: Vec<Lost>,
    pub(crate) stacks: Vec<Captured>,
    pub(crate) modules: Vec<Module>,
    pub(crate) symbolizer: Symbolizer,
}

/// The running thread.
pub(crate) struct Collector {
    thread: JoinHandle<Result<Collected>>,
    stop: Arc<AtomicBool>,
    progress: Arc<Mutex<Progress>>,
    mapped: Receiver<Module>,
    moved: Receiver<Moved>,
    wake: Arc<EventFd>,
}

/// A process of which another thread than the first has replaced the image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) pid: Pid,
    /// Whether it is stopped, and is to be continued.
    pub(crate) held: bool,
}

impl Collector {
    /// Starts it. `live` keeps a ledger beside it, for the live line alone.
    pub(crate) fn start(streams: Streams, live: bool) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(Mutex::new(Progress::default()));
        let (tell, mapped) = channel();
        let (tell_move, moved) = channel();
        let wake = Arc::new(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?);
        let work = Work {
            streams,
            wake: wake.clone(),
            executing: None,
            stop: stop.clone(),
            progress: progress.clone(),
            mapped: tell,
            moved: tell_move,
            ledger: live.then(Ledger::new),
            checks: Checks::default(),
            events: 0,
            lost: 0,
            lost_at: Instant::now(),
            stacks: Vec::new(),
            modules: Vec::new(),
            symbolizer: Symbolizer::new(),
        };
        let thread = std::thread::Builder::new()
            .name("collector".into())
            .spawn(|| work.run())?;
        Ok(Self {
            thread,
            stop,
            progress,
            mapped,
            moved,
            wake,
        })
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        *self
            .progress
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    /// Files that were mapped since the last call.
    pub(crate) fn mapped(&self) -> impl Iterator<Item = Module> + '_ {
        self.mapped.try_iter()
    }

    /// Processes that a thread other than the first has replaced the image of, since the last call.
    pub(crate) fn moved(&self) -> impl Iterator<Item = Moved> + '_ {
        // Nothing to read: then nobody has called.
        let _ = self.wake.read();
        self.moved.try_iter()
    }

    /// Readable (`poll`, POLLIN) when there may be one.
    pub(crate) fn calls(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Takes what is left in the ring buffer and ends. Call it when no probe fires any more.
    pub(crate) fn finish(self) -> Result<Collected> {
        self.stop.store(true, Ordering::Release);
        match self.thread.join() {
            Ok(collected) => collected,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Work {
    streams: Streams,
    stop: Arc<AtomicBool>,
    progress: Arc<Mutex<Progress>>,
    mapped: Sender<Module>,
    moved: Sender<Moved>,
    wake: Arc<EventFd>,
    /// A process of which another thread than the first executes a program just now.
    executing: Option<Pid>,
    ledger: Option<Ledger>,
    checks: Checks,
    events: u64,
    lost: u64,
    lost_at: Instant,
    stacks: Vec<Captured>,
    modules: Vec<Module>,
    symbolizer: Symbolizer,
}

impl Work {
    fn run(mut self) -> Result<Collected> {
        hurry();
        loop {
            // Read before draining: what was sent before the stop is then in the buffer.
            let stopping = self.stop.load(Ordering::Acquire);
            self.take_modules();
            if self.streams.deferred.holds() && !stopping {
                self.take_deferred();
                std::thread::sleep(PAUSE);
                continue;
            }
            let taken = self.take_events();
            self.take_deferred();
            self.show();
            if taken == BATCH {
                continue;
            }
            // Nothing from before the check is left in the buffer.
            self.take_findings();
            if stopping {
                break;
            }
            if let Some(pid) = self.checks.due() {
                self.write(&checks::begin(pid));
                self.checks.read(pid);
                continue;
            }
            // A target that idles must not keep its last batch from the disk.
            tell_failure(self.streams.writer.tick(Nanos::now()));
            self.streams.ring.wait(PAUSE)?;
        }
        self.take_modules();
        for command in self.streams.modules.last_commands() {
            tell_failure(self.streams.writer.push_command(&command));
        }
        self.finish_deferred();
        let losses = self.all_losses()?;
        Ok(Collected {
            losses,
            writer: self.streams.writer,
            stacks: self.stacks,
            modules: self.modules,
            symbolizer: self.symbolizer,
        })
    }

    fn take_events(&mut self) -> usize {
        let Streams {
            ring,
            writer,
            deferred,
            ..
        } = &mut self.streams;
        let (events, stacks, ledger) = (&mut self.events, &mut self.stacks, &mut self.ledger);
        let (checks, executing) = (&mut self.checks, &mut self.executing);
        let (moved, wake) = (&self.moved, &self.wake);
        ring.drain(BATCH, |record| {
            let written = match record {
                Record::Event {
                    mut event, held, ..
                } => {
                    *events += 1;
                    super::segments::complete(&mut event);
                    if matches!(event.body, Body::Exec { .. }) && event.tid.0 != event.pid.0 {
                        *executing = Some(event.pid);
                    }
                    if matches!(event.body, Body::Began { .. })
                        && (held || executing.take() == Some(event.pid))
                    {
                        let pid = event.pid;
                        *executing = None;
                        // Nobody listens any more once the target has ended.
                        let _ = moved.send(Moved { pid, held });
                        let _ = wake.write(1);
                    }
                    checks.note(&event);
                    for found in checks.found(Some(event.time)) {
                        if let Some(ledger) = ledger {
                            ledger.apply(&found);
                        }
                        tell_failure(writer.push(&found));
                    }
                    if let Some(ledger) = ledger {
                        ledger.apply(&event);
                    }
                    writer.push(&event)
                }
                Record::Stack(stack, Some(copy)) => {
                    deferred.push(stack, copy);
                    Ok(())
                }
                Record::Stack(stack, None) => {
                    let written = writer.push_stack(&stack);
                    stacks.push(stack);
                    written
                }
            };
            tell_failure(written);
        })
    }

    fn take_deferred(&mut self) {
        let file = |module: &Module| self.symbolizer.file(module);
        let walked = self.streams.deferred.take(&self.modules, file);
        self.keep_stacks(walked);
    }

    fn finish_deferred(&mut self) {
        let file = |module: &Module| self.symbolizer.file(module);
        let walked = self.streams.deferred.finish(&self.modules, file);
        self.keep_stacks(walked);
    }

    fn keep_stacks(&mut self, walked: Vec<Captured>) {
        for stack in walked {
            tell_failure(self.streams.writer.push_stack(&stack));
            self.stacks.push(stack);
        }
    }

    fn take_findings(&mut self) {
        for event in self.checks.found(None) {
            self.write(&event);
        }
    }

    /// An event of our own.
    fn write(&mut self, event: &Event) {
        if let Some(ledger) = &mut self.ledger {
            ledger.apply(event);
        }
        tell_failure(self.streams.writer.push(event));
    }

    fn take_modules(&mut self) {
        let Self {
            streams,
            modules,
            symbolizer,
            mapped,
            ..
        } = self;
        let writer = &mut streams.writer;
        for module in streams.modules.drain() {
            tell_failure(writer.push_module(&module));
            // While the process, its mounts and the file itself are still there.
            symbolizer.open(&module);
            // Nobody listens any more once the target has ended.
            let _ = mapped.send(module.clone());
            modules.push(module);
        }
        for command in streams.modules.commands() {
            tell_failure(streams.writer.push_command(&command));
        }
    }

    fn show(&mut self) {
        let lost = self.lost_by_now();
        let totals = self.ledger.as_ref().map(Ledger::totals).unwrap_or_default();
        let mut progress = self
            .progress
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        progress.events = self.events;
        progress.reserved = totals.reserved;
        progress.resident = totals.resident;
        progress.lost = lost;
    }

    /// What was lost so far, for the live line: read as often as the line is drawn, since it
    /// takes a call for each of the kernel side's counters.
    fn lost_by_now(&mut self) -> u64 {
        if self.ledger.is_some() && self.lost_at.elapsed() >= progress::EVERY {
            self.lost_at = Instant::now();
            // Where it can't be read, the end of the run says so.
            if let Ok(losses) = self.all_losses() {
                self.lost = losses.iter().map(|lost| lost.count).sum();
            }
        }
        self.lost
    }

    /// What the kernel side lost, what the ring's reader could not read, and mappings.
    fn all_losses(&self) -> Result<Vec<Lost>> {
        let mut losses = self.streams.losses.read()?;
        for (cause, probe, count) in [
            (LossCause::Malformed, "ring", self.streams.ring.malformed()),
            (LossCause::RING_FULL, "module", self.streams.modules.lost()),
        ] {
            if count > 0 {
                losses.push(Lost {
                    cause,
                    probe: probe.into(),
                    count,
                });
            }
        }
        Ok(losses)
    }
}

/// Puts the current thread before others: it has little to do, and what it does not do in time
/// costs the target room in the ring buffer.
fn hurry() {
    // SAFETY: plain numbers; 0 is the calling thread. Without the right to it, nothing changes.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
}

/// The writer says a failure once, and counts from then on.
pub(crate) fn tell_failure(written: Result<(), tracer::recording::Error>) {
    if let Err(error) = written {
        super::warn(format_args!("the recording ends here: {error}"));
    }
}
