//! Record batches into rows.
//!
//! Types and nullability of columns are known here: the reader compared the
//! schema, and arrow-rs refuses nulls in columns that have none. What is left to
//! check are columns that must have a value in rows of some kind.

use super::Frame;
use super::cells::{Cell, Cells, Get, Meanings, array, missing, typed};
use super::schema::{Stream, event, event_columns};
use super::tables::{CodeAddress, ResolvedAddress};
use crate::events::{
    Body, Captured, Cause, Command, Event, Function, Kind, LossCause, Lost, Mark, Module,
    RssCounter, StackEnd, event_table,
};
use crate::files::{BuildId, FileId, Identity};
use crate::units::{Address, Bytes, Nanos, Pid, StackId, Tid};
use arrow::array::{
    Array, ArrayRef, BooleanArray, ListArray, PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{UInt32Type, UInt64Type};

/// A row that can be read from its stream; the error says what is wrong with the batch.
pub trait Decode: Sized {
    /// Its stream.
    const STREAM: Stream;
    /// All rows of a batch.
    #[doc(hidden)]
    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String>;
}

/// The column at a position, which must be there.
fn column<T: 'static>(batch: &RecordBatch, at: usize) -> Result<&T, String> {
    typed(
        batch.columns().get(at).ok_or("too few columns")?,
        batch.schema_ref().field(at).name(),
    )
}

/// A column of events that must be there, wherever it stands among those that were read.
fn dense<'a, T: 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T, String> {
    array(batch, name)?.ok_or_else(|| missing(name))
}

/// The columns that every event has.
struct Common<'a> {
    time: &'a PrimitiveArray<UInt64Type>,
    pid: &'a PrimitiveArray<UInt32Type>,
    tid: &'a PrimitiveArray<UInt32Type>,
    kind: Meanings<'a, Kind>,
    stack: &'a PrimitiveArray<UInt64Type>,
    in_allocator: &'a BooleanArray,
}

impl<'a> Common<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self, String> {
        Ok(Self {
            time: dense(batch, event::TIME)?,
            pid: dense(batch, event::PID)?,
            tid: dense(batch, event::TID)?,
            kind: Meanings::new(batch, event::KIND)?,
            stack: dense(batch, event::STACK)?,
            in_allocator: dense(batch, event::IN_ALLOCATOR)?,
        })
    }

    fn event(&self, row: usize, body: Body) -> Event {
        Event {
            time: Nanos(self.time.value(row)),
            pid: Pid(self.pid.value(row)),
            tid: Tid(self.tid.value(row)),
            stack: StackId(self.stack.value(row)),
            in_allocator: self.in_allocator.value(row),
            body,
        }
    }
}

/// Makes of the columns of events what reads them.
macro_rules! columns {
    ($($column:ident: $type:ty = $name:literal,)+) => {
        /// Columns that only some kinds of events have.
        struct Columns<'a> {
            $($column: <$type as Cell>::Cells<'a>,)+
        }

        impl<'a> Columns<'a> {
            fn new(batch: &'a RecordBatch) -> Result<Self, String> {
                Ok(Self { $($column: Cells::new(batch, $name)?,)+ })
            }
        }
    };
}
event_columns!(columns);

/// Makes of the table of events what reads the fields of each from its columns.
macro_rules! get_body {
    ($(
        $(#[$doc:meta])*
        $kind:ident $name:literal ($($record:ident)?) $({$(
            $(#[$of:meta])*
            $field:ident: $type:ty as ($($column:ident),+),
        )*})?
    )+) => {
        impl Columns<'_> {
            fn body(&self, kind: Kind, row: usize) -> Result<Body, String> {
                Ok(match kind {
                    $(Kind::$kind => Body::$kind $({
                        $($field: Get::get(row, ($(&self.$column,)+))?,)*
                    })?,)+
                })
            }
        }
    };
}
event_table!(get_body);

impl Decode for Event {
    const STREAM: Stream = Stream::Events;

    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let (common, columns) = (Common::new(batch)?, Columns::new(batch)?);
        (0..batch.num_rows())
            .map(|row| Ok(common.event(row, columns.body(common.kind.get(row)?, row)?)))
            .collect()
    }
}

impl Decode for Captured {
    const STREAM: Stream = Stream::Stacks;

    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let id: &PrimitiveArray<UInt64Type> = column(batch, 0)?;
        let pid: &PrimitiveArray<UInt32Type> = column(batch, 1)?;
        let time: &PrimitiveArray<UInt64Type> = column(batch, 2)?;
        let end = Meanings::<StackEnd>::of(Some(column(batch, 3)?), "end")?;
        let frames: &ListArray = column(batch, 4)?;
        let row = |row| {
            let addresses = frames.value(row);
            let addresses: &PrimitiveArray<UInt64Type> = typed(&addresses, "frames")?;
            Ok(Self {
                id: StackId(id.value(row)),
                pid: Pid(pid.value(row)),
                time: Nanos(time.value(row)),
                end: end.get(row)?,
                frames: addresses
                    .values()
                    .iter()
                    .map(|&frame| Address(frame))
                    .collect(),
            })
        };
        (0..batch.num_rows()).map(row).collect()
    }
}

impl Decode for Module {
    const STREAM: Stream = Stream::Modules;

    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let pid: &PrimitiveArray<UInt32Type> = column(batch, 0)?;
        let number = |at| column::<PrimitiveArray<UInt64Type>>(batch, at);
        let (time, address, size, offset) = (number(1)?, number(2)?, number(3)?, number(4)?);
        let path: &StringArray = column(batch, 5)?;
        let (device, inode) = (number(6)?, number(7)?);
        let build_id: &StringArray = column(batch, 8)?;
        let row = |row| Self {
            pid: Pid(pid.value(row)),
            time: Nanos(time.value(row)),
            address: Address(address.value(row)),
            length: Bytes(size.value(row)),
            offset: offset.value(row),
            path: path.value(row).to_owned(),
            identity: Identity {
                file: (inode.value(row) != 0).then(|| FileId {
                    device: device.value(row),
                    inode: inode.value(row),
                }),
                build_id: BuildId::parse(build_id.value(row)),
            },
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }
}

impl Decode for ResolvedAddress {
    const STREAM: Stream = Stream::Symbols;

    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let path: &StringArray = column(batch, 0)?;
        let build_id: &StringArray = column(batch, 1)?;
        let pid: &PrimitiveArray<UInt32Type> = column(batch, 2)?;
        let address: &PrimitiveArray<UInt64Type> = column(batch, 3)?;
        let frames: &ListArray = column(batch, 4)?;
        let row = |row| {
            let place = match (text(path, row), pid.is_valid(row)) {
                (Some(path), false) => CodeAddress::File {
                    path,
                    build_id: text(build_id, row).and_then(|id| BuildId::parse(&id)),
                    offset: address.value(row),
                },
                (None, true) => CodeAddress::Process {
                    pid: Pid(pid.value(row)),
                    address: Address(address.value(row)),
                },
                _ => return Err("a symbol must have either a path or a process".to_owned()),
            };
            Ok(Self {
                place,
                frames: decode_frames(&frames.value(row))?,
            })
        };
        (0..batch.num_rows()).map(row).collect()
    }
}

fn text(array: &StringArray, row: usize) -> Option<String> {
    array.is_valid(row).then(|| array.value(row).to_owned())
}

fn decode_frames(array: &ArrayRef) -> Result<Vec<Frame>, String> {
    let array: &StructArray = typed(array, "frames")?;
    let [function, file, line, module, offset, inlined] = array.columns() else {
        return Err("a frame has other fields".to_owned());
    };
    let function: &StringArray = typed(function, "function")?;
    let file: &StringArray = typed(file, "file")?;
    let line: &PrimitiveArray<UInt32Type> = typed(line, "line")?;
    let module: &StringArray = typed(module, "module")?;
    let offset: &PrimitiveArray<UInt64Type> = typed(offset, "offset")?;
    let inlined: &BooleanArray = typed(inlined, "inlined")?;
    let row = |row| Frame {
        function: text(function, row),
        file: text(file, row),
        line: line.is_valid(row).then(|| line.value(row)),
        module: text(module, row),
        offset: offset.value(row),
        inlined: inlined.value(row),
    };
    Ok((0..array.len()).map(row).collect())
}

impl Decode for Command {
    const STREAM: Stream = Stream::Commands;

    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let pid: &PrimitiveArray<UInt32Type> = column(batch, 0)?;
        let time: &PrimitiveArray<UInt64Type> = column(batch, 1)?;
        let words: &ListArray = column(batch, 2)?;
        let row = |row| {
            let texts = words.value(row);
            let texts: &StringArray = typed(&texts, "words")?;
            Ok(Self {
                pid: Pid(pid.value(row)),
                time: Nanos(time.value(row)),
                words: (0..texts.len())
                    .map(|word| texts.value(word).to_owned())
                    .collect(),
            })
        };
        (0..batch.num_rows()).map(row).collect()
    }
}

impl Decode for Mark {
    const STREAM: Stream = Stream::Marks;

    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let time: &PrimitiveArray<UInt64Type> = column(batch, 0)?;
        let pid: &PrimitiveArray<UInt32Type> = column(batch, 1)?;
        let tid: &PrimitiveArray<UInt32Type> = column(batch, 2)?;
        let name: &StringArray = column(batch, 3)?;
        let row = |row| Self {
            time: Nanos(time.value(row)),
            pid: Pid(pid.value(row)),
            tid: Tid(tid.value(row)),
            name: name.value(row).to_owned(),
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }
}

impl Decode for Lost {
    const STREAM: Stream = Stream::Losses;

    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let cause: &StringArray = column(batch, 0)?;
        let probe: &StringArray = column(batch, 1)?;
        let count: &PrimitiveArray<UInt64Type> = column(batch, 2)?;
        let row = |row| {
            let name = cause.value(row);
            let cause = LossCause::from_name(name);
            Ok(Self {
                cause: cause.ok_or_else(|| format!("a loss of the unknown cause {name:?}"))?,
                probe: probe.value(row).to_owned(),
                count: count.value(row),
            })
        };
        (0..batch.num_rows()).map(row).collect()
    }
}
