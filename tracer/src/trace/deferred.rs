//! Stacks that the programs could not walk, because the table of a file on their way was not
//! ready: walked here, by copies of them, once it is.

use super::copies::{Copies, Extent};
use crate::events::{Captured, Module, StackEnd};
use crate::files::{FileId, vdso};
use crate::symbols::AddressSpaces;
use crate::units::{Address, FileOffset, Pid};
use crate::unwind::known::VDSO_FILE;
use crate::unwind::{Found, Known, StackCopy, walk};
use rustc_hash::{FxHashMap, FxHashSet};
use std::fs::File;
use std::time::{Duration, Instant};

/// How long nothing is taken in once the store of copies is full: as long as the table of a large
/// library takes to be made, and not so long that the ring buffer would overflow. Then stacks are
/// cut where their table is missing.
const HOLD: Duration = Duration::from_millis(250);

/// How long they are left alone: a table takes some milliseconds to be made.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a file is left to be found by the processes that have it mapped. Then they are gone,
/// and it takes the one that was opened while the first of them lived.
const GRACE: Duration = Duration::from_millis(250);

/// How long a stack waits for its tables: longer than any takes that will come.
const PATIENCE: Duration = Duration::from_secs(5);

/// The stacks that wait.
pub(super) struct Deferred {
    known: Known,
    waiting: Vec<Waiting>,
    copies: Copies,
    looked: Instant,
    full_since: Option<Instant>,
}

/// A stack that waits.
struct Waiting {
    stack: Captured,
    since: Instant,
    /// All of the copy but its bytes.
    copy: Box<StackCopy>,
    bytes: Extent,
}

/// A file without a table, as a process has it mapped.
struct Missing<'m> {
    module: &'m Module,
    /// Since when the first stack waits for it.
    since: Instant,
}

impl Deferred {
    /// Nothing waits; tables will be in `known`.
    pub(super) fn new(known: Known) -> Self {
        Self {
            known,
            waiting: Vec::new(),
            copies: Copies::new(),
            looked: Instant::now(),
            full_since: None,
        }
    }

    /// Whether the ring buffer should be left alone for now. A thread whose stack needs a copy
    /// then waits for room in it, and the tables catch up.
    pub(super) fn holds(&self) -> bool {
        self.full_since.is_some_and(|since| since.elapsed() < HOLD)
    }

    /// Takes a stack in.
    pub(super) fn push(&mut self, stack: Captured, mut copy: Box<StackCopy>) {
        let bytes = std::mem::take(&mut copy.bytes);
        self.waiting.push(Waiting {
            stack,
            since: Instant::now(),
            bytes: self.copies.keep(&bytes),
            copy,
        });
        if self.copies.is_full() {
            self.full_since.get_or_insert_with(Instant::now);
        }
    }

    /// Walks those whose tables are there by now, and those that have waited long enough: they
    /// are cut where a table is missing even then. `file` opens one that no process shows any more.
    pub(super) fn take(
        &mut self,
        modules: &[Module],
        file: impl Fn(&Module) -> Option<File>,
    ) -> Vec<Captured> {
        if self.waiting.is_empty() || self.looked.elapsed() < PAUSE {
            return Vec::new();
        }
        self.looked = Instant::now();
        let full = self.full_since.is_some() && !self.holds();
        let cut = |waiting: &Waiting| full || waiting.since.elapsed() > PATIENCE;
        let (done, missing) = self.walk_all(&self.spaces(modules), cut);
        for (id, missing) in missing {
            if missing.since.elapsed() > GRACE {
                self.known.want(id, || file(missing.module));
            }
        }
        done
    }

    /// Walks all. No process is there any more by which a table could be made; what is left is
    /// the `file` that was opened while one was. A stack is cut where a table is missing even then.
    pub(super) fn finish(
        &mut self,
        modules: &[Module],
        file: impl Fn(&Module) -> Option<File>,
    ) -> Vec<Captured> {
        let spaces = self.spaces(modules);
        let mut done = Vec::new();
        loop {
            let (walked, missing) = self.walk_all(&spaces, |_| false);
            done.extend(walked);
            let opened = missing
                .into_iter()
                .filter_map(|(id, missing)| Some((id, file(missing.module)?)));
            // A table may lead the walk into the next file that has none.
            if opened.map(|(id, file)| self.known.add(id, file)).count() == 0 {
                done.extend(self.walk_all(&spaces, |_| true).0);
                return done;
            }
        }
    }

    /// Where the processes whose stacks wait have their files; there may be thousands of others.
    fn spaces<'m>(&self, modules: &'m [Module]) -> AddressSpaces<'m> {
        let waiting: FxHashSet<Pid> = self.waiting.iter().map(|w| w.stack.pid).collect();
        AddressSpaces::new(
            modules
                .iter()
                .filter(|module| waiting.contains(&module.pid)),
        )
    }

    /// Those that are done, and the files whose tables the others need.
    fn walk_all<'m>(
        &mut self,
        spaces: &AddressSpaces<'m>,
        cut: impl Fn(&Waiting) -> bool,
    ) -> (Vec<Captured>, FxHashMap<FileId, Missing<'m>>) {
        let mut done = Vec::new();
        let mut missing = FxHashMap::default();
        let mut bytes = Vec::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            bytes.clear();
            bytes.extend_from_slice(self.copies.get(&waiting.bytes));
            waiting.copy.bytes = bytes;
            let walked = self.walk(&waiting, spaces, &mut missing);
            bytes = std::mem::take(&mut waiting.copy.bytes);
            if walked.end == StackEnd::NoTable && !cut(&waiting) {
                self.waiting.push(waiting);
            } else {
                done.push(walked);
            }
        }
        let left = self.waiting.iter_mut().map(|waiting| &mut waiting.bytes);
        if self.copies.compact(left) {
            self.full_since = None;
        }
        (done, missing)
    }

    fn walk<'m>(
        &self,
        waiting: &Waiting,
        spaces: &AddressSpaces<'m>,
        missing: &mut FxHashMap<FileId, Missing<'m>>,
    ) -> Captured {
        let stack = &waiting.stack;
        let find = |address| {
            let Some(module) = spaces.find(stack.pid, stack.time, Address(address)) else {
                return Found::NotReady;
            };
            let Some(file) = file_id(module) else {
                return Found::NoRule;
            };
            let offset = (address - module.address.0).wrapping_add(module.offset);
            let found = self.known.find(file, FileOffset(offset));
            if found == Found::NotReady {
                let since = waiting.since;
                missing.entry(file).or_insert(Missing { module, since });
            }
            found
        };
        let mut frames: Vec<u64> = stack.frames.iter().map(|frame| frame.0).collect();
        let end = walk(&waiting.copy, &mut frames, find);
        Captured {
            end,
            frames: frames.into_iter().map(Address).collect(),
            ..*stack
        }
    }
}

/// What tables know the file of a module by; nothing if no file has its code.
fn file_id(module: &Module) -> Option<FileId> {
    match module.path.as_str() {
        vdso::NAME => Some(VDSO_FILE),
        path if path.starts_with('/') => module.file(),
        _ => None,
    }
}
