//! Probes on a command that is about to run: loaded, attached, and extended to what it maps later.

use super::collector::Moved;
use super::load::{degradations, explained, load, mechanism};
use super::options::{Follow, Notices, Options};
use super::subject::Subject;
use crate::events::{LossCause, Lost, Module};
use crate::probes::attach::{self, Attached, Link, Mechanism, Scope};
use crate::probes::kernel::{Kernel, KernelError, RSS_STAT};
use crate::probes::load::{Loaded, Preparation, TargetState};
use crate::probes::machine::{self, Degradation, Facts, Lack, Name};
use crate::probes::objects::{Finder, Found, Note, Object};
use crate::probes::unwinding::{Keeper, Tables};
use crate::units::{Bytes, Pid};
use crate::unwind::Known;
use anyhow::{Context, Result};
use std::io;
use std::thread::JoinHandle;
use std::time::Instant;

/// Loaded programs and attached probes; dropping it detaches and unloads them all.
pub struct Session {
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
    notices: Notices,
}

impl Session {
    /// Loads the programs, gives up the capabilities that are not to be kept, and attaches
    /// everything to the process `target`, which waits to become `subject`: what must work later,
    /// for libraries that are loaded while it runs, is then seen to work now.
    ///
    /// # Errors
    /// A [`Lack`] where the machine is the reason.
    pub fn start(target: Pid, subject: Subject, options: &Options) -> Result<Self> {
        let Subject { finder, found, .. } = subject;
        let preparation = Preparation::start();
        let kernel = Kernel::probe().map_err(|error| explained(error.into(), Bytes::ZERO))?;
        let uprobes = match options.follow {
            Follow::Heap => Some(mechanism()?),
            Follow::Pages => None,
        };
        let fill = |tables: &mut Tables| {
            tables.keep_in(options.cache.clone());
            tables.add_files(&found.files)
        };
        let (mut loaded, prepared, room) =
            load(preparation, &kernel, uprobes, options, target, fill)?;
        let tables = loaded
            .tables()
            .context("the unwind tables were taken already")?;
        let known = tables.known();
        if let Some(kept) = options.kept {
            options.notices.give_up(kept);
        }
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
            degraded: degradations(&kernel, &loaded, uprobes, options.ring, room),
            loaded,
            keeper: Some(keeper),
            known,
            finder,
            uprobes,
            ring: room,
            refused_rss_stat,
            target,
            notices: options.notices.clone(),
        };
        session.attach(&found)?;
        Ok(session)
    }

    /// Whether any process is followed still.
    pub(super) fn has_targets(&self) -> bool {
        self.loaded.has_targets()
    }

    /// Another thread than the first has replaced the target's image. The kernel knows a process
    /// by its first thread, which is another one now: the probes have lost it. It is held until
    /// they stand anew; where it could not be, what it allocates meanwhile is not seen, and that is
    /// announced.
    pub(super) fn moved(&mut self, moved: Moved) -> Result<()> {
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
        self.notices.tell(format_args!(
            "another thread than the first executed a program: allocations of the {} ms until the \
             probes stood again are not in the numbers",
            began.elapsed().as_millis().max(1)
        ));
        Ok(())
    }

    /// How often the target ran without probes for a while.
    pub(super) fn unprobed(&self) -> Option<Lost> {
        (self.gaps > 0).then(|| Lost {
            cause: LossCause::Unprobed,
            probe: "alloc".into(),
            count: self.gaps,
        })
    }

    /// What is less exact on this machine.
    pub fn degraded(&self) -> &[Degradation] {
        &self.degraded
    }

    /// Why resident memory is not followed, where it isn't.
    pub fn refused_rss_stat(&self) -> Option<&io::Error> {
        self.refused_rss_stat.as_ref()
    }

    /// How uprobes are attached; none where only pages are traced.
    pub fn mechanism(&self) -> Option<Mechanism> {
        self.uprobes
    }

    /// Room for events.
    pub fn room(&self) -> Bytes {
        self.ring
    }

    /// The process that the command runs in.
    pub fn target(&self) -> Pid {
        self.target
    }

    /// The unwind tables as they are made.
    pub fn known(&self) -> Known {
        self.known.clone()
    }

    /// The loaded programs, for what is read from their maps.
    pub fn loaded(&mut self) -> &mut Loaded {
        &mut self.loaded
    }

    /// Detaches everything. Says why stacks may be short, if tables could not be loaded.
    ///
    /// The kernel waits until no program can be running any more. So does this, unless no process
    /// is left that one could run for: then what was sent is all that there will be.
    pub fn finish(mut self) -> (Detaching, Result<()>) {
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
    pub(super) fn mapped(&mut self, module: &Module) -> Result<()> {
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
            self.notices.tell(note);
        }
        let Some(programs) = self.loaded.uprobes() else {
            return Ok(());
        };
        for object in &found.objects {
            let Attached { links, failed } =
                attach::attach(mechanism, &programs, object, Scope::Process(self.target));
            self.links.extend(links);
            if !self.objects.iter().any(|known| known.id == object.id) {
                self.objects.push(object.clone());
            }
            for failure in failed {
                if failure.required {
                    let lack = machine::attaching(&failure.error, &Facts::gather());
                    return Err(anyhow::Error::new(failure).context(lack));
                }
                self.notices.tell(failure);
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

/// Why what the command maps can't be followed.
#[must_use]
pub fn unwatched(error: io::Error) -> anyhow::Error {
    let lack = Lack::no_perf_events(Name::Modules, &error, &Facts::gather());
    anyhow::Error::new(error).context(lack)
}

/// Probes that are being detached; dropping it waits until they are.
#[must_use = "dropping it waits"]
pub struct Detaching(Option<JoinHandle<()>>);

impl Drop for Detaching {
    fn drop(&mut self) {
        if let Some(Err(panic)) = self.0.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}
