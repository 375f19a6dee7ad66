//! Record batches into rows.
//!
//! Types and nullability of columns are known here: the reader compared the
//! schema, and arrow-rs refuses nulls in columns that have none. What is left to
//! check are columns that must have a value in rows of some kind.

use super::Frame;
use super::schema::{self, Stream, event};
use super::tables::{Place, Symbol};
use crate::events::{Body, Captured, Command, Event, KernelCounts, Lost, Module};
use crate::units::{Address, Bytes, Nanos, Pid, StackId, Tid};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, DictionaryArray, ListArray, PrimitiveArray,
    RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{Int8Type, Int32Type, UInt16Type, UInt32Type, UInt64Type};
use tracer_ebpf::Kind;

/// A row that can be read from its stream; the error says what is wrong with the batch.
pub trait Decode: Sized {
    /// Its stream.
    const STREAM: Stream;
    /// All rows of a batch.
    #[doc(hidden)]
    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String>;
}

/// A column as the array that its type says.
fn typed<'a, T: 'static>(column: &'a ArrayRef, what: &str) -> Result<&'a T, String> {
    column
        .as_any()
        .downcast_ref()
        .ok_or_else(|| format!("column {what} has another type"))
}

/// The column at a position, which must be there.
fn column<T: 'static>(batch: &RecordBatch, at: usize) -> Result<&T, String> {
    typed(
        batch.columns().get(at).ok_or("too few columns")?,
        batch.schema_ref().field(at).name(),
    )
}

/// A column of an event that may be null; one that is null in all rows is not even read.
fn optional<T: 'static>(batch: &RecordBatch, at: usize) -> Result<(Option<&T>, String), String> {
    let name = Stream::Events.fields()[at].name().clone();
    let array = batch
        .column_by_name(&name)
        .map(|column| typed(column, &name));
    Ok((array.transpose()?, name))
}

/// A column that must be there, wherever it stands among those that were read.
fn dense<T: 'static>(batch: &RecordBatch, at: usize) -> Result<&T, String> {
    let (array, name) = optional(batch, at)?;
    array.ok_or_else(|| missing(&name))
}

/// A column of numbers.
struct Numbers<'a, T: ArrowPrimitiveType> {
    array: Option<&'a PrimitiveArray<T>>,
    name: String,
}

impl<'a, T: ArrowPrimitiveType> Numbers<'a, T> {
    fn new(batch: &'a RecordBatch, at: usize) -> Result<Self, String> {
        let (array, name) = optional(batch, at)?;
        Ok(Self { array, name })
    }

    fn get(&self, row: usize) -> Result<T::Native, String> {
        self.find(row).ok_or_else(|| missing(&self.name))
    }

    /// The value, where the row has one.
    fn find(&self, row: usize) -> Option<T::Native> {
        let array = self.array.filter(|array| array.is_valid(row));
        array.map(|array| array.value(row))
    }
}

#[cold]
fn missing(name: &str) -> String {
    format!("an event without {name}")
}

/// A column of names, by the dictionary that this batch has.
struct Named<'a, T> {
    keys: Option<&'a PrimitiveArray<Int8Type>>,
    meanings: Vec<Option<T>>,
    name: String,
}

impl<'a, T: Copy> Named<'a, T> {
    /// The column of events at a position.
    fn new(batch: &'a RecordBatch, at: usize, names: &[(&str, T)]) -> Result<Self, String> {
        let (array, name) = optional(batch, at)?;
        let none = Self {
            keys: None,
            meanings: Vec::new(),
            name: name.clone(),
        };
        array.map_or(Ok(none), |array| Self::of(array, name, names))
    }

    fn of(
        array: &'a DictionaryArray<Int8Type>,
        name: String,
        names: &[(&str, T)],
    ) -> Result<Self, String> {
        let values: &StringArray = typed(array.values(), "of a dictionary")?;
        let meaning = |text: Option<&str>| {
            names
                .iter()
                .find(|&&(name, _)| Some(name) == text)
                .map(|&(_, t)| t)
        };
        Ok(Self {
            keys: Some(array.keys()),
            meanings: values.iter().map(meaning).collect(),
            name,
        })
    }

    fn get(&self, row: usize) -> Result<T, String> {
        let key = self
            .keys
            .filter(|keys| keys.is_valid(row))
            .map(|keys| keys.value(row));
        let meaning = key.and_then(|key| {
            self.meanings
                .get(usize::try_from(key).ok()?)
                .copied()
                .flatten()
        });
        meaning.ok_or_else(|| format!("a row with no or an unknown {}", self.name))
    }
}

/// The columns of a batch of events.
struct Columns<'a> {
    time: &'a PrimitiveArray<UInt64Type>,
    pid: &'a PrimitiveArray<UInt32Type>,
    tid: &'a PrimitiveArray<UInt32Type>,
    kind: Named<'a, Kind>,
    stack: &'a PrimitiveArray<UInt64Type>,
    in_allocator: &'a BooleanArray,
    function: Named<'a, crate::events::Function>,
    address: Numbers<'a, UInt64Type>,
    size: Numbers<'a, UInt64Type>,
    new_size: Numbers<'a, UInt64Type>,
    offset: Numbers<'a, UInt64Type>,
    prot: Numbers<'a, UInt32Type>,
    flags: Numbers<'a, UInt64Type>,
    fd: Numbers<'a, Int32Type>,
    advice: Numbers<'a, UInt32Type>,
    segment: Numbers<'a, UInt64Type>,
    errno: Numbers<'a, Int32Type>,
    member: Named<'a, crate::events::Member>,
    cause: Named<'a, crate::events::Cause>,
    error_code: Numbers<'a, UInt16Type>,
    syscall: Numbers<'a, UInt16Type>,
    child: Numbers<'a, UInt32Type>,
    shares_memory: Option<&'a BooleanArray>,
    status: Numbers<'a, UInt32Type>,
    resident_peak: Numbers<'a, UInt64Type>,
    virtual_peak: Numbers<'a, UInt64Type>,
    stack_size: Numbers<'a, UInt64Type>,
    took: Numbers<'a, UInt64Type>,
    user: Numbers<'a, UInt64Type>,
    system: Numbers<'a, UInt64Type>,
}

impl<'a> Columns<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self, String> {
        Ok(Self {
            time: dense(batch, event::TIME)?,
            pid: dense(batch, event::PID)?,
            tid: dense(batch, event::TID)?,
            kind: Named::new(batch, event::KIND, &schema::KINDS)?,
            stack: dense(batch, event::STACK)?,
            in_allocator: dense(batch, event::IN_ALLOCATOR)?,
            function: Named::new(batch, event::FUNCTION, &schema::FUNCTIONS)?,
            address: Numbers::new(batch, event::ADDRESS)?,
            size: Numbers::new(batch, event::SIZE)?,
            new_size: Numbers::new(batch, event::NEW_SIZE)?,
            offset: Numbers::new(batch, event::OFFSET)?,
            prot: Numbers::new(batch, event::PROT)?,
            flags: Numbers::new(batch, event::FLAGS)?,
            fd: Numbers::new(batch, event::FD)?,
            advice: Numbers::new(batch, event::ADVICE)?,
            segment: Numbers::new(batch, event::SEGMENT)?,
            errno: Numbers::new(batch, event::ERRNO)?,
            member: Named::new(batch, event::MEMBER, &schema::MEMBERS)?,
            cause: Named::new(batch, event::CAUSE, &schema::CAUSES)?,
            error_code: Numbers::new(batch, event::ERROR_CODE)?,
            syscall: Numbers::new(batch, event::SYSCALL)?,
            child: Numbers::new(batch, event::CHILD)?,
            shares_memory: optional(batch, event::SHARES_MEMORY)?.0,
            status: Numbers::new(batch, event::STATUS)?,
            resident_peak: Numbers::new(batch, event::RESIDENT_PEAK)?,
            virtual_peak: Numbers::new(batch, event::VIRTUAL_PEAK)?,
            stack_size: Numbers::new(batch, event::STACK_SIZE)?,
            took: Numbers::new(batch, event::TOOK)?,
            user: Numbers::new(batch, event::USER)?,
            system: Numbers::new(batch, event::SYSTEM)?,
        })
    }

    fn event(&self, row: usize) -> Result<Event, String> {
        Ok(Event {
            time: Nanos(self.time.value(row)),
            pid: Pid(self.pid.value(row)),
            tid: Tid(self.tid.value(row)),
            stack: StackId(self.stack.value(row)),
            in_allocator: self.in_allocator.value(row),
            body: self.body(row)?,
        })
    }

    fn body(&self, row: usize) -> Result<Body, String> {
        let address = || self.address.get(row).map(Address);
        let size = || self.size.get(row).map(Bytes);
        Ok(match self.kind.get(row)? {
            Kind::Alloc => Body::Alloc {
                function: self.function.get(row)?,
                address: address()?,
                size: size()?,
            },
            Kind::Free => Body::Free {
                address: address()?,
            },
            Kind::ReallocEnter => Body::ReallocEnter {
                address: address()?,
                size: size()?,
            },
            Kind::ReallocExit => Body::ReallocExit {
                function: self.function.get(row)?,
                address: address()?,
                size: size()?,
            },
            Kind::Map => Body::Map {
                address: address()?,
                length: size()?,
                offset: self.offset.get(row)?,
                prot: self.prot.get(row)?,
                flags: u32::try_from(self.flags.get(row)?)
                    .map_err(|_| "flags of a mapping above 32 bits")?,
                fd: self.fd.get(row)?,
            },
            Kind::Unmap => Body::Unmap {
                address: address()?,
                length: size()?,
            },
            Kind::RemapEnter => Body::RemapEnter {
                address: address()?,
                length: size()?,
                new_length: Bytes(self.new_size.get(row)?),
                flags: self.flags.get(row)?,
            },
            Kind::RemapExit => Body::RemapExit {
                address: address()?,
                length: size()?,
            },
            Kind::Break => Body::Break {
                address: address()?,
            },
            Kind::Advise => Body::Advise {
                address: address()?,
                length: size()?,
                advice: self.advice.get(row)?,
            },
            Kind::ShmAttach => Body::ShmAttach {
                address: address()?,
                segment: self.segment.get(row)?,
                length: size()?,
            },
            Kind::ShmDetach => Body::ShmDetach {
                address: address()?,
            },
            Kind::Returned => Body::Returned {
                syscall: self.syscall.get(row)?,
                errno: self.errno.get(row)?,
                took: Nanos(self.took.get(row)?),
            },
            Kind::Resident => Body::Resident {
                member: self.member.get(row)?,
                size: size()?,
                cause: self.cause.get(row)?,
                address: address()?,
                // Only faults have one.
                took: Nanos(self.took.find(row).unwrap_or(0)),
                error_code: self.error_code.get(row)?,
                syscall: self.syscall.get(row)?,
            },
            Kind::Fork => Body::Fork {
                child: Pid(self.child.get(row)?),
                shares_memory: self
                    .shares_memory
                    .is_some_and(|array| array.is_valid(row) && array.value(row)),
            },
            Kind::Exec => Body::Exec {
                counts: self.counts(row)?,
            },
            Kind::Exit => Body::Exit {
                status: self.status.get(row)?,
                counts: self.counts(row)?,
            },
            Kind::Began => Body::Began {
                mapped: size()?,
                stack: Bytes(self.stack_size.get(row)?),
            },
            Kind::CheckBegin => Body::CheckBegin,
            Kind::Present => Body::Present {
                address: address()?,
                length: size()?,
                member: self.member.get(row)?,
            },
            Kind::CheckEnd => Body::CheckEnd,
            Kind::Written => Body::Written {
                address: address()?,
            },
            Kind::Usage => Body::Usage {
                user: Nanos(self.user.get(row)?),
                system: Nanos(self.system.get(row)?),
            },
            Kind::Stack => return Err("a stack among the events".to_owned()),
        })
    }

    fn counts(&self, row: usize) -> Result<KernelCounts, String> {
        Ok(KernelCounts {
            resident_peak: self.resident_peak.get(row)?,
            virtual_peak: self.virtual_peak.get(row)?,
            stack: self.stack_size.get(row)?,
        })
    }
}

impl Decode for Event {
    const STREAM: Stream = Stream::Events;

    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let columns = Columns::new(batch)?;
        (0..batch.num_rows())
            .map(|row| columns.event(row))
            .collect()
    }
}

impl Decode for Captured {
    const STREAM: Stream = Stream::Stacks;

    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let id: &PrimitiveArray<UInt64Type> = column(batch, 0)?;
        let pid: &PrimitiveArray<UInt32Type> = column(batch, 1)?;
        let time: &PrimitiveArray<UInt64Type> = column(batch, 2)?;
        let end = Named::of(column(batch, 3)?, "end".to_owned(), &schema::STACK_ENDS)?;
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
            device: device.value(row),
            inode: inode.value(row),
            build_id: build_id.value(row).to_owned(),
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }
}

impl Decode for Symbol {
    const STREAM: Stream = Stream::Symbols;

    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let path: &StringArray = column(batch, 0)?;
        let build_id: &StringArray = column(batch, 1)?;
        let pid: &PrimitiveArray<UInt32Type> = column(batch, 2)?;
        let address: &PrimitiveArray<UInt64Type> = column(batch, 3)?;
        let frames: &ListArray = column(batch, 4)?;
        let row = |row| {
            let place = match (text(path, row), pid.is_valid(row)) {
                (Some(path), false) => Place::File {
                    path,
                    build_id: text(build_id, row).unwrap_or_default(),
                    offset: address.value(row),
                },
                (None, true) => Place::Process {
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

impl Decode for Lost {
    const STREAM: Stream = Stream::Losses;

    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let cause: &StringArray = column(batch, 0)?;
        let probe: &StringArray = column(batch, 1)?;
        let count: &PrimitiveArray<UInt64Type> = column(batch, 2)?;
        let row = |row| Self {
            cause: cause.value(row).to_owned(),
            probe: probe.value(row).to_owned(),
            count: count.value(row),
        };
        Ok((0..batch.num_rows()).map(row).collect())
    }
}
