//! Probes on a command that is about to run: loaded, attached, and extended to what it maps later.

use super::collect::Moved;
use super::warn;
use crate::cli::Trace;
use anyhow::{Context, Result};
use std::io;
use std::thread::JoinHandle;
use std::time::Instant;
use tracer::events::{LossCause, Lost, Module};
use tracer::probes::attach::{self, Attached, Link, Mechanism, Scope};
use tracer::probes::kernel::{Kernel, KernelError, RSS_STAT};
use tracer::probes::load::{LoadError, Loaded, Options, Preparation, TargetState, stacks};
use tracer::probes::machine::{self, DEFAULT_RING, Degradation, Facts, SMALLEST_RING};
use tracer::probes::objects::{Finder, Found, Note, Object};
use tracer::target::Capabilities;
use tracer::units::{Bytes, Pid};
use tracer::unwind::load::Tables;
use tracer::unwind::{Cache, Keeper, Known};

/// Loaded programs and attached probes; dropping it detaches and unloads them all.
pub(crate) struct Session {
    links: Vec<Link>,
    /// The files that they are in.
    objects: Vec<Object>,
    /// How often the target ran without them for a while.
    gaps: u64,
    loaded: Loaded,
    keeper: Option<Keeper>,
    known: Known,
    finder: Finder,
    /// How uprobes are attached; none where only pages are traced.
    uprobes: Option<Mechanism>,
    /// Room for events.
    ring: Bytes,
    /// What is less exact on this machine.
    degraded: Vec<Degradation>,
    /// Why resident memory is not followed, where it isn't.
    refused_rss_stat: Option<io::Error>,
    target: Pid,
}

impl Session {
    /// Loads the programs, gives up all capabilities but `kept`, and attaches everything to the
    /// waiting process `target`: what must work later, for libraries that are loaded while it
    /// runs, is then seen to work now. Unwind tables are kept in `cache`. Without a size, the
    /// ring buffer is as large as memory allows.
    ///
    /// The error is a [`Lack`](machine::Lack) where the machine is the reason.
    pub(crate) fn start(
        target: Pid,
        trace: Trace,
        ring: Option<Bytes>,
        finder: Finder,
        found: &Found,
        cache: Option<Cache>,
        kept: Capabilities,
    ) -> Result<Self> {
        let preparation = Preparation::start();
        let kernel = Kernel::probe().map_err(|error| explained(error.into(), Bytes::ZERO))?;
        let uprobes = match trace {
            Trace::Heap => Some(mechanism()?),
            Trace::Pages => None,
        };
        let (mut loaded, prepared, room) = load(
            preparation,
            &kernel,
            uprobes,
            ring,
            Some(target),
            |tables: &mut Tables| {
                tables.keep_in(cache.clone());
                tables.add_files(&found.files)
            },
        )?;
        let tables = loaded
            .tables()
            .context("the unwind tables were taken already")?;
        let known = tables.known();
        super::give_up(kept);
        let keeper = Keeper::start(tables, prepared?)?;
        let attached = loaded.add_target(target, TargetState::Waiting);
        let attached = attached.and_then(|()| loaded.attach(&kernel));
        attached.map_err(|error| explained(error, room))?;
        let refused_rss_stat = match kernel.tracepoint_id(RSS_STAT) {
            Err(KernelError::NoTracepoint { error, .. }) => Some(error),
            _ => None,
        };
        let mut session = Self {
            links: Vec::new(),
            objects: Vec::new(),
            gaps: 0,
            degraded: degradations(&kernel, &loaded, uprobes, ring, room),
            loaded,
            keeper: Some(keeper),
            known,
            finder,
            uprobes,
            ring: room,
            refused_rss_stat,
            target,
        };
        session.attach(found)?;
        Ok(session)
    }

    /// Whether any process is followed still.
    pub(crate) fn has_targets(&self) -> bool {
        self.loaded.has_targets()
    }

    /// Another thread than the first has replaced the target's image. The kernel knows a process
    /// by its first thread, which is another one now: the probes have lost it. It is held until
    /// they stand anew; where it could not be, what it allocates meanwhile is not seen, and that is
    /// announced.
    pub(crate) fn moved(&mut self, moved: Moved) -> Result<()> {
        if self.uprobes.is_none() || moved.pid != self.target {
            return Ok(());
        }
        let began = Instant::now();
        // Beside new ones they would fire again, should they find the process.
        attach::detach(std::mem::take(&mut self.links));
        let found = Found {
            objects: self.objects.clone(),
            ..Found::default()
        };
        self.attach(&found)?;
        if moved.held {
            return Ok(());
        }
        self.gaps += 1;
        warn(format_args!(
            "another thread than the first executed a program: allocations of the {} ms until the \
             probes stood again are not in the numbers",
            began.elapsed().as_millis().max(1)
        ));
        Ok(())
    }

    /// How often the target ran without probes for a while.
    pub(crate) fn unprobed(&self) -> Option<Lost> {
        (self.gaps > 0).then(|| Lost {
            cause: LossCause::Unprobed,
            probe: "alloc".into(),
            count: self.gaps,
        })
    }

    /// What is less exact on this machine.
    pub(crate) fn degraded(&self) -> &[Degradation] {
        &self.degraded
    }

    /// Why resident memory is not followed, where it isn't.
    pub(crate) fn refused_rss_stat(&self) -> Option<&io::Error> {
        self.refused_rss_stat.as_ref()
    }

    /// How uprobes are attached; none where only pages are traced.
    pub(crate) fn mechanism(&self) -> Option<Mechanism> {
        self.uprobes
    }

    /// Room for events.
    pub(crate) fn room(&self) -> Bytes {
        self.ring
    }

    /// The process that the command runs in.
    pub(crate) fn target(&self) -> Pid {
        self.target
    }

    /// The unwind tables as they are made.
    pub(crate) fn known(&self) -> Known {
        self.known.clone()
    }

    /// The loaded programs, for what is read from their maps.
    pub(crate) fn loaded(&mut self) -> &mut Loaded {
        &mut self.loaded
    }

    /// Detaches everything. Says why stacks may be short, if tables could not be loaded.
    ///
    /// The kernel waits until no program can be running any more. So does this, unless no process
    /// is left that one could run for: then what was sent is all that there will be.
    pub(crate) fn finish(mut self) -> (Detaching, Result<()>) {
        let keeper = self.keeper.take();
        let detaching = if self.loaded.has_targets() {
            drop(self);
            Detaching(None)
        } else {
            // Where no thread can be had, the closure is dropped here, and the session with it.
            let thread = std::thread::Builder::new().spawn(move || drop(self));
            Detaching(thread.ok())
        };
        let kept = keeper.map(Keeper::finish).transpose();
        (detaching, kept.map(drop).map_err(Into::into))
    }

    /// A file that the target has mapped since: it may bring an allocator of its own.
    pub(crate) fn mapped(&mut self, module: &Module) -> Result<()> {
        // Probes are scoped to the target: its children's heap is not followed yet.
        if self.uprobes.is_none() || module.pid != self.target {
            return Ok(());
        }
        let mut found = Found::default();
        self.finder
            .modules(std::slice::from_ref(module), &mut found);
        found
            .notes
            .retain(|note| !matches!(note, Note::Unreadable(..)));
        self.attach(&found)
    }

    fn attach(&mut self, found: &Found) -> Result<()> {
        let Some(mechanism) = self.uprobes else {
            return Ok(());
        };
        for note in &found.notes {
            warn(note);
        }
        let Some(programs) = self.loaded.uprobes() else {
            return Ok(());
        };
        for object in &found.objects {
            let Attached { links, failed } =
                attach::attach(mechanism, &programs, object, Scope::Process(self.target));
            self.links.extend(links);
            if !self
                .objects
                .iter()
                .any(|known| known.identity == object.identity)
            {
                self.objects.push(object.clone());
            }
            for failure in failed {
                if failure.required {
                    let lack = machine::attaching(&failure.error, &Facts::gather());
                    return Err(anyhow::Error::new(failure).context(lack));
                }
                warn(failure);
            }
        }
        Ok(())
    }
}

fn mechanism() -> Result<Mechanism> {
    Mechanism::of_this_kernel().map_err(|error| machine::uprobes(&error, &Facts::gather()).into())
}

/// The error in the machine's own words.
fn explained(error: LoadError, ring: Bytes) -> anyhow::Error {
    let lack = machine::loading(&error, ring, &Facts::gather());
    anyhow::Error::new(error).context(lack)
}

/// Loads the programs, with a smaller ring buffer where memory is short and none was asked for;
/// says how large it is.
fn load<T: Send>(
    preparation: Preparation,
    kernel: &Kernel,
    uprobes: Option<Mechanism>,
    asked: Option<Bytes>,
    held: Option<Pid>,
    fill: impl Fn(&mut Tables) -> T + Sync,
) -> Result<(Loaded, T, Bytes)> {
    let mut ring = asked.unwrap_or_else(|| machine::ring_that_fits(DEFAULT_RING));
    let mut preparation = Some(preparation);
    loop {
        let options = Options {
            ring,
            uprobes,
            copy_all: false,
            stacks: stacks::TABLES,
            held: uprobes.and(held),
        };
        let ready = preparation.take().unwrap_or_else(Preparation::start);
        let error = match Loaded::load_and(ready, kernel, options, &fill) {
            Ok((loaded, filled)) => return Ok((loaded, filled, ring)),
            Err(error) => error,
        };
        if asked.is_some() || ring <= SMALLEST_RING || !machine::wants_memory(&error) {
            return Err(explained(error, ring));
        }
        ring = Bytes(ring.0 / 2);
    }
}

/// What is known to be less exact once everything is attached.
fn degradations(
    kernel: &Kernel,
    loaded: &Loaded,
    uprobes: Option<Mechanism>,
    asked: Option<Bytes>,
    ring: Bytes,
) -> Vec<Degradation> {
    let mut all = Vec::new();
    if !loaded.counts_pages() {
        all.push(Degradation::NoRssStat);
    } else if kernel.counts_by_thread() {
        all.push(Degradation::RssBatches);
    }
    if uprobes == Some(Mechanism::PerfEvent) {
        all.push(Degradation::PerfUprobes);
    }
    all.extend(machine::of_pages());
    if asked.is_none() && ring < DEFAULT_RING {
        all.push(Degradation::SmallerRing(ring));
    }
    all
}

impl Drop for Session {
    /// Each link's end waits for a grace period of the kernel: all at once, not one by one.
    fn drop(&mut self) {
        let mut links = std::mem::take(&mut self.links);
        links.extend(self.loaded.slow_link());
        attach::detach(links);
    }
}

/// Probes that are being detached; dropping it waits until they are.
#[must_use = "dropping it waits"]
pub(crate) struct Detaching(Option<JoinHandle<()>>);

impl Drop for Detaching {
    fn drop(&mut self) {
        if let Some(Err(panic)) = self.0.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}
