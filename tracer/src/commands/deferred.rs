//! Stacks that the programs could not walk, because the table of a file on their way was not
//! ready: walked here, by copies of them, once it is.

use std::time::{Duration, Instant};
use tracer::events::{Captured, Module, StackEnd};
use tracer::symbols::AddressSpaces;
use tracer::units::Address;
use tracer::unwind::{FileId, Found, Known, StackCopy, walk};

/// Bytes of copies that may wait; beyond, stacks are cut where their table is missing.
const MAX_BYTES: usize = 256 << 20;

/// How long they are left alone: a table takes some milliseconds to be made.
const PAUSE: Duration = Duration::from_millis(20);

/// The stacks that wait.
pub(crate) struct Deferred {
    known: Known,
    waiting: Vec<(Captured, Box<StackCopy>)>,
    bytes: usize,
    looked: Instant,
}

impl Deferred {
    /// Nothing waits; tables will be in `known`.
    pub(crate) fn new(known: Known) -> Self {
        Self {
            known,
            waiting: Vec::new(),
            bytes: 0,
            looked: Instant::now(),
        }
    }

    /// Takes a stack in.
    pub(crate) fn push(&mut self, stack: Captured, copy: Box<StackCopy>) {
        self.bytes += copy.bytes.len();
        self.waiting.push((stack, copy));
    }

    /// Walks those whose tables are there by now; at the `end` all, cut where one is missing
    /// even then.
    pub(crate) fn take(&mut self, modules: &[Module], end: bool) -> Vec<Captured> {
        if self.waiting.is_empty() || !end && self.looked.elapsed() < PAUSE {
            return Vec::new();
        }
        self.looked = Instant::now();
        let cut = end || self.bytes > MAX_BYTES;
        let spaces = AddressSpaces::new(modules);
        let mut done = Vec::new();
        for (stack, copy) in std::mem::take(&mut self.waiting) {
            let walked = self.walk(&stack, &copy, &spaces);
            if walked.end == StackEnd::NoTable && !cut {
                self.waiting.push((stack, copy));
            } else {
                self.bytes -= copy.bytes.len();
                done.push(walked);
            }
        }
        done
    }

    fn walk(&self, stack: &Captured, copy: &StackCopy, spaces: &AddressSpaces<'_>) -> Captured {
        let find = |address| {
            let module = spaces.find(stack.pid, stack.time, Address(address));
            module.map_or(Found::NotReady, |module| self.find(module, address))
        };
        let mut frames: Vec<u64> = stack.frames.iter().map(|frame| frame.0).collect();
        let end = walk(copy, &mut frames, find);
        Captured {
            end,
            frames: frames.into_iter().map(Address).collect(),
            ..*stack
        }
    }

    fn find(&self, module: &Module, address: u64) -> Found {
        let file = match module.path.as_str() {
            "[vdso]" => FileId::VDSO,
            path if path.starts_with('/') && module.inode != 0 => {
                FileId::new(module.device, module.inode)
            }
            _ => return Found::NoRule,
        };
        let offset = (address - module.address.0).wrapping_add(module.offset);
        self.known.find(file, offset)
    }
}
