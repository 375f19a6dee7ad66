//! Stacks that the programs could not walk, because the table of a file on their way was not
//! ready: walked here, by copies of them, once it is.

use std::ops::Range;
use std::time::{Duration, Instant};
use tracer::events::{Captured, Module, StackEnd};
use tracer::symbols::AddressSpaces;
use tracer::units::Address;
use tracer::unwind::{FileId, Found, Known, StackCopy, walk};

/// Bytes of copies that may wait; beyond, stacks are cut where their table is missing.
const MAX_BYTES: usize = 256 << 20;

/// How long they are left alone: a table takes some milliseconds to be made.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a stack waits for its tables: longer than any takes that will come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a chunk of copies.
const CHUNK: usize = 32 << 20;

/// The stacks that wait.
pub(crate) struct Deferred {
    known: Known,
    waiting: Vec<Waiting>,
    /// Their bytes, one after the other. In fresh blocks of their own they would cost a page fault
    /// for every 4 KiB, and the ring buffer would fill faster than it is emptied.
    chunks: Vec<Vec<u8>>,
    looked: Instant,
}

/// A stack that waits.
struct Waiting {
    stack: Captured,
    since: Instant,
    /// All of the copy but its bytes.
    copy: Box<StackCopy>,
    chunk: usize,
    bytes: Range<usize>,
}

impl Deferred {
    /// Nothing waits; tables will be in `known`.
    pub(crate) fn new(known: Known) -> Self {
        Self {
            known,
            waiting: Vec::new(),
            chunks: Vec::new(),
            looked: Instant::now(),
        }
    }

    /// Takes a stack in.
    pub(crate) fn push(&mut self, stack: Captured, mut copy: Box<StackCopy>) {
        let bytes = std::mem::take(&mut copy.bytes);
        let has_room = |chunk: &Vec<u8>| chunk.capacity() - chunk.len() >= bytes.len();
        if !self.chunks.last().is_some_and(has_room) {
            self.chunks.push(chunk());
        }
        let Some(chunk) = self.chunks.last_mut() else {
            return;
        };
        let begin = chunk.len();
        chunk.extend_from_slice(&bytes);
        let bytes = begin..chunk.len();
        self.waiting.push(Waiting {
            stack,
            since: Instant::now(),
            copy,
            chunk: self.chunks.len() - 1,
            bytes,
        });
    }

    /// Walks those whose tables are there by now, and those that have waited long enough; at the
    /// `end` all. They are cut where a table is missing even then.
    pub(crate) fn take(&mut self, modules: &[Module], end: bool) -> Vec<Captured> {
        if self.waiting.is_empty() || !end && self.looked.elapsed() < PAUSE {
            return Vec::new();
        }
        self.looked = Instant::now();
        let cut = end || self.chunks.len() * CHUNK > MAX_BYTES;
        let spaces = AddressSpaces::new(modules);
        let mut done = Vec::new();
        let mut bytes = Vec::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            bytes.clear();
            bytes.extend_from_slice(&self.chunks[waiting.chunk][waiting.bytes.clone()]);
            waiting.copy.bytes = bytes;
            let walked = self.walk(&waiting.stack, &waiting.copy, &spaces);
            bytes = std::mem::take(&mut waiting.copy.bytes);
            let cut = cut || waiting.since.elapsed() > PATIENCE;
            if walked.end == StackEnd::NoTable && !cut {
                self.waiting.push(waiting);
            } else {
                done.push(walked);
            }
        }
        if self.waiting.is_empty() {
            self.chunks.clear();
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

/// Room for copies, on huge pages where the machine has them.
fn chunk() -> Vec<u8> {
    let mut chunk: Vec<u8> = Vec::with_capacity(CHUNK);
    // SAFETY: the range is the allocation that was just made, and the advice changes nothing but
    // what backs it. A kernel that can't take it says so, which is no loss.
    unsafe { libc::madvise(chunk.as_mut_ptr().cast(), CHUNK, libc::MADV_HUGEPAGE) };
    chunk
}
