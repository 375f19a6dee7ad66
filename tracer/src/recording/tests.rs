//! A recording comes back as it was written, and a bad one never does worse than an error.

use super::output::Output;
use super::*;
use crate::events::{
    Body, Captured, Cause, Degraded, Event, Function, KernelCounts, Kind, LossCause, Lost, Module,
    Named as _, RssCounter, StackEnd,
};
use crate::files::{BuildId, FileId, Identity};
use crate::recording::Frame;
use crate::units::{Address, Bytes, Nanos, Pid, StackId, Tid};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn meta() -> Meta {
    let command = vec!["sh".to_owned(), "-c".to_owned(), "a \"b\"\n".to_owned()];
    Meta::here("heap", command, Some(Pid(42)))
}

#[test]
fn degradations_come_back_and_old_recordings_have_none() {
    let mut told = meta();
    told.degraded = vec![Degraded {
        name: "smaller_ring".to_owned(),
        text: "\"16 MiB\"".to_owned(),
    }];
    let schema = |metadata| arrow::datatypes::Schema::empty().with_metadata(metadata);
    let mut metadata = told.to_metadata();
    assert_eq!(
        Meta::from_schema(&schema(metadata.clone())),
        Ok(told.clone())
    );
    metadata.remove(schema::META_DEGRADED);
    told.degraded.clear();
    assert_eq!(Meta::from_schema(&schema(metadata.clone())), Ok(told));
    metadata.insert(schema::META_DEGRADED.to_owned(), "1".to_owned());
    assert!(Meta::from_schema(&schema(metadata)).is_err());
}

fn event(n: u64, body: Body) -> Event {
    Event {
        time: Nanos(1000 + n),
        pid: Pid(7),
        tid: Tid(8),
        stack: StackId(n << 40),
        in_allocator: n % 2 == 1,
        body,
    }
}

/// Every kind of event, with a value of its own in every field.
fn every_kind() -> Vec<Event> {
    let counts = KernelCounts {
        resident_peak: 31,
        virtual_peak: 32,
        stack: 7,
    };
    let (address, size, length) = (Address(u64::MAX), Bytes(2), Bytes(3));
    let bodies = [
        Body::Alloc {
            function: Function::Pvalloc,
            address,
            size,
        },
        Body::Free { address },
        Body::ReallocEnter { address, size },
        Body::ReallocExit {
            function: Function::ReallocArray,
            address: Address(0),
            size,
        },
        Body::Map {
            address,
            length,
            offset: 4,
            prot: 5,
            flags: u32::MAX,
            fd: -1,
        },
        Body::Unmap { address, length },
        Body::RemapEnter {
            address,
            length,
            new_length: Bytes(6),
            flags: u64::MAX,
        },
        Body::RemapExit { address, length },
        Body::Break { address },
        Body::Advise {
            address,
            length,
            advice: 7,
        },
        Body::ShmAttach {
            address,
            segment: 8,
            length,
        },
        Body::ShmDetach { address },
        Body::Returned {
            syscall: 11,
            errno: -9,
            took: Nanos(13),
        },
        Body::Resident {
            member: RssCounter::File,
            size,
            cause: Cause::End,
            address,
            took: Some(Nanos(14)),
            error_code: 10,
            syscall: u16::MAX,
        },
        Body::Fork {
            child: Pid(11),
            shares_memory: true,
        },
        Body::Exec { counts },
        Body::Exit { status: 12, counts },
        Body::Began {
            mapped: size,
            stack: Bytes(15),
        },
        Body::CheckBegin,
        Body::Present {
            address,
            length,
            member: RssCounter::Shmem,
        },
        Body::CheckEnd,
        Body::Written { address },
        Body::Usage {
            user: Nanos(16),
            system: Nanos(17),
        },
    ];
    assert_eq!(bodies.len(), Kind::ALL.len());
    (0..).zip(bodies).map(|(n, body)| event(n, body)).collect()
}

fn stack() -> Captured {
    let frames = (0..256).map(|n| Address(u64::MAX - n)).collect();
    Captured {
        id: StackId(5),
        pid: Pid(6),
        time: Nanos(7),
        end: StackEnd::Cut,
        frames,
    }
}

fn module() -> Module {
    Module {
        pid: Pid(1),
        time: Nanos(2),
        address: Address(3),
        length: Bytes(4),
        offset: 5,
        path: "/lib/ü.so".to_owned(),
        identity: Identity {
            file: Some(FileId {
                device: 6,
                inode: 7,
            }),
            build_id: BuildId::parse("abcd"),
        },
    }
}

fn symbols() -> Vec<ResolvedAddress> {
    let known = Frame {
        function: Some("f".to_owned()),
        file: Some("f.c".to_owned()),
        line: Some(3),
        module: Some("m".to_owned()),
        offset: 9,
        inlined: true,
    };
    let path = "/lib/x.so".to_owned();
    vec![
        ResolvedAddress {
            place: CodeAddress::File {
                path,
                build_id: None,
                offset: 77,
            },
            frames: vec![known, Frame::default()],
        },
        ResolvedAddress {
            place: CodeAddress::Process {
                pid: Pid(3),
                address: Address(4),
            },
            frames: vec![],
        },
    ]
}

fn lost() -> Lost {
    Lost {
        cause: LossCause::RING_FULL,
        probe: "alloc".to_owned(),
        count: 3,
    }
}

fn write(dir: &Path, events: &[Event]) -> Finished {
    let mut writer = Writer::create(dir, &meta()).unwrap();
    writer.push_stack(&stack()).unwrap();
    writer.push_module(&module()).unwrap();
    events.iter().for_each(|event| writer.push(event).unwrap());
    symbols()
        .iter()
        .for_each(|symbol| writer.push_symbol(symbol).unwrap());
    writer.finish(&[lost()]).unwrap()
}

fn read<T>(rows: Rows<T>) -> Vec<T>
where
    Rows<T>: Iterator<Item = Result<T, Error>>,
{
    rows.map(Result::unwrap).collect()
}

#[test]
fn everything_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let finished = write(dir.path(), &every_kind());
    let sizes = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len());
    assert_eq!(
        finished,
        Finished {
            events: 23,
            not_written: 0,
            bytes: sizes.sum()
        }
    );
    let recording = Recording::open(dir.path()).unwrap();
    assert!(recording.complete());
    assert_eq!(recording.meta().command, meta().command);
    assert_eq!(recording.meta().root, Some(Pid(42)));
    assert_eq!(read(recording.events().unwrap()), every_kind());
    assert_eq!(read(recording.stacks().unwrap()), [stack()]);
    assert_eq!(read(recording.modules().unwrap()), [module()]);
    assert_eq!(read(recording.symbols().unwrap()), symbols());
    assert_eq!(recording.losses().unwrap(), [lost()]);
}

#[test]
fn batches_end_by_rows_and_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &meta()).unwrap();
    let free = |n| {
        event(
            n,
            Body::Free {
                address: Address(n),
            },
        )
    };
    let seen = || read(Recording::open(dir.path()).unwrap().events().unwrap()).len();
    (1..BATCH_ROWS as u64).for_each(|n| writer.push(&free(n)).unwrap());
    assert_eq!(seen(), 0);
    writer.push(&free(0)).unwrap();
    assert_eq!(seen(), BATCH_ROWS);
    writer.push(&free(1)).unwrap();
    writer.tick(Nanos(1001 + 999_999_999)).unwrap();
    assert_eq!(seen(), BATCH_ROWS);
    writer.tick(Nanos(1001 + 1_000_000_000)).unwrap();
    assert_eq!(seen(), BATCH_ROWS + 1);
    assert!(!Recording::open(dir.path()).unwrap().complete());
    writer.finish(&[]).unwrap();
    assert!(Recording::open(dir.path()).unwrap().complete());
}

#[test]
fn an_earlier_recording_is_replaced_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &every_kind());
    write(dir.path(), &every_kind()[..1]);
    assert_eq!(
        read(Recording::open(dir.path()).unwrap().events().unwrap()).len(),
        1
    );
    fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let refused = Writer::create(dir.path(), &meta()).err().unwrap();
    assert!(matches!(refused, Error::Foreign { entry, .. } if entry == "thesis.tex"));
    assert_eq!(
        read(Recording::open(dir.path()).unwrap().events().unwrap()).len(),
        1
    );
}

#[test]
fn a_planted_link_is_replaced_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let precious = dir.path().join("precious");
    fs::write(&precious, "x").unwrap();
    let recording = dir.path().join("recording");
    fs::create_dir(&recording).unwrap();
    std::os::unix::fs::symlink(&precious, recording.join("events.arrows")).unwrap();
    write(&recording, &every_kind());
    assert_eq!(fs::read(&precious).unwrap(), b"x");
}

#[test]
fn a_full_disk_is_said_once_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &meta()).unwrap();
    let one = every_kind()[0];
    writer.push(&one).unwrap();
    writer.flush().unwrap();
    writer.events.fill_up();
    writer.push(&one).unwrap();
    writer.push(&one).unwrap();
    let error = writer.flush().unwrap_err();
    assert!(
        matches!(error, Error::Io { source, .. } if source.raw_os_error() == Some(libc::ENOSPC))
    );
    writer.push(&one).unwrap();
    writer.push_stack(&stack()).unwrap();
    writer.flush().unwrap();
    let finished = writer.finish(&[lost()]).unwrap();
    assert_eq!((finished.events, finished.not_written), (1, 3));
    let recording = Recording::open(dir.path()).unwrap();
    assert!(!recording.complete());
    assert_eq!(read(recording.events().unwrap()), [one]);
    let mine = Lost {
        cause: LossCause::NotWritten,
        probe: "recording".to_owned(),
        count: 3,
    };
    assert_eq!(recording.losses().unwrap(), [lost(), mine]);
}

#[test]
fn a_torn_file_gives_its_whole_batches() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &meta()).unwrap();
    let mut ends = Vec::new();
    for event in &every_kind()[..2] {
        ends.push(
            fs::metadata(dir.path().join("events.arrows"))
                .unwrap()
                .len(),
        );
        writer.push(event).unwrap();
        writer.flush().unwrap();
    }
    writer.finish(&[]).unwrap();
    let path = dir.path().join("events.arrows");
    let bytes = fs::read(&path).unwrap();
    ends.push(bytes.len() as u64 - 8);
    let near = |length: &usize| {
        ends.iter().any(|&end| end.abs_diff(*length as u64) < 20) || length.is_multiple_of(37)
    };
    for length in (0..bytes.len()).rev().filter(near) {
        fs::write(&path, &bytes[..length]).unwrap();
        if (length as u64) < ends[0] {
            assert!(
                matches!(
                    Recording::open(dir.path()),
                    Err(Error::NotARecording { .. })
                ),
                "{length}"
            );
            continue;
        }
        let recording = Recording::open(dir.path()).unwrap();
        assert!(!recording.complete(), "{length}");
        let whole = ends[1..]
            .iter()
            .filter(|&&end| end <= length as u64)
            .count();
        assert_eq!(
            read(recording.events().unwrap()),
            every_kind()[..whole],
            "{length}"
        );
    }
}

#[test]
fn a_recording_of_the_future_is_refused_by_version() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[]);
    let path = dir.path().join("events.arrows");
    let mut bytes = fs::read(&path).unwrap();
    let key = schema::META_VERSION.as_bytes();
    let at = bytes
        .windows(key.len())
        .position(|window| window == key)
        .unwrap();
    // Key and value stand near each other; the value is the only string "2" of length 1.
    let value = [1, 0, 0, 0, b'2', 0];
    let near = at.saturating_sub(64);
    let at = near
        + bytes[near..at + 64]
            .windows(6)
            .position(|window| window == value)
            .unwrap();
    bytes[at + 4] = b'9';
    fs::write(&path, &bytes).unwrap();
    let refused = Recording::open(dir.path()).unwrap_err();
    assert!(matches!(refused, Error::Version { found, .. } if found == "9"));
}

/// What a pipe, a directory or nothing at all in the place of a file gives.
#[test]
fn what_is_no_file_is_no_recording() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Recording::open(dir.path()), Err(Error::Io { .. })));
    let path = dir.path().join("events.arrows");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(
        Recording::open(dir.path()),
        Err(Error::NotARecording { .. })
    ));
}

fn survive(dir: &Path) {
    let Ok(recording) = Recording::open(dir) else {
        return;
    };
    let _ = recording.events().map(Iterator::count);
    let _ = recording.stacks().map(Iterator::count);
    let _ = recording.modules().map(Iterator::count);
    let _ = recording.symbols().map(Iterator::count);
    let _ = recording.losses();
}

/// Each eight bytes in their turn, aligned as the lengths and offsets of the format are.
/// Among the values is one that makes a buffer end within an element.
#[test]
fn no_length_panics() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &every_kind());
    for stream in schema::Stream::ALL {
        let path = dir.path().join(stream.file_name());
        let bytes = fs::read(&path).unwrap();
        for at in (0..bytes.len() - 7).step_by(8) {
            for value in [0, 1, 21, i64::MAX, -1] {
                let mut bytes = bytes.clone();
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
                fs::write(&path, &bytes).unwrap();
                survive(dir.path());
            }
        }
        fs::write(&path, &bytes).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Bytes overwritten anywhere, and small numbers where the format has its lengths.
    #[test]
    fn no_corruption_panics(
        file in 0..5_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), change()), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &every_kind());
        let path = dir.path().join(schema::Stream::ALL[file].file_name());
        let mut bytes = fs::read(&path).unwrap();
        for (at, (aligned, new)) in changes {
            let at = at.index(bytes.len()) & if aligned { !7 } else { !0 };
            let end = (at + new.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&new[..end - at]);
        }
        fs::write(&path, &bytes).unwrap();
        survive(dir.path());
    }
}

/// What is written over a file, and whether only where a length may be.
fn change() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let value = prop::sample::select(vec![0_u8, 1, 0x7f, 0x80, 0xff]);
    let fill = (1..9_usize, value).prop_map(|(count, value)| (false, vec![value; count]));
    let length = (-2..100_i64).prop_map(|length| (true, length.to_le_bytes().to_vec()));
    prop_oneof![fill, length]
}

impl Output {
    /// From here on the disk is full.
    fn fill_up(&mut self) {
        self.file = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
    }
}

#[test]
fn limits_of_memory_are_known_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recording");
    let limits = Limits {
        cgroup: Some(Cgroup {
            version: 1,
            path: "/a \"b\"".to_owned(),
            limit: Some(100),
            limited_by: Some("/".to_owned()),
            swap_limit: None,
            peak: Some(99),
            peak_before: Some(7),
            oom_kills: Some(2),
            exhausted: Some("/".to_owned()),
        }),
        machine_oom_kills: Some(3),
    };
    let mut writer = Writer::create(&path, &meta()).unwrap();
    assert_eq!(Recording::open(&path).unwrap().meta().limits, None);
    writer.note_limits(limits.clone());
    writer.finish(&[]).unwrap();
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.meta().limits, Some(limits));
    assert!(recording.complete());
}
