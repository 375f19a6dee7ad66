use super::*;
use crate::ledger::account::{Account, Reserver, Snapshot, StackTotals};
use crate::reports::Exit;
use crate::symbols::SymbolTable;
use crate::units::{Bytes, Nanos, StackId};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::sync::OnceLock;

/// The 29th of November 2026, one in the morning.
const BEGAN: u64 = 1_795_914_000_000_000_000;

pub(in crate::reports) fn run() -> Concluded {
    let stack = |id| Reserver::Stack(StackId(id));
    let account = Account {
        ended: Nanos(5),
        reserved_peak: Snapshot {
            reserved: Bytes(300),
            by_reserver: vec![(StackId(1), Bytes(200)), (StackId(2), Bytes(100))],
            ..Snapshot::default()
        },
        resident_peak: Snapshot {
            resident: Bytes(90),
            resident_by_reserver: vec![
                (stack(1), Bytes(40)),
                (Reserver::Slack(StackId(1)), Bytes(20)),
                (Reserver::Image, Bytes(30)),
            ],
            resident_by_toucher: vec![(StackId(2), Bytes(60)), (StackId(0), Bytes(30))],
            ..Snapshot::default()
        },
        stacks: vec![(
            StackId(1),
            StackTotals {
                calls: 7,
                bytes: Bytes(700),
                leaked: Bytes(11),
                ..StackTotals::default()
            },
        )],
        allocs: 7,
        ..Account::default()
    };
    Concluded {
        run: Run {
            command: vec!["a".into(), "b c".into()],
            host: Some("node-1".into()),
            began_unix_ns: BEGAN,
            exit: Exit::from_status(0x0300),
            ..Run::default()
        },
        account,
        symbols: SymbolTable::default(),
        lost: Vec::new(),
        complete: true,
        locations: OnceLock::new(),
        marks: Vec::new(),
        marks_total: 0,
        cut: None,
        began: Nanos(0),
        torn: None,
    }
}

fn read(dir: &Path, table: &str) -> RecordBatch {
    let folder = dir.join(table).join("date=2026-11-29");
    let mut files = std::fs::read_dir(folder).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none(), "one file a run");
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
    let schema = builder.schema().clone();
    let rows = builder.build().unwrap().next();
    rows.map_or_else(|| RecordBatch::new_empty(schema), Result::unwrap)
}

fn sum(batch: &RecordBatch, column: &str) -> i64 {
    let column = batch.column_by_name(column).unwrap();
    column.as_primitive::<Int64Type>().values().iter().sum()
}

#[test]
fn the_stacks_of_a_run_sum_to_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let labels = Labels {
        commit: Some("abc".into()),
        others: BTreeMap::from([("branch".into(), "main".into())]),
    };
    // Twice: the second replaces the first.
    for _ in 0..2 {
        export(&run(), &labels, dir.path(), None).unwrap();
    }
    let [stacks, runs] = ["stacks", "runs"].map(|table| read(dir.path(), table));
    for (of_stacks, of_run, value) in [
        ("reserved_at_peak_bytes", "reserved_peak_bytes", 300),
        ("resident_at_peak_bytes", "resident_peak_bytes", 90),
        ("touched_at_peak_bytes", "resident_peak_bytes", 90),
        ("calls", "allocs", 7),
        ("leaked_bytes", "leaked_bytes", 11),
    ] {
        assert_eq!(sum(&stacks, of_stacks), value, "{of_stacks}");
        assert_eq!(sum(&runs, of_run), value, "{of_run}");
    }
    let told = |column: &str| {
        let column = runs.column_by_name(column).unwrap();
        column.as_string::<i32>().value(0).to_owned()
    };
    assert_eq!(
        (told("host"), told("commit")),
        ("node-1".into(), "abc".into())
    );
    assert_eq!(told("command_line"), "a 'b c'");
    assert_eq!(runs.num_rows(), 1);
    assert_eq!(read(dir.path(), "processes").num_rows(), 0);
}

#[test]
fn a_runs_name_is_its_own() {
    let one = run().run;
    let mut others = vec![one.clone(), one.clone(), one.clone()];
    others[0].host = None;
    others[1].command = vec!["a".into(), "b".into(), "c".into()];
    others[2].began_unix_ns += 1;
    assert_eq!(name(&one), name(&one.clone()));
    assert_eq!(name(&one).len(), DIGITS);
    for other in others {
        assert_ne!(name(&one), name(&other));
    }
}
