//! What the fuzz targets do with their bytes. Nothing here may panic, hang or fill the memory,
//! whatever the bytes are; the sums that are asserted hold for every input.
//!
//! The same functions replay the committed corpus in `tracer/tests/corpus.rs`.

mod events;
mod files;

pub use files::{debug_files, symbols};

use sha2::{Digest, Sha256};
use std::borrow::Cow;
use tracer::files::{Elf, Source};
use tracer::ledger::Ledger;
use tracer::recording::schema::Stream;
use tracer::recording::{Meta, Recording, Writer};
use tracer::symbols::PerfMap;
use tracer::units::{Bytes, FileOffset, Linked};
use tracer::unwind::info::{Section, Segment, UnwindInfo};
use tracer::unwind::pack::{Packed, pack};
use tracer::unwind::{Table, cache};

/// Unwind tables of a whole ELF file, of a section alone, or of code alone.
pub fn elf_eh_frame(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else {
        return;
    };
    let section = |wanted: bool| Section {
        address: Linked(0x50_0000),
        data: if wanted {
            Cow::Borrowed(data)
        } else {
            Cow::default()
        },
    };
    let source = || Source::Memory(data.to_vec());
    if how % 4 == 0 {
        if let Ok(elf) = Elf::parse(source())
            && let Ok(image) = UnwindInfo::of(&elf)
        {
            check_table(&Table::build(&image));
        }
        return;
    }
    let (kind, code) = (how % 4, source());
    let image = UnwindInfo {
        segments: vec![Segment {
            address: Linked(0x40_0000),
            size: Bytes(if kind == 1 {
                data.len() as u64
            } else {
                0x8_0000
            }),
            offset: FileOffset(0),
        }],
        eh_frame: section(kind == 2),
        debug_frame: section(kind == 3),
        text: Linked(0x40_0000),
        got: Linked(0x60_0000),
        entry: Linked(0x40_0010),
        is_program: true,
        source: Some(&code),
        ..UnwindInfo::default()
    };
    check_table(&Table::build(&image));
}

/// A table is sorted, names rules that it has, and says the same once it is packed.
fn check_table(table: &Table) {
    assert!(table.rows.is_sorted_by(|a, b| a.offset < b.offset));
    let named = |row: &tracer::unwind::table::Row| (row.rule as usize) < table.rules.len();
    assert!(table.rows.iter().all(named));
    let numbers: Vec<u32> = (0..table.rules.len() as u32).collect();
    let Some(packed) = pack(table, &numbers) else {
        return;
    };
    for row in table.rows.iter().take(1024) {
        look_up(&packed, row.offset.into(), row.rule);
    }
}

fn look_up(packed: &Packed, offset: u64, rule: u32) {
    let found = tracer::unwind::known::find(packed, FileOffset(offset));
    if packed.code().contains(&offset) {
        assert_eq!(found, rule);
    }
}

/// A table out of the cache, with a digest that is right.
pub fn table_cache(data: &[u8]) {
    let magic = cache::MAGIC;
    let bytes = [&magic, Sha256::digest(data).as_slice(), data].concat();
    if let Some(table) = cache::decode(&bytes) {
        check_table(&table);
    }
}

/// One stream of a recording: the first byte says which.
pub fn recording(data: &[u8]) {
    let Some((&which, data)) = data.split_first() else {
        return;
    };
    let Ok(dir) = tempfile::tempdir() else {
        return;
    };
    let meta = Meta::here("heap", vec!["true".to_owned()], None);
    if Writer::create(dir.path(), &meta)
        .and_then(|writer| writer.finish(&[]))
        .is_err()
    {
        return;
    }
    let stream = Stream::ALL[usize::from(which) % Stream::ALL.len()];
    if std::fs::write(dir.path().join(stream.file_name()), data).is_err() {
        return;
    }
    let Ok(recording) = Recording::open(dir.path()) else {
        return;
    };
    fn drain<T, E>(rows: Result<impl Iterator<Item = Result<T, E>>, E>) {
        rows.into_iter().flatten().for_each(drop);
    }
    drain(recording.events());
    drain(recording.stacks());
    drain(recording.modules());
    drain(recording.symbols());
    let _ = recording.losses();
}

/// A sequence of events that no kernel would send: the ledger's own sums hold all the same.
pub fn ledger(data: &[u8]) {
    let mut ledger = Ledger::new();
    for event in events::read(data) {
        ledger.apply(&event);
    }
    let account = ledger.finish();
    for snapshot in [&account.reserved_peak, &account.resident_peak] {
        assert_eq!(snapshot.reserved, snapshot.heap + snapshot.mappings);
        assert_eq!(
            snapshot.resident,
            snapshot.anon + snapshot.file + snapshot.shmem
        );
        let reserved: Bytes = snapshot.by_reserver.iter().map(|entry| entry.1).sum();
        assert_eq!(reserved, snapshot.reserved);
        let total = snapshot.resident + Bytes(snapshot.unexplained.min(0).unsigned_abs());
        let resident: Bytes = snapshot
            .resident_by_reserver
            .iter()
            .map(|entry| entry.1)
            .sum();
        assert_eq!(resident, total);
    }
}

/// A list of functions that a runtime says it has compiled.
pub fn perf_map(data: &[u8]) {
    let map = PerfMap::parse(data.to_vec());
    for address in (0..64).chain((0..64).map(|bit| 1 << bit)).chain([u64::MAX]) {
        if let Some(name) = map.find(address) {
            assert!(!name.contains('\n'));
        }
    }
}
