//! The BPF programs against programs that do a known number of things. Needs root.

#[path = "support/probed.rs"]
mod probed;

use probed::Probed;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracer::events::{Body, Cause, Event, LossCause, Lost, Named as _, RssCounter};
use tracer::probes::decode::Record;
use tracer::probes::kernel::Kernel;
use tracer::probes::load::{Loaded, Options, Preparation, Stacks};
use tracer::probes::unwinding::tables::{LoadError, MAX_BYTES};
use tracer::trace;
use tracer::units::{Bytes, Pid, StackId};
use tracer_ebpf::Kind;

/// What a run gave.
struct Run {
    pid: Pid,
    events: Vec<Event>,
    stacks: Vec<StackId>,
    lost: Vec<Lost>,
}

/// Compiles a program of `tests/programs`.
fn compile(name: &str, directory: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(name);
    let program = directory.join(name.trim_end_matches(".c"));
    let status = std::process::Command::new("cc")
        .args(["-O1", "-fno-builtin", "-fno-omit-frame-pointer", "-w", "-o"])
        .args([&program, &source])
        .status()
        .expect("a C compiler");
    assert!(status.success());
    program
}

/// Traces a command to its end. `reads` says whether the ring buffer is read
/// meanwhile, or only afterwards.
fn trace(words: &[OsString], ring: Bytes, reads: bool) -> Run {
    let options = trace::Options {
        ring: Some(ring),
        ..probed::options()
    };
    let Probed {
        pid,
        mut ring,
        launch,
        mut session,
    } = Probed::new(words, words, &[], &options);
    let losses = session.loaded().losses().unwrap();
    let mut target = launch.release().unwrap();
    let mut run = Run {
        pid,
        events: Vec::new(),
        stacks: Vec::new(),
        lost: Vec::new(),
    };
    loop {
        // Asked before the last drain, so that nothing comes after it.
        let ended = target.try_wait().unwrap().is_some();
        if reads || ended {
            while ring.drain(1000, |record| run.take(record)) == 1000 {}
        }
        if ended {
            break;
        }
        ring.wait(Duration::from_millis(5)).unwrap();
    }
    assert_eq!(ring.malformed(), 0);
    probed::detach(session);
    run.lost = losses.read().unwrap();
    run
}

impl Run {
    fn take(&mut self, record: Record) {
        match record {
            Record::Stack(stack, _) => self.stacks.push(stack.id),
            Record::Mark(_) => {}
            Record::Event {
                event, stack_lost, ..
            } => {
                assert!(!stack_lost || event.stack == StackId(0));
                self.events.push(event);
            }
        }
    }

    fn count(&self, wanted: impl Fn(&Event) -> bool) -> u64 {
        self.events.iter().filter(|event| wanted(event)).count() as u64
    }

    fn lost(&self, cause: LossCause, kind: Kind) -> u64 {
        let wanted = |lost: &&Lost| lost.cause == cause && lost.probe == kind.name();
        self.lost.iter().filter(wanted).map(|lost| lost.count).sum()
    }
}

const ROOMY: Bytes = Bytes(16 << 20);

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_call_of_the_family_is_seen_once() {
    let directory = tempfile::tempdir().unwrap();
    let program = compile("calls.c", directory.path());
    let run = trace(&[program.into()], ROOMY, true);
    assert_eq!(run.lost, []);
    let mut calls: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for event in &run.events {
        let (name, size) = match event.body {
            Body::Alloc { function, size, .. } => (format!("{function:?}"), size.0),
            Body::ReallocExit { address, size, .. } if address.0 != 0 => ("resized".into(), size.0),
            Body::ReallocExit { .. } => ("not resized".into(), 0),
            Body::ReallocEnter { .. } => ("to resize".into(), 0),
            Body::Free { .. } => ("free".into(), 0),
            _ => continue,
        };
        assert_ne!(event.stack == StackId(0), name != "free", "{name}");
        let entry = calls.entry(name).or_default();
        *entry = (entry.0 + 1, entry.1 + size);
    }
    // aligned_alloc is another name of memalign in glibc before 2.38.
    let aligned = calls.remove("AlignedAlloc").unwrap_or_default();
    let memalign = calls.remove("Memalign").unwrap_or_default();
    assert_eq!(
        (aligned.0 + memalign.0, aligned.1 + memalign.1),
        (9, 9 * 128)
    );
    let expected = [
        ("Calloc", 100, 3 * 5050),
        ("Malloc", 1000, 499_500),
        ("PosixMemalign", 6, 600),
        ("Pvalloc", 2, 256),
        ("Realloc", 50, 500),
        ("ReallocArray", 7, 105),
        ("Valloc", 3, 384),
        ("free", 1177, 0),
        ("not resized", 1, 0),
        ("resized", 40, 80_000),
        ("to resize", 41, 0),
    ];
    let expected = expected.map(|(name, count, bytes)| (name.to_owned(), (count, bytes)));
    assert_eq!(calls, expected.into());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn stacks_come_before_the_events_that_name_them() {
    let directory = tempfile::tempdir().unwrap();
    let program = compile("calls.c", directory.path());
    let run = trace(&[program.into()], ROOMY, true);
    let sent: std::collections::BTreeSet<_> = run.stacks.iter().collect();
    assert_eq!(sent.len(), run.stacks.len(), "each stack is sent once");
    for event in &run.events {
        assert!(
            event.stack == StackId(0) || sent.contains(&event.stack),
            "{event:?}"
        );
    }
    // What malloc asks the kernel for is marked as the allocator's own.
    let breaks = |event: &Event| matches!(event.body, Body::Break { .. }) && event.in_allocator;
    assert!(run.count(breaks) > 0);
}

/// Every event is either received or counted as lost: 4 KiB of ring buffer, not
/// read until the program has ended.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_full_ring_buffer_loses_nothing_uncounted() {
    let directory = tempfile::tempdir().unwrap();
    let program = compile("pairs.c", directory.path());
    for pairs in [0, 1, 20_000] {
        let words = [program.clone().into(), OsString::from(pairs.to_string())];
        let run = trace(&words, Bytes(4096), false);
        let allocs = run.count(|event| matches!(event.body, Body::Alloc { .. }));
        let frees = run.count(|event| matches!(event.body, Body::Free { .. }));
        assert_eq!(allocs + run.lost(LossCause::RING_FULL, Kind::Alloc), pairs);
        assert_eq!(frees + run.lost(LossCause::RING_FULL, Kind::Free), pairs);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn processes_images_and_ends_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let program = compile("processes.c", directory.path());
    let run = trace(&[program.into()], ROOMY, true);
    assert_eq!(run.lost, []);
    let forks: Vec<_> = run
        .events
        .iter()
        .filter_map(|event| match event.body {
            Body::Fork {
                child,
                shares_memory,
            } => Some((event.pid, child, shares_memory)),
            _ => None,
        })
        .collect();
    let [(parent, copy, false), (second, shared, true)] = forks[..] else {
        panic!("{forks:?}");
    };
    assert_eq!((parent, second), (run.pid, run.pid));
    let ends: Vec<_> = run
        .events
        .iter()
        .filter_map(|event| match event.body {
            Body::Exit { status, .. } => Some((event.pid, status >> 8)),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [(copy, 5), (shared, 6), (run.pid, 7)]);
    let execs: Vec<_> = run
        .events
        .iter()
        .filter_map(|event| match event.body {
            Body::Exec { counts } => Some((event.pid, counts)),
            _ => None,
        })
        .collect();
    let pids: Vec<_> = execs.iter().map(|&(pid, _)| pid).collect();
    assert_eq!(pids, [run.pid, shared, run.pid]);
    let old_image = execs[2].1;
    if old_image.resident_peak != 0 {
        assert!(old_image.resident_peak >= 8 << 20, "{old_image:?}");
        assert!(old_image.virtual_peak >= old_image.resident_peak);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn touched_pages_are_counted_where_they_are_touched() {
    let directory = tempfile::tempdir().unwrap();
    let program = compile("processes.c", directory.path());
    let run = trace(&[program.into()], ROOMY, true);
    let own = |event: &&Event| event.pid == run.pid;
    let mapped = run
        .events
        .iter()
        .filter(own)
        .find_map(|event| match event.body {
            Body::Map {
                address, length, ..
            } if length == Bytes(8 << 20) => Some(address),
            _ => None,
        });
    let begin = mapped.expect("the mapping").0;
    let touched = run
        .events
        .iter()
        .filter(own)
        .filter(|event| match event.body {
            Body::Resident {
                member: RssCounter::Anon,
                cause: Cause::UserFault,
                address,
                ..
            } => (begin..begin + (8 << 20)).contains(&address.0),
            _ => false,
        });
    assert_eq!(touched.count(), (8 << 20) / 4096);
    let failed = |event: &Event| {
        matches!(
            event.body,
            Body::Returned {
                syscall: 11,
                errno: libc::EINVAL,
                ..
            }
        )
    };
    assert_eq!(run.count(failed), 1);
}

/// Writes a file of 4 GiB, nearly all of it holes, that has code at both ends.
fn write_hollow(path: &Path) {
    const LENGTH: u64 = 0xffff_f000;
    const FRAMES: u64 = 0x1000;
    let numbers = |numbers: &[u64]| -> Vec<u8> {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
        bytes.collect()
    };
    // A CIE: version 1, rsp + 8, the return address on top. Then its FDEs.
    let mut frames = vec![20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0x78, 16];
    frames.extend([0x0c, 7, 8, 0x90, 1, 0, 0, 0, 0, 0, 0]);
    for address in [0x200, LENGTH - 0x200] {
        let to_cie = frames.len() as u32 + 4;
        frames.extend([20, 0, 0, 0]);
        frames.extend(to_cie.to_le_bytes());
        frames.extend(numbers(&[address, 0x100]));
    }
    let names = b"\0.eh_frame\0.names\0";
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    header.extend([3, 0, 62, 0, 1, 0, 0, 0]);
    header.extend(numbers(&[0, 64, 120]));
    header.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 3, 0, 2, 0]);
    // All of it is loaded at zero, to be read and executed.
    header.extend(numbers(&[5 << 32 | 1, 0, 0, 0, LENGTH, LENGTH, 0x1000]));
    header.extend([0; 64]);
    let size = frames.len() as u64;
    header.extend(numbers(&[1 << 32 | 1, 2, FRAMES, FRAMES, size, 0, 8, 0]));
    let (at, size) = (FRAMES + size, names.len() as u64);
    header.extend(numbers(&[3 << 32 | 11, 0, 0, at, size, 0, 1, 0]));
    header.resize(FRAMES as usize, 0);
    std::fs::write(path, [&header, &frames, &names[..]].concat()).expect("written");
    let file = std::fs::File::options().write(true).open(path);
    file.and_then(|file| file.set_len(LENGTH)).expect("room");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn tables_take_no_more_than_they_may() {
    let directory = tempfile::tempdir().expect("a folder");
    let paths: Vec<PathBuf> = (0..10)
        .map(|number| directory.path().join(format!("hollow-{number}")))
        .collect();
    paths.iter().for_each(|path| write_hollow(path));
    let options = Options {
        ring: Bytes(1 << 20),
        uprobes: None,
        copy_all: false,
        stacks: Stacks::Tables,
        held: None,
    };
    let kernel = Kernel::probe().expect("needs root");
    let mut loaded = Loaded::load(Preparation::start(), &kernel, options).expect("loads");
    let mut tables = loaded.tables().expect("taken once");
    let prepared = tables.add_files(&paths).expect("the others are loaded");
    let taken: u64 = prepared.iter().map(|file| file.bytes).sum();
    // An index of 8 bytes for each KiB; the vDSO's table is among them.
    let each = 32 << 20;
    assert!((MAX_BYTES - each..=MAX_BYTES).contains(&taken), "{taken}");
    let without = prepared.iter().filter(|file| file.problem.is_some());
    let without = without.count() as u64;
    assert_eq!(without, 10 - taken / each);
    assert!(matches!(tables.all_fit(), Err(LoadError::Full(files)) if files == without));
}
