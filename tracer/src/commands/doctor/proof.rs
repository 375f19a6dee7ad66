//! The proof that a trace works: a child does what is known beforehand, and what was seen of it
//! is compared with that.

use crate::terminal::notices;
use anyhow::{Context, Result, bail};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::ptr;
use std::time::{Duration, Instant};
use tracer::events::{Body, Cause, Event, KernelCounts, RssCounter, StackEnd};
use tracer::probes::decode::Record;
use tracer::probes::kernel::page_size;
use tracer::probes::machine::{Capability, Degradation, Lack, Name};
use tracer::probes::modules::Watcher;
use tracer::probes::ring::Ring;
use tracer::trace::{Follow, Options, Session, Subject, unwatched};
use tracer::tracee::{Command, Environment, Launch, Target};
use tracer::units::{Address, Bytes, Pid, StackId};

/// Blocks that the child allocates, of a size that nothing else asks for.
const BLOCKS: usize = 1000;
const BLOCK: usize = 12_345;
/// Pages of its mapping, and how many of them it touches.
const PAGES: usize = 777;
const TOUCHED: usize = 500;
/// Longer than a child that does so little ever takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Records taken at a time.
const BATCH: usize = 16_384;

/// What the child does.
pub(super) fn child() -> Result<u8> {
    for _ in 0..BLOCKS {
        // SAFETY: the block is given back as it was had.
        unsafe { libc::free(std::hint::black_box(libc::malloc(BLOCK))) };
    }
    let page = page_size() as usize;
    let (prot, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping, which nobody else knows.
    let mapping = unsafe { libc::mmap(ptr::null_mut(), PAGES * page, prot, flags, -1, 0) };
    if mapping == libc::MAP_FAILED {
        bail!("mmap failed");
    }
    // SAFETY: the mapping is ours; a kernel without huge pages refuses, which is as well.
    unsafe { libc::madvise(mapping, PAGES * page, libc::MADV_NOHUGEPAGE) };
    for number in 0..TOUCHED {
        // SAFETY: within the mapping.
        unsafe { mapping.cast::<u8>().add(number * page).write_volatile(1) };
    }
    Ok(0)
}

/// A child that waits, all probes on it.
pub(super) struct Proof {
    launch: Launch,
    session: Session,
    modules: Watcher,
}

/// Launches this program as its own child, and attaches everything.
pub(super) fn start(ring: Option<Bytes>) -> Result<Proof> {
    let program = std::env::current_exe().context("this program's own file can't be found")?;
    let words = [program.into(), "doctor".into(), "--child".into()];
    let words: [OsString; 3] = words;
    let environment = Environment::current();
    let command = Command::new(&words).context("no program")?;
    let subject = Subject::command(command, environment, Follow::Heap)?;
    let (command, environment) = subject.words();
    let launch = Launch::new(command, environment).context("can't start a child")?;
    let options = Options {
        ring,
        kept: Some(crate::commands::for_tracing()),
        ..Options::new(Follow::Heap, notices())
    };
    let session = Session::start(launch.pid(), subject, &options)?;
    let modules = Watcher::new(launch.pid()).map_err(unwatched)?;
    Ok(Proof {
        launch,
        session,
        modules,
    })
}

impl Proof {
    /// What is attached.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Lets the child run, and says what was seen of it.
    pub(super) fn run(mut self) -> Result<Seen> {
        let mut seen = Seen::of(self.launch.pid(), &self.session);
        let mut ring = self.session.loaded().ring()?;
        let losses = self.session.loaded().losses()?;
        let mut target = self.launch.release()?;
        wait(&mut target, &mut ring, &mut seen)?;
        let (_detaching, kept) = self.session.finish();
        kept?;
        while take(&mut ring, &mut seen) == BATCH {}
        seen.files = self.modules.drain().len();
        seen.lost = losses.read()?.iter().map(|lost| lost.count).sum();
        Ok(seen)
    }
}

/// Reads events until the child has ended.
fn wait(target: &mut Target, ring: &mut Ring, seen: &mut Seen) -> Result<()> {
    let began = Instant::now();
    while target.try_wait()?.is_none() {
        take(ring, seen);
        ring.wait(Duration::from_millis(2))?;
        if began.elapsed() > PATIENCE {
            target.signal(libc::SIGKILL)?;
            target.wait()?;
            bail!("the doctor's own child did not end within {PATIENCE:?} and was killed");
        }
    }
    Ok(())
}

fn take(ring: &mut Ring, seen: &mut Seen) -> usize {
    ring.drain(BATCH, |record| match record {
        Record::Event { event, .. } => seen.note(&event),
        Record::Stack(stack, _) => {
            seen.stacks.insert(stack.id, stack.end);
        }
        Record::Mark(_) => {}
    })
}

/// What was seen of the child.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pid: u32,
    counts_pages: bool,
    live: HashSet<Address>,
    allocated: usize,
    freed: usize,
    by: HashSet<StackId>,
    mapping: Option<Address>,
    pages: HashSet<u64>,
    ended: Option<(u32, KernelCounts)>,
    stacks: HashMap<StackId, StackEnd>,
    files: usize,
    lost: u64,
}

impl Seen {
    fn of(pid: Pid, session: &Session) -> Self {
        Self {
            pid: pid.0,
            counts_pages: !session.degraded().contains(&Degradation::NoRssStat),
            ..Self::default()
        }
    }

    fn note(&mut self, event: &Event) {
        if event.pid.0 != self.pid {
            return;
        }
        match event.body {
            Body::Alloc { size, address, .. } if size == Bytes(BLOCK as u64) => {
                self.allocated += 1;
                self.live.insert(address);
                self.by.insert(event.stack);
            }
            Body::Free { address } => self.freed += usize::from(self.live.remove(&address)),
            Body::Map {
                address, length, ..
            } if length.0 == PAGES as u64 * page_size() => {
                self.mapping = Some(address);
                self.by.insert(event.stack);
            }
            Body::Resident {
                member: RssCounter::Anon,
                cause: Cause::UserFault,
                address,
                ..
            } => self.touched(address),
            Body::Exit { status, counts } => self.ended = Some((status, counts)),
            _ => {}
        }
    }

    fn touched(&mut self, address: Address) {
        let Some(mapping) = self.mapping else {
            return;
        };
        let page = address.0.wrapping_sub(mapping.0) / page_size();
        if page < PAGES as u64 {
            self.pages.insert(page);
        }
    }

    /// Whether it is what the child did.
    pub(super) fn capability(&self, name: Name) -> Capability {
        match name {
            Name::Heap => self.heap(),
            Name::Pages => self.pages(),
            Name::Ending => self.ending(),
            _ => self.stacks(),
        }
    }

    fn heap(&self) -> Capability {
        let seen = (self.allocated, self.freed);
        let said = format!(
            "{} of {BLOCKS} blocks of a child seen to be made, {} to be freed",
            seen.0, seen.1
        );
        match seen == (BLOCKS, BLOCKS) {
            true => Capability::yes(Name::Heap, said),
            false => Capability::lacking(Lack::wrong(Name::Heap, self.with_losses(said))),
        }
    }

    fn pages(&self) -> Capability {
        let said = format!("{} of {TOUCHED} pages seen to be touched", self.pages.len());
        match (self.counts_pages, self.pages.len() == TOUCHED) {
            (_, true) => Capability::yes(Name::Pages, said),
            (true, false) => Capability::lacking(Lack::wrong(Name::Pages, self.with_losses(said))),
            (false, false) => Capability::untried(Name::Pages).but(Degradation::NoRssStat),
        }
    }

    fn ending(&self) -> Capability {
        match self.ended {
            Some((0, counts)) if counts.resident_peak > 0 && counts.virtual_peak > 0 => {
                let said = format!(
                    "VmHWM {} and VmPeak {} read at the end",
                    Bytes(counts.resident_peak),
                    Bytes(counts.virtual_peak)
                );
                Capability::yes(Name::Ending, said)
            }
            Some((0, _)) => Capability::yes(Name::Ending, "seen, without VmHWM and VmPeak")
                .but(Degradation::NoPeaks),
            Some((status, _)) => Capability::lacking(Lack::wrong(
                Name::Ending,
                format!("the child's wait status was {status:#x} instead of 0"),
            )),
            None => Capability::lacking(Lack::wrong(Name::Ending, "the child's end was not seen")),
        }
    }

    fn stacks(&self) -> Capability {
        let complete = |stack: &&StackId| self.stacks.get(stack) == Some(&StackEnd::Complete);
        let (whole, all) = (self.by.iter().filter(complete).count(), self.by.len());
        let said = format!("{whole} of {all} stacks complete, {} files", self.files);
        match whole == all && all > 1 && self.files > 0 {
            true => Capability::yes(Name::Stacks, said),
            false => Capability::lacking(Lack::wrong(Name::Stacks, self.with_losses(said))),
        }
    }

    fn with_losses(&self, said: String) -> String {
        match self.lost {
            0 => said,
            lost => format!("{said}; {lost} events were lost"),
        }
    }
}
