//! Replays events into totals, peaks and snapshots. Does no I/O and knows no symbols.
//!
//! ```text
//! heap         live blocks of the malloc family
//! mappings     the address space: pieces with their makers
//! residency    resident pages with their touchers
//! image        one process image: events become transitions of the three
//! callers      which threads have called the malloc family
//! faults       which pages a change of the kernel's counters made resident
//! calls        where the kernel's time went
//! space        the address space at its widest
//! transition   which change of the image an event is
//! hugetlb      huge pages of hugetlbfs, which the kernel counts apart
//! check        what /proc/PID/pagemap says against them
//! window       a part of the run that is counted alone
//! history      how the state at a past peak is kept
//! peak         the two maxima and their snapshots
//! reconcile    resident bytes by reserver and toucher, against the kernel's count
//! ```
//!
//! # What counts
//!
//! - `reserved = heap + mappings`: live blocks at their requested size, plus live
//!   direct mappings. Direct are mappings made outside of the allocator: anonymous
//!   ones (also by `brk`, also stacks of threads) and shared ones of files and
//!   memfds. Private mappings of files ask for a view, not for memory, and are a
//!   number of their own; so are the allocator's mappings (see `classify`). Segments of System V
//!   shared memory are direct mappings, where their length could be had.
//! - `resident = anon + file + shmem`, as the kernel counts them.
//! - Peaks are true maxima, at the granularity of events, of the sum over all
//!   processes. A forked child has its own copy of everything, as it has for the
//!   kernel; a vforked one has nothing until it executes.

pub mod account;
mod callers;
mod calls;
mod hash;
mod heap;
mod history;
mod hugetlb;
mod image;
mod mappings;
mod peak;
mod probe;
mod process;
mod reconcile;
mod residency;
mod slot;
mod stacks;
mod timeline;
mod totals;
mod transition;
mod window;

#[cfg(test)]
mod tests;

pub use totals::Totals;
pub use window::Window;

use crate::events::{Body, Event, KernelCounts};
use crate::units::{Bytes, Nanos, Pid};
use account::{Account, Oddities, Usage};
use calls::Calls;
use hash::Map;
use history::{Moment, Now, Which};
use hugetlb::HugeTlb;
use image::{Actor, Effect, Image};
use peak::{EndedImages, Peak};
use process::{Memory, Process};
use stacks::{StackIndex, Stacks};
use timeline::Timeline;
use totals::Sums;
use transition::transition;
use window::Progress;

/// Replays events, in the order of the recording. Each costs constant time, whatever
/// lengths it names, but for pages that were resident and leave.
#[derive(Debug)]
pub struct Ledger {
    processes: Vec<Process>,
    by_pid: Map<Pid, usize>,
    /// The process of the last event.
    recent: Option<(Pid, usize)>,
    ended_images: EndedImages,
    stacks: Stacks,
    moment: Moment,
    began: Nanos,
    ended: Nanos,
    sums: Sums,
    peaks: [Peak; 2],
    timeline: Timeline,
    allocs: u64,
    alloc_bytes: Bytes,
    frees: u64,
    calls: Calls,
    hugetlb: HugeTlb,
    usage: Option<Usage>,
    oddities: Oddities,
    progress: Progress,
    /// Processes that have not ended.
    alive: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// Before the first event.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Window::WHOLE)
    }

    /// Before the first event of a run of which a part counts.
    #[must_use]
    pub fn of(window: Window) -> Self {
        Self {
            progress: Progress::new(window),
            processes: Vec::new(),
            by_pid: Map::default(),
            recent: None,
            ended_images: EndedImages::default(),
            stacks: Stacks::new(),
            moment: Moment(0),
            began: Nanos(0),
            ended: Nanos(0),
            sums: Sums::default(),
            peaks: [Peak::default(); 2],
            timeline: Timeline::new(),
            allocs: 0,
            alloc_bytes: Bytes::ZERO,
            frees: 0,
            calls: Calls::default(),
            hugetlb: HugeTlb::default(),
            usage: None,
            oddities: Oddities::default(),
            alive: 0,
        }
    }

    /// Applies the next event.
    pub fn apply(&mut self, event: &Event) {
        if !self.admits(event) {
            return;
        }
        if self.moment == Moment(0) {
            self.began = event.time;
            self.ended = event.time;
        }
        self.moment.0 += 1;
        self.timeline.before(event.time, self.ended, &self.sums);
        // Events of different CPUs may be a little out of order.
        self.ended = self.ended.max(event.time);
        if let Body::Usage { user, system } = event.body {
            self.usage = Some(Usage { user, system });
            return;
        }
        let stack = self.stacks.named(event.stack, &event.body);
        let process = self.process(event.pid);
        match event.body {
            Body::Fork {
                child,
                shares_memory,
            } => self.fork(process, event.pid, child, shares_memory),
            Body::Exec { counts } => self.exec(process, counts),
            Body::Exit { status, counts } => self.exit(process, status, counts),
            _ => self.within(process, event, stack),
        }
        self.raise(event.time);
    }

    /// The current state.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let [reserved, resident] = &self.peaks;
        Totals {
            events: self.moment.0,
            reserved: Bytes(self.sums.reserved()),
            reserved_peak: Bytes(reserved.sums.reserved()),
            resident: Bytes(self.sums.resident()),
            resident_peak: Bytes(resident.sums.resident()),
            allocs: self.allocs,
            processes: self.alive,
        }
    }

    /// What all of it amounts to.
    #[must_use]
    pub fn finish(mut self) -> Account {
        self.end_window();
        let [reserved, resident] = self.peaks;
        let snapshots = [Which::Reserved, Which::Resident].map(|which| self.snapshot(which));
        let [reserved_peak, resident_peak] = snapshots;
        let now = timeline::point(self.ended, &self.sums);
        let (calls, faults) = self.calls.finish();
        let hugetlb = self.hugetlb.finish(&self.stacks);
        Account {
            began: self.began,
            ended: self.ended,
            reserved_peak,
            resident_peak,
            stacks: self.stacks.all_totals(),
            stack_uses: self.stacks.all_uses(),
            allocs: self.allocs,
            alloc_bytes: self.alloc_bytes,
            frees: self.frees,
            calls,
            faults,
            hugetlb,
            usage: self.usage,
            processes: self
                .processes
                .into_iter()
                .filter(|process| !process.has_gone)
                .map(|process| process.account)
                .collect(),
            timeline: self
                .timeline
                .finish([reserved.point(), resident.point(), now]),
            oddities: self.oddities,
        }
    }

    fn snapshot(&self, which: Which) -> account::Snapshot {
        let peak = &self.peaks[which as usize];
        let living = self
            .processes
            .iter()
            .filter_map(|process| match &process.memory {
                Memory::Own(image) if image.born <= peak.moment => Some(&**image),
                _ => None,
            });
        peak.snapshot(
            which,
            living.chain(self.ended_images.alive_at(peak.moment)),
            &self.stacks,
        )
    }

    fn now(&self) -> Now {
        Now {
            moment: self.moment,
            peaks: self.peaks.map(|peak| peak.moment),
        }
    }

    /// Index of a process; one that was never seen begins with nothing.
    fn process(&mut self, pid: Pid) -> usize {
        if let Some((recent, index)) = self.recent
            && recent == pid
        {
            return index;
        }
        let index = match self.by_pid.get(&pid) {
            Some(&index) => index,
            None => self.begin(pid, Pid(0), Memory::Own(Box::new(Image::new(self.moment)))),
        };
        self.recent = Some((pid, index));
        index
    }

    fn begin(&mut self, pid: Pid, parent: Pid, memory: Memory) -> usize {
        let index = self.processes.len();
        let mut process = Process::new(pid, parent, memory);
        process.account.began = self.ended;
        self.processes.push(process);
        self.by_pid.insert(pid, index);
        self.recent = None;
        self.alive += 1;
        index
    }

    /// Whose image a process runs.
    fn owner(&self, process: usize) -> usize {
        match self.processes[process].memory {
            Memory::Of(owner) => owner,
            Memory::Own(_) | Memory::Ended => process,
        }
    }

    /// An event that changes an image.
    fn within(&mut self, process: usize, event: &Event, stack: StackIndex) {
        let owner = self.owner(process);
        let now = self.now();
        self.calls.count(&event.body, self.stacks.totals(stack));
        let who = Actor {
            thread: event.tid,
            stack,
            in_allocator: event.in_allocator,
        };
        let Memory::Own(image) = &mut self.processes[owner].memory else {
            // The counters of a dead process may still run down; nothing else may happen.
            // So may a check, which takes a while.
            let late = matches!(
                event.body,
                Body::Resident { .. } | Body::CheckBegin | Body::Present { .. } | Body::CheckEnd
            );
            self.oddities.misplaced += u64::from(!late);
            return;
        };
        self.hugetlb.add(image, stack, &event.body);
        let before = image.sums();
        let effect = transition(image, &now, who, &event.body, &mut self.oddities);
        image.widen();
        let (after, mapped) = (image.sums(), Bytes(image.mappings.virtual_bytes()));
        self.sums.replace(&before, &after);
        self.processes[owner].raise(&after, mapped);
        self.account(process, stack, effect);
    }

    fn account(&mut self, process: usize, stack: StackIndex, effect: Effect) {
        self.frees += u64::from(effect.freed);
        if effect.touched > 0 {
            self.stacks.totals(stack).pages += effect.touched;
        }
        if let Some(bytes) = effect.reserved {
            self.allocs += 1;
            self.alloc_bytes += bytes;
            self.processes[process].account.allocs += 1;
            let totals = self.stacks.totals(stack);
            totals.calls += 1;
            totals.bytes += bytes;
        }
    }

    /// `images' = images ∪ {copy of the parent's}`.
    fn fork(&mut self, parent: usize, pid: Pid, child: Pid, shares_memory: bool) {
        if let Some(&old) = self.by_pid.get(&child) {
            // Unless it has ended, its exit was lost, and its number given away again.
            let alive = !matches!(self.processes[old].memory, Memory::Ended);
            self.oddities.misplaced += u64::from(alive);
            self.end_image(old);
        }
        let owner = self.owner(parent);
        let memory = match &self.processes[owner].memory {
            Memory::Own(_) if shares_memory => Memory::Of(owner),
            Memory::Own(image) => Memory::Own(Box::new(image.fork(&self.now()))),
            Memory::Of(_) | Memory::Ended => {
                self.oddities.misplaced += 1;
                Memory::Own(Box::new(Image::new(self.moment)))
            }
        };
        let index = self.begin(child, pid, memory);
        if let Memory::Own(image) = &self.processes[index].memory {
            let (sums, mapped) = (image.sums(), Bytes(image.mappings.virtual_bytes()));
            self.sums.replace(&Sums::default(), &sums);
            self.processes[index].raise(&sums, mapped);
        }
    }

    /// `image' = ∅`: every block and mapping ended.
    fn exec(&mut self, process: usize, counts: KernelCounts) {
        self.kernel_said(process, counts);
        self.end_image(process);
        self.processes[process].memory = Memory::Own(Box::new(Image::new(self.moment)));
        self.alive += 1;
    }

    /// `images' = images \ {its own}`. What it has not freed has leaked.
    fn exit(&mut self, process: usize, status: u32, counts: KernelCounts) {
        if let Memory::Own(image) = &self.processes[process].memory {
            window::leak(&mut self.stacks, image, self.progress.since());
        }
        self.kernel_said(process, counts);
        self.end_image(process);
        let ended = &mut self.processes[process];
        ended.account.status = Some(status);
    }

    /// The kernel's account is of an image's whole life: of a part of it it says nothing.
    fn kernel_said(&mut self, process: usize, counts: KernelCounts) {
        if self.progress.is_whole() {
            self.processes[process].kernel_said(counts);
        }
    }

    fn end_image(&mut self, process: usize) {
        let memory = std::mem::replace(&mut self.processes[process].memory, Memory::Ended);
        self.alive -= usize::from(!matches!(memory, Memory::Ended));
        if let Memory::Own(image) = memory {
            self.sums.replace(&image.sums(), &Sums::default());
            self.ended_images.keep(self.moment, image, &self.peaks);
        }
    }

    fn raise(&mut self, at: Nanos) {
        self.hugetlb.raise(self.sums.hugetlb);
        let peak = Peak {
            moment: self.moment,
            at,
            sums: self.sums,
        };
        let [reserved, resident] = &mut self.peaks;
        if self.sums.reserved() > reserved.sums.reserved() {
            *reserved = peak;
        }
        if self.sums.resident() > resident.sums.resident() {
            *resident = peak;
        }
    }
}
