//! Replays synthetic events through the ledger, and through a recording and the ledger.
//!
//! `cargo xtask bench ledger [EVENTS]`. The mix is that of a large Census fetch: half of
//! the events are blocks coming and going among 600,000 live ones, nearly half are first
//! touches of pages, and now and then a mapping of 64 MiB comes or goes. The floor that
//! ratios refer to is one hash map from addresses to sizes, fed with the same events.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tracer::events::{Body, Cause, Event, Function, RssCounter};
use tracer::ledger::Ledger;
use tracer::recording::{Meta, Recording, Writer};
use tracer::units::{Address, Bytes, Nanos, Pid, StackId, Tid};

const EVENTS: u64 = 20_000_000;
const LIVE_BLOCKS: usize = 600_000;
const LIVE_MAPPINGS: usize = 64;
const MAPPING: u64 = 64 << 20;
const PAGE: u64 = 4096;
const STACKS: u64 = 5_000;

/// Makes the same events every time.
struct Story {
    random: u64,
    time: u64,
    /// Address and whether the block is live.
    blocks: Vec<(u64, bool)>,
    mappings: VecDeque<u64>,
    next_mapping: u64,
    /// Pages touched in the newest mapping.
    touched: u64,
    resident: u64,
    /// Change of the counter that follows an unmapping.
    gone: u64,
}

impl Story {
    fn new() -> Self {
        Self {
            random: 0x9e37_79b9_7f4a_7c15,
            time: 0,
            blocks: (0..LIVE_BLOCKS as u64)
                .map(|n| (0x5555_0000_0010 + n * 208, false))
                .collect(),
            mappings: VecDeque::new(),
            next_mapping: 0x7000_0000_0000,
            touched: 0,
            resident: 0,
            gone: 0,
        }
    }

    /// xorshift64
    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit
    }

    fn event(&mut self) -> Event {
        self.time += 100;
        let body = match self.below(100) {
            _ if self.gone > 0 => {
                let pages = -(std::mem::take(&mut self.gone) as i64);
                self.counter(0, pages, Cause::Syscall)
            }
            0..55 => self.block(),
            _ if self.mappings.is_empty() || self.touched == MAPPING / PAGE => self.mapping(),
            _ => self.touch(),
        };
        Event {
            time: Nanos(self.time),
            pid: Pid(1000),
            tid: Tid(1000 + (self.time / 100 % 8) as u32),
            stack: self.stack(&body),
            in_allocator: false,
            body,
        }
    }

    /// Thousands of stacks allocate, some of them much more often than others; few touch.
    fn stack(&mut self, body: &Body) -> StackId {
        let number = match body {
            Body::Free { .. } => return StackId(0),
            Body::Resident { .. } => self.below(STACKS / 100),
            _ => self.below(STACKS).min(self.below(STACKS)),
        };
        StackId((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn block(&mut self) -> Body {
        let at = self.below(LIVE_BLOCKS as u64) as usize;
        let size = Bytes(16 + self.below(192));
        let (address, live) = &mut self.blocks[at];
        let address = Address(*address);
        *live = !*live;
        if *live {
            Body::Alloc {
                function: Function::Malloc,
                address,
                size,
            }
        } else {
            Body::Free { address }
        }
    }

    fn mapping(&mut self) -> Body {
        if self.mappings.len() == LIVE_MAPPINGS {
            let address = Address(self.mappings.pop_front().unwrap_or_default());
            self.gone = MAPPING / PAGE;
            return Body::Unmap {
                address,
                length: Bytes(MAPPING),
            };
        }
        self.mappings.push_back(self.next_mapping);
        self.touched = 0;
        let address = Address(self.next_mapping);
        self.next_mapping += MAPPING;
        Body::Map {
            address,
            length: Bytes(MAPPING),
            offset: 0,
            prot: 3,
            flags: 0x22,
            fd: -1,
        }
    }

    fn touch(&mut self) -> Body {
        let newest = self.mappings.back().copied().unwrap_or_default();
        self.touched += 1;
        self.counter(newest + (self.touched - 1) * PAGE, 1, Cause::UserFault)
    }

    fn counter(&mut self, address: u64, pages: i64, cause: Cause) -> Body {
        self.resident = self.resident.wrapping_add_signed(pages * PAGE as i64);
        Body::Resident {
            member: RssCounter::Anon,
            size: Bytes(self.resident),
            cause,
            address: Address(address),
            took: Some(Nanos(0)),
            error_code: 6,
            syscall: 11,
        }
    }
}

/// What this process has used of a core: other work on the machine does not count.
fn cpu_time() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of our own; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Runs through all events; the time that making them takes is not counted.
fn timed(events: u64, mut each: impl FnMut(&Event)) -> Duration {
    let mut story = Story::new();
    let mut batch = Vec::with_capacity(4096);
    let mut spent = Duration::ZERO;
    let mut left = events;
    while left > 0 {
        batch.clear();
        batch.extend((0..left.min(4096)).map(|_| story.event()));
        left -= batch.len() as u64;
        let start = cpu_time();
        batch.iter().for_each(&mut each);
        spent += cpu_time() - start;
    }
    spent
}

/// The floor: what any ledger must at least do.
fn floor(events: u64) -> Duration {
    let mut live: HashMap<u64, u64> = HashMap::new();
    let spent = timed(events, |event| match event.body {
        Body::Alloc { address, size, .. } => drop(live.insert(address.0, size.0)),
        Body::Free { address } => drop(live.remove(&address.0)),
        _ => {}
    });
    assert!(live.len() <= LIVE_BLOCKS);
    spent
}

/// The highest resident size of this process so far.
fn peak_rss() -> Bytes {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or("0");
    let kib = line
        .trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .unwrap_or(0);
    Bytes(kib << 10)
}

fn line(what: &str, events: u64, spent: Duration, floor: Duration) {
    let each = spent.as_nanos() as f64 / events as f64;
    let ratio = spent.as_secs_f64() / floor.as_secs_f64();
    println!(
        "{what:32} {:6.2} s  {each:5.0} ns an event  {ratio:5.1} x floor  peak RSS so far {}",
        spent.as_secs_f64(),
        peak_rss()
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let events = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(EVENTS);
    println!(
        "{events} events, {LIVE_BLOCKS} blocks, {} of mappings",
        Bytes(LIVE_MAPPINGS as u64 * MAPPING)
    );
    let floor = floor(events);
    line("floor: a hash map of blocks", events, floor, floor);
    let mut ledger = Ledger::new();
    let replay = timed(events, |event| ledger.apply(event));
    let start = cpu_time();
    let account = ledger.finish();
    let finish = cpu_time() - start;
    let replay = replay + finish;
    line("ledger", events, replay, floor);
    println!(
        "  peaks {} reserved, {} resident; finish {:.2} s of it; {} odd",
        account.reserved_peak.reserved,
        account.resident_peak.resident,
        finish.as_secs_f64(),
        account.oddities.misplaced
            + account.oddities.unknown_frees
            + account.oddities.overlapping_allocs,
    );
    drop(account);

    let dir = tempfile::tempdir()?;
    let mut writer = Writer::create(dir.path(), &Meta::here("heap", Vec::new(), None))?;
    let mut written = timed(events, |event| {
        writer.push(event).expect("room for the recording")
    });
    let start = cpu_time();
    let bytes = writer.finish(&[])?.bytes;
    written += cpu_time() - start;
    line("recording, written", events, written, floor);
    println!(
        "  {} on disk, {:.1} bytes an event",
        Bytes(bytes),
        bytes as f64 / events as f64
    );
    let recording = Recording::open(dir.path())?;
    let start = cpu_time();
    let mut ledger = Ledger::new();
    for event in recording.events()? {
        ledger.apply(&event?);
    }
    drop(ledger.finish());
    line(
        "recording, read and replayed",
        events,
        cpu_time() - start,
        floor,
    );
    Ok(())
}
