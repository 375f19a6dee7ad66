//! Probes on a command that is about to run: loaded, attached, and extended to what it maps later.

use super::warn;
use crate::cli::Trace;
use anyhow::{Context, Result};
use std::thread::JoinHandle;
use tracer::events::Module;
use tracer::probes::attach::{self, Attached, Link, Mechanism, Scope};
use tracer::probes::kernel::Kernel;
use tracer::probes::load::{Loaded, Options, Preparation, TargetState, stacks};
use tracer::probes::objects::{Finder, Found, Note};
use tracer::target::Capabilities;
use tracer::units::{Bytes, Pid};
use tracer::unwind::{Cache, Keeper, Known};

/// Loaded programs and attached probes; dropping it detaches and unloads them all.
pub(crate) struct Session {
    links: Vec<Link>,
    loaded: Loaded,
    keeper: Option<Keeper>,
    known: Known,
    finder: Finder,
    /// How uprobes are attached; none where only pages are traced.
    uprobes: Option<Mechanism>,
    target: Pid,
}

impl Session {
    /// Loads the programs, gives up all capabilities but `kept`, and attaches everything to the
    /// waiting process `target`: what must work later, for libraries that are loaded while it
    /// runs, is then seen to work now.
    pub(crate) fn start(
        target: Pid,
        trace: Trace,
        ring: Bytes,
        finder: Finder,
        found: &Found,
        kept: Capabilities,
    ) -> Result<Self> {
        let preparation = Preparation::start();
        let kernel = Kernel::probe()?;
        let uprobes = match trace {
            Trace::Heap => {
                Some(Mechanism::of_this_kernel().context("can't ask the kernel about uprobes")?)
            }
            Trace::Pages => None,
        };
        let options = Options {
            ring,
            uprobes,
            copy_all: false,
            stacks: stacks::TABLES,
        };
        let (mut loaded, prepared) = Loaded::load_and(preparation, &kernel, options, |tables| {
            tables.keep_in(Cache::open());
            tables.add_files(&found.files)
        })?;
        let tables = loaded
            .tables()
            .context("the unwind tables were taken already")?;
        let known = tables.known();
        super::give_up(kept);
        let keeper = Keeper::start(tables, prepared?)?;
        loaded.add_target(target, TargetState::Waiting)?;
        loaded.attach(&kernel)?;
        let mut session = Self {
            links: Vec::new(),
            loaded,
            keeper: Some(keeper),
            known,
            finder,
            uprobes,
            target,
        };
        session.attach(found)?;
        Ok(session)
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
            for failure in failed {
                if failure.required {
                    return Err(failure.into());
                }
                warn(failure);
            }
        }
        Ok(())
    }
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
