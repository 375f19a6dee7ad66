//! The streams beside the events: stacks, modules, symbols, commands, losses.

use super::Frame;
use super::cells::Names;
use super::schema::{self, Stream};
use crate::events::{Captured, Command, Lost, Mark, Module, Named as _, StackEnd};
use crate::files::BuildId;
use crate::units::{Address, Pid};
use arrow::array::{
    ArrayRef, BooleanArray, Int8Array, ListArray, RecordBatch, StringArray, StructArray,
    UInt32Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, FieldRef, Schema};
use std::sync::Arc;

/// Where a symbol is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CodeAddress {
    /// In a file: every process that maps it means the same code.
    File {
        /// Path as the target saw it ([`Module::path`]).
        path: String,
        /// Its build-id.
        build_id: Option<BuildId>,
        /// Offset in the file.
        offset: u64,
    },
    /// In one process: code that no file holds (JIT, vDSO).
    Process {
        /// The process.
        pid: Pid,
        /// Address in it.
        address: Address,
    },
}

/// A code address and what it stands for, so that another machine gives the same names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedAddress {
    /// The address that the frames stand for.
    pub place: CodeAddress,
    /// Innermost first: inlined functions, then the one that holds them.
    pub frames: Vec<Frame>,
}

/// A row of one of these streams.
pub(super) trait Columns: Sized {
    /// Its stream.
    const STREAM: Stream;
    /// Columns in the order of the schema.
    fn columns(rows: &[Self]) -> Vec<ArrayRef>;
}

/// Rows as a batch.
///
/// # Panics
/// Never: `columns` follows the schema, which a test asserts for every stream.
pub(super) fn batch<R: Columns>(rows: &[R]) -> RecordBatch {
    let schema = Arc::new(Schema::new(R::STREAM.fields()));
    RecordBatch::try_new(schema, R::columns(rows)).expect("columns match the schema")
}

fn u64s<R>(rows: &[R], value: impl Fn(&R) -> u64) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(rows.iter().map(value)))
}

fn u32s<R>(rows: &[R], value: impl Fn(&R) -> u32) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(rows.iter().map(value)))
}

fn texts<'a, R>(rows: &'a [R], value: impl Fn(&'a R) -> &'a str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(value)))
}

fn optional_texts<'a, R: 'a>(
    rows: impl Iterator<Item = &'a R>,
    value: impl Fn(&'a R) -> Option<&'a str>,
) -> ArrayRef {
    Arc::new(StringArray::from_iter(rows.map(value)))
}

fn list(item: FieldRef, lengths: impl Iterator<Item = usize>, values: ArrayRef) -> ArrayRef {
    Arc::new(ListArray::new(
        item,
        OffsetBuffer::from_lengths(lengths),
        values,
        None,
    ))
}

impl Columns for Captured {
    const STREAM: Stream = Stream::Stacks;

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        let ends = Int8Array::from_iter_values(rows.iter().map(|row| row.end.index() as i8));
        let frames = rows
            .iter()
            .flat_map(|row| row.frames.iter().map(|frame| frame.0));
        let frames: ArrayRef = Arc::new(UInt64Array::from_iter_values(frames));
        vec![
            u64s(rows, |row| row.id.0),
            u32s(rows, |row| row.pid.0),
            u64s(rows, |row| row.time.0),
            Names::<StackEnd>::default().of(ends),
            list(
                Arc::new(schema::frame_address()),
                rows.iter().map(|row| row.frames.len()),
                frames,
            ),
        ]
    }
}

impl Columns for Module {
    const STREAM: Stream = Stream::Modules;

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        vec![
            u32s(rows, |row| row.pid.0),
            u64s(rows, |row| row.time.0),
            u64s(rows, |row| row.address.0),
            u64s(rows, |row| row.length.0),
            u64s(rows, |row| row.offset),
            texts(rows, |row| &row.path),
            u64s(rows, |row| row.file().map_or(0, |file| file.device)),
            u64s(rows, |row| row.file().map_or(0, |file| file.inode)),
            texts(rows, |row| row.build_id().map_or("", BuildId::as_str)),
        ]
    }
}

impl Columns for ResolvedAddress {
    const STREAM: Stream = Stream::Symbols;

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        let pids = rows.iter().map(|row| match &row.place {
            CodeAddress::File { .. } => None,
            CodeAddress::Process { pid, .. } => Some(pid.0),
        });
        let frames = || rows.iter().flat_map(|row| &row.frames);
        let item = Field::new(
            "item",
            arrow::datatypes::DataType::Struct(schema::frame()),
            false,
        );
        vec![
            optional_texts(rows.iter(), |row| match &row.place {
                CodeAddress::File { path, .. } => Some(path),
                CodeAddress::Process { .. } => None,
            }),
            optional_texts(rows.iter(), |row| match &row.place {
                CodeAddress::File { build_id, .. } => {
                    Some(build_id.as_ref().map_or("", BuildId::as_str))
                }
                CodeAddress::Process { .. } => None,
            }),
            Arc::new(UInt32Array::from_iter(pids)),
            u64s(rows, |row| match &row.place {
                CodeAddress::File { offset, .. } => *offset,
                CodeAddress::Process { address, .. } => address.0,
            }),
            list(
                Arc::new(item),
                rows.iter().map(|row| row.frames.len()),
                frame_columns(frames),
            ),
        ]
    }
}

fn frame_columns<'a, I: Iterator<Item = &'a Frame>>(frames: impl Fn() -> I) -> ArrayRef {
    let columns: Vec<ArrayRef> = vec![
        optional_texts(frames(), |frame| frame.function.as_deref()),
        optional_texts(frames(), |frame| frame.file.as_deref()),
        Arc::new(UInt32Array::from_iter(frames().map(|frame| frame.line))),
        optional_texts(frames(), |frame| frame.module.as_deref()),
        Arc::new(UInt64Array::from_iter_values(
            frames().map(|frame| frame.offset),
        )),
        Arc::new(BooleanArray::from_iter(
            frames().map(|frame| Some(frame.inlined)),
        )),
    ];
    Arc::new(StructArray::new(schema::frame(), columns, None))
}

impl Columns for Command {
    const STREAM: Stream = Stream::Commands;

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        let words = rows.iter().flat_map(|row| &row.words);
        vec![
            u32s(rows, |row| row.pid.0),
            u64s(rows, |row| row.time.0),
            list(
                Arc::new(schema::word()),
                rows.iter().map(|row| row.words.len()),
                Arc::new(StringArray::from_iter_values(words)),
            ),
        ]
    }
}

impl Columns for Mark {
    const STREAM: Stream = Stream::Marks;

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        vec![
            u64s(rows, |row| row.time.0),
            u32s(rows, |row| row.pid.0),
            u32s(rows, |row| row.tid.0),
            texts(rows, |row| &row.name),
        ]
    }
}

impl Columns for Lost {
    const STREAM: Stream = Stream::Losses;

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        vec![
            texts(rows, |row| row.cause.name()),
            texts(rows, |row| &row.probe),
            u64s(rows, |row| row.count),
        ]
    }
}
