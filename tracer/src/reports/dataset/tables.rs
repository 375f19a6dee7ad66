//! The three tables, a run at a time. Figures are signed, as every reader of Parquet has such.

use super::{ArrowError, Labels};
use crate::ledger::account::{Reserver, StackTotals};
use crate::recording::Frame;
use crate::reports::{Concluded, Exit};
use crate::units::{Bytes, StackId};
use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, ListBuilder, MapBuilder, RecordBatch,
    StringArray, StringBuilder, TimestampMicrosecondArray,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A table of these columns; those that are optional may have nothing in a row.
fn table(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
    let nullable = columns
        .into_iter()
        .map(|(name, values)| (name, values, true));
    RecordBatch::try_from_iter_with_nullable(nullable)
}

fn text<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn number(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    let signed = |value| i64::try_from(value).unwrap_or(i64::MAX);
    Arc::new(Int64Array::from_iter_values(values.into_iter().map(signed)))
}

fn words<'a>(rows: impl IntoIterator<Item = Vec<&'a str>>) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    for row in rows {
        list.append_value(row.into_iter().map(Some));
    }
    Arc::new(list.finish())
}

fn exits(exits: &[Exit]) -> [(&'static str, ArrayRef); 2] {
    let codes: Int32Array = exits.iter().map(|exit| exit.code).collect();
    let signals: Int32Array = exits.iter().map(|exit| exit.signal).collect();
    [
        ("exit_code", Arc::new(codes)),
        ("exit_signal", Arc::new(signals)),
    ]
}

/// One row: the run.
pub(super) fn runs(
    input: &Concluded,
    labels: &Labels,
    name: &str,
) -> Result<RecordBatch, ArrowError> {
    let (run, account) = (&input.run, &input.account);
    let mut others = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (key, value) in &labels.others {
        others.keys().append_value(key);
        others.values().append_value(value);
    }
    others.append(true)?;
    let began = TimestampMicrosecondArray::from_value((run.began_unix_ns / 1_000) as i64, 1);
    let leaked: Bytes = account.stacks.iter().map(|(_, s)| s.leaked).sum();
    let of_kernel = |of: fn(&crate::events::KernelCounts) -> u64| {
        let peaks = account.processes.iter().map(|process| of(&process.kernel));
        number([peaks.fold(0, u64::saturating_add)])
    };
    let command = run.command.iter().map(String::as_str).collect();
    let one = |value: &str| text([Some(value)]);
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("run", one(name)),
        ("began", Arc::new(began.with_timezone("UTC"))),
        ("host", text([run.host.as_deref()])),
        ("kernel", one(&run.kernel_release)),
        ("tracer_version", one(&run.tracer_version)),
        ("mode", one(&run.mode)),
        ("command", words([command])),
        ("command_line", one(&input.command_line())),
        ("commit", text([labels.commit.as_deref()])),
        ("labels", Arc::new(others.finish())),
    ];
    columns.extend(exits(&[run.exit]));
    let whole = input.complete && input.lost_total() == 0;
    let took = account.ended.0.saturating_sub(account.began.0);
    columns.extend([
        (
            "complete",
            Arc::new(BooleanArray::from(vec![whole])) as ArrayRef,
        ),
        ("lost", number([input.lost_total()])),
        ("duration_ns", number([took])),
        (
            "reserved_peak_bytes",
            number([account.reserved_peak.reserved.0]),
        ),
        (
            "resident_peak_bytes",
            number([account.resident_peak.resident.0]),
        ),
        (
            "kernel_reserved_peak_bytes",
            of_kernel(|kernel| kernel.virtual_peak),
        ),
        (
            "kernel_resident_peak_bytes",
            of_kernel(|kernel| kernel.resident_peak),
        ),
        ("leaked_bytes", number([leaked.0])),
        ("allocs", number([account.allocs])),
        ("alloc_bytes", number([account.alloc_bytes.0])),
    ]);
    table(columns)
}

/// A row for each process.
pub(super) fn processes(input: &Concluded, name: &str) -> Result<RecordBatch, ArrowError> {
    let all = &input.account.processes;
    let of = |of: fn(&crate::ledger::account::ProcessAccount) -> u64| number(all.iter().map(of));
    let commands = (0..all.len()).map(|at| {
        let command = input.run.commands.get(at).map_or(&[][..], Vec::as_slice);
        command.iter().map(String::as_str).collect()
    });
    let ended = |status: Option<u32>| status.map(Exit::from_status).unwrap_or_default();
    let ends: Vec<Exit> = all.iter().map(|process| ended(process.status)).collect();
    let mut columns = vec![
        ("run", text(all.iter().map(|_| Some(name)))),
        ("pid", of(|process| process.pid.0.into())),
        ("ppid", of(|process| process.parent.0.into())),
        ("command", words(commands)),
    ];
    columns.extend(exits(&ends));
    columns.extend([
        ("reserved_peak_bytes", of(|process| process.reserved_peak.0)),
        ("resident_peak_bytes", of(|process| process.resident_peak.0)),
        (
            "kernel_reserved_peak_bytes",
            of(|process| process.kernel.virtual_peak),
        ),
        (
            "kernel_resident_peak_bytes",
            of(|process| process.kernel.resident_peak),
        ),
        ("allocs", of(|process| process.allocs)),
    ]);
    table(columns)
}

/// What is known of who answers for memory.
#[derive(Clone, Copy, Default)]
struct Row {
    reserved: u64,
    resident: u64,
    touched: u64,
    totals: StackTotals,
}

/// A row for each stack that did something that counts, and for each other reserver.
pub(super) fn stacks(input: &Concluded, name: &str) -> Result<RecordBatch, ArrowError> {
    let rows = rows(input);
    let symbols = &input.symbols;
    let stack = |reserver: &Reserver| match *reserver {
        Reserver::Stack(id) | Reserver::Slack(id) => Some(id),
        _ => None,
    };
    let frames: Vec<Option<&Frame>> = rows
        .keys()
        .map(|reserver| stack(reserver).map(|id| symbols.location(id)))
        .collect();
    let locations: Vec<Option<String>> = frames
        .iter()
        .map(|frame| frame.map(ToString::to_string))
        .collect();
    let whole: Vec<Vec<String>> = rows
        .keys()
        .map(|reserver| {
            let frames = stack(reserver).map_or_else(Vec::new, |id| symbols.frames(id));
            frames.into_iter().map(ToString::to_string).collect()
        })
        .collect();
    let lines: Int32Array = frames
        .iter()
        .map(|frame| frame.and_then(|frame| frame.line).map(|line| line as i32))
        .collect();
    let part = |of: fn(&Frame) -> Option<&str>| text(frames.iter().map(|frame| frame.and_then(of)));
    let of = |of: fn(&Row) -> u64| number(rows.values().map(of));
    table(vec![
        ("run", text(rows.keys().map(|_| Some(name)))),
        (
            "kind",
            text(rows.keys().map(|reserver| Some(kind(reserver)))),
        ),
        ("location", text(locations.iter().map(Option::as_deref))),
        ("function", part(|frame| frame.function.as_deref())),
        ("file", part(|frame| frame.file.as_deref())),
        ("line", Arc::new(lines)),
        ("module", part(|frame| frame.module.as_deref())),
        (
            "stack",
            words(
                whole
                    .iter()
                    .map(|stack| stack.iter().map(String::as_str).collect()),
            ),
        ),
        ("reserved_at_peak_bytes", of(|row| row.reserved)),
        ("resident_at_peak_bytes", of(|row| row.resident)),
        ("touched_at_peak_bytes", of(|row| row.touched)),
        ("calls", of(|row| row.totals.calls)),
        ("bytes", of(|row| row.totals.bytes.0)),
        ("leaked_bytes", of(|row| row.totals.leaked.0)),
        ("leaked_allocs", of(|row| row.totals.leaked_allocs)),
        ("faults", of(|row| row.totals.faults)),
        ("fault_ns", of(|row| row.totals.fault_time.0)),
    ])
}

fn kind(reserver: &Reserver) -> &'static str {
    match reserver {
        Reserver::Stack(_) => "stack",
        Reserver::Slack(_) => "slack",
        Reserver::Image => "image",
        Reserver::ThreadStack => "thread_stack",
        Reserver::Unknown => "unknown",
    }
}

/// All that answers for something, in order. Each column sums to the run's.
fn rows(input: &Concluded) -> BTreeMap<Reserver, Row> {
    let account = &input.account;
    // Stack 0 is that of touches which nobody was seen to make.
    let by = |id: StackId| match id {
        StackId(0) => Reserver::Unknown,
        id => Reserver::Stack(id),
    };
    let mut rows: BTreeMap<Reserver, Row> = BTreeMap::new();
    for &(id, totals) in &account.stacks {
        rows.entry(by(id)).or_default().totals = totals;
    }
    for &(id, bytes) in &account.reserved_peak.by_reserver {
        rows.entry(by(id)).or_default().reserved += bytes.0;
    }
    for &(reserver, bytes) in &account.resident_peak.resident_by_reserver {
        rows.entry(reserver).or_default().resident += bytes.0;
    }
    for &(id, bytes) in &account.resident_peak.resident_by_toucher {
        rows.entry(by(id)).or_default().touched += bytes.0;
    }
    rows
}
