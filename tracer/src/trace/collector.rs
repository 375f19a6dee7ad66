//! The thread that keeps up: from the ring buffer to the consumer, while the target runs.

use super::checks::{self, Checks};
use super::consumer::Consumer;
use super::deferred::Deferred;
use super::segments;
use crate::events::{Body, Captured, Event, LossCause, Lost, Module};
use crate::probes::decode::Record;
use crate::probes::losses::Losses;
use crate::probes::modules::Watcher;
use crate::probes::ring::Ring;
use crate::recording::ResolvedAddress;
use crate::symbols::{Naming, Symbolizer};
use crate::tracee::priority::set_nice;
use crate::units::Pid;
use anyhow::Result;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Records taken at once, before mapped files are looked at again.
const BATCH: usize = 16_384;

/// Longest pause between two looks into an empty ring buffer.
const PAUSE: Duration = Duration::from_millis(10);

/// Everything that the thread reads.
pub(super) struct Streams {
    /// What the programs send.
    pub(super) ring: Ring,
    /// What the processes map.
    pub(super) modules: Watcher,
    /// What the programs could not send.
    pub(super) losses: Losses,
    /// The stacks that wait for unwind tables.
    pub(super) deferred: Deferred,
}

/// What it leaves behind.
pub struct Collected<C> {
    /// Who was told.
    pub consumer: C,
    /// What was lost.
    pub losses: Vec<Lost>,
    /// The stacks.
    pub stacks: Vec<Captured>,
    /// The mapped files.
    pub modules: Vec<Module>,
    /// Finds names in them.
    pub symbolizer: Symbolizer,
}

impl<C> Collected<C> {
    /// Names for everything that the stacks point to.
    pub fn symbols(&mut self) -> Vec<ResolvedAddress> {
        self.symbolizer.resolve(&self.stacks, &self.modules)
    }
}

/// The running thread.
pub(super) struct Collector<C> {
    thread: JoinHandle<Result<Collected<C>>>,
    stop: Arc<AtomicBool>,
    mapped: Receiver<Module>,
    moved: Receiver<Moved>,
    wake: Arc<EventFd>,
}

/// A process of which another thread than the first has replaced the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    /// The process.
    pub(super) pid: Pid,
    /// Whether it is stopped, and is to be continued.
    pub(super) held: bool,
}

impl<C: Consumer + 'static> Collector<C> {
    /// Starts it.
    ///
    /// # Errors
    /// If there is no thread or no descriptor to be had.
    pub(super) fn start(streams: Streams, consumer: C, naming: &Naming) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, mapped) = channel();
        let (tell_move, moved) = channel();
        let wake = Arc::new(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?);
        let work = Work {
            streams,
            consumer,
            stop: stop.clone(),
            mapped: tell,
            execs: Execs {
                executing: None,
                moved: tell_move,
                wake: wake.clone(),
            },
            checks: Checks::default(),
            stacks: Vec::new(),
            modules: Vec::new(),
            symbolizer: Symbolizer::reading(naming),
        };
        let thread = std::thread::Builder::new()
            .name("collector".into())
            .spawn(|| work.run())?;
        Ok(Self {
            thread,
            stop,
            mapped,
            moved,
            wake,
        })
    }

    /// Files that were mapped since the last call.
    pub(super) fn mapped(&self) -> impl Iterator<Item = Module> + '_ {
        self.mapped.try_iter()
    }

    /// Processes that a thread other than the first has replaced the image of, since the last call.
    pub(super) fn moved(&self) -> impl Iterator<Item = Moved> + '_ {
        // Nothing to read: then nobody has called.
        let _ = self.wake.read();
        self.moved.try_iter()
    }

    /// Readable (`poll`, POLLIN) when there may be one.
    pub(super) fn calls(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Takes what is left in the ring buffer and ends. Call it when no probe fires any more.
    ///
    /// # Errors
    /// If the ring buffer or the counters of what was lost can't be read.
    pub(super) fn finish(self) -> Result<Collected<C>> {
        self.stop.store(true, Ordering::Release);
        match self.thread.join() {
            Ok(collected) => collected,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Work<C> {
    streams: Streams,
    consumer: C,
    stop: Arc<AtomicBool>,
    mapped: Sender<Module>,
    execs: Execs,
    checks: Checks,
    stacks: Vec<Captured>,
    modules: Vec<Module>,
    symbolizer: Symbolizer,
}

/// Looks for images that another thread than the first has replaced.
struct Execs {
    /// A process of which another thread than the first executes a program just now.
    executing: Option<Pid>,
    moved: Sender<Moved>,
    wake: Arc<EventFd>,
}

impl Execs {
    /// Looks at an event; `held` says whether its process is stopped.
    fn note(&mut self, event: &Event, held: bool) {
        match event.body {
            Body::Exec { .. } if event.tid.0 != event.pid.0 => self.executing = Some(event.pid),
            Body::Began { .. } if held || self.executing == Some(event.pid) => {
                self.executing = None;
                let pid = event.pid;
                // Nobody listens any more once the target has ended.
                let _ = self.moved.send(Moved { pid, held });
                let _ = self.wake.write(1);
            }
            _ => {}
        }
    }
}

impl<C: Consumer> Work<C> {
    fn run(mut self) -> Result<Collected<C>> {
        // It has little to do, and what it does not do in time costs the target room in the ring
        // buffer.
        set_nice(-20);
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
            let Self {
                consumer, streams, ..
            } = &mut self;
            consumer.told(&|| streams.all_losses().ok());
            if taken == BATCH {
                continue;
            }
            // Nothing from before the check is left in the buffer.
            self.take_findings();
            if stopping {
                break;
            }
            if let Some(pid) = self.checks.due() {
                self.consumer.event(&checks::begin(pid));
                self.checks.read(pid);
                continue;
            }
            self.consumer.idle();
            self.streams.ring.wait(PAUSE)?;
        }
        self.take_modules();
        for command in self.streams.modules.last_commands() {
            self.consumer.command(&command);
        }
        self.finish_deferred();
        let losses = self.streams.all_losses()?;
        Ok(Collected {
            losses,
            consumer: self.consumer,
            stacks: self.stacks,
            modules: self.modules,
            symbolizer: self.symbolizer,
        })
    }

    fn take_events(&mut self) -> usize {
        let Self {
            streams,
            consumer,
            execs,
            checks,
            stacks,
            ..
        } = self;
        let Streams { ring, deferred, .. } = streams;
        ring.drain(BATCH, |record| match record {
            Record::Event {
                mut event, held, ..
            } => {
                segments::complete(&mut event);
                execs.note(&event, held);
                checks.note(&event);
                for found in checks.found(Some(event.time)) {
                    consumer.event(&found);
                }
                consumer.event(&event);
            }
            Record::Mark(mark) => consumer.mark(&mark),
            Record::Stack(stack, Some(copy)) => deferred.push(stack, copy),
            Record::Stack(stack, None) => {
                consumer.stack(&stack);
                stacks.push(stack);
            }
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
            self.consumer.stack(&stack);
            self.stacks.push(stack);
        }
    }

    fn take_findings(&mut self) {
        for event in self.checks.found(None) {
            self.consumer.event(&event);
        }
    }

    fn take_modules(&mut self) {
        let watcher = &mut self.streams.modules;
        for module in watcher.drain() {
            self.consumer.module(&module);
            // While the process, its mounts and the file itself are still there.
            self.symbolizer.open(&module);
            // Nobody listens any more once the target has ended.
            let _ = self.mapped.send(module.clone());
            self.modules.push(module);
        }
        for command in watcher.commands() {
            self.consumer.command(&command);
        }
    }
}

impl Streams {
    /// What the kernel side lost, what the ring's reader could not read, and mappings.
    fn all_losses(&self) -> Result<Vec<Lost>> {
        let mut losses = self.losses.read()?;
        for (cause, probe, count) in [
            (LossCause::Malformed, "ring", self.ring.malformed()),
            (LossCause::RING_FULL, "module", self.modules.lost()),
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
