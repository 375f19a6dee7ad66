//! From bytes of the ring buffer to events. Bytes that are no event of the ABI
//! give `None`, whatever they are.

use crate::events::{Body, Captured, Event, KernelCounts, Mark, event_table};
use crate::units::{Address, Bytes, Nanos, Pid, StackId, Tid};
use crate::unwind::StackCopy;
use tracer_ebpf as abi;
use tracer_ebpf::{Cause, Function, Header, Kind, MAX_FRAMES, RssCounter, StackEnd, flags};
use zerocopy::FromBytes;

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An event.
    Event {
        /// The event.
        event: Event,
        /// Whether its stack was wanted and could not be had.
        stack_lost: bool,
        /// Whether the process is stopped, and wants to be continued.
        held: bool,
    },
    /// The frames of a stack, and its copy where they are not all.
    Stack(Captured, Option<Box<StackCopy>>),
    /// A moment that the program named.
    Mark(Mark),
}

/// The ABI's record of that type at the beginning of the bytes.
fn read<T: FromBytes>(bytes: &[u8]) -> Option<T> {
    T::read_from_prefix(bytes).ok().map(|(record, _)| record)
}

/// Decodes one record.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Record> {
    let header: Header = read(bytes)?;
    let kind = Kind::from_number(header.kind)?;
    match kind {
        Kind::Stack => return stack(bytes, &header),
        Kind::Mark => return mark(bytes),
        _ => {}
    }
    let event = Event {
        time: Nanos(header.time_ns),
        pid: Pid(header.pid),
        tid: Tid(header.tid),
        stack: StackId(header.stack),
        in_allocator: header.flags & flags::IN_ALLOCATOR != 0,
        body: body(kind, bytes)?,
    };
    let stack_lost = header.flags & flags::STACK_LOST != 0;
    let held = header.flags & flags::HELD != 0;
    Some(Record::Event {
        event,
        stack_lost,
        held,
    })
}

fn stack(bytes: &[u8], header: &Header) -> Option<Record> {
    let head: abi::Stack = read(bytes)?;
    let count = head.count as usize;
    if count > MAX_FRAMES {
        return None;
    }
    let frames = bytes.get(size_of::<abi::Stack>()..)?.get(..count * 8)?;
    let frames = frames.as_chunks::<8>().0.iter();
    let captured = Captured {
        id: StackId(header.stack),
        pid: Pid(header.pid),
        time: Nanos(header.time_ns),
        end: StackEnd::from_number(head.end)?,
        frames: frames
            .map(|&word| Address(u64::from_ne_bytes(word)))
            .collect(),
    };
    let copy = match head.copied {
        0 => None,
        _ => Some(Box::new(copy(bytes)?)),
    };
    Some(Record::Stack(captured, copy))
}

fn mark(bytes: &[u8]) -> Option<Record> {
    let record: abi::Mark = read(bytes)?;
    let name = record.name.strip_prefix(abi::MARK)?;
    let name = name.split(|&byte| byte == 0).next()?;
    Some(Record::Mark(Mark {
        time: Nanos(record.header.time_ns),
        pid: Pid(record.header.pid),
        tid: Tid(record.header.tid),
        name: String::from_utf8_lossy(name).into_owned(),
    }))
}

/// The copy that follows the room for frames.
fn copy(bytes: &[u8]) -> Option<StackCopy> {
    let bytes = bytes.get(size_of::<abi::Stack>() + MAX_FRAMES * 8..)?;
    let head: abi::StackCopy = read(bytes)?;
    let bytes = bytes.get(size_of::<abi::StackCopy>()..)?;
    Some(StackCopy {
        sp: head.sp,
        bp: head.bp,
        at_entry: head.at_entry != 0,
        holes: head.holes,
        trampoline: head.trampoline,
        registers: head.registers,
        bytes: bytes.get(..head.size as usize)?.to_vec(),
    })
}

/// A field of an event, from that of a record; nothing where the number means nothing.
trait FromRecord<T>: Sized {
    fn from_record(value: T) -> Option<Self>;
}

macro_rules! from_record {
    ($($from:ty => $to:ty: $with:expr;)+) => {$(
        impl FromRecord<$from> for $to {
            fn from_record(value: $from) -> Option<Self> {
                let with: fn($from) -> Option<$to> = $with;
                with(value)
            }
        }
    )+};
}
from_record! {
    i32 => i32: Some;
    u16 => u16: Some;
    u32 => u32: Some;
    u64 => u64: Some;
    u64 => Address: |value| Some(Address(value));
    u64 => Bytes: |value| Some(Bytes(value));
    u64 => Nanos: |value| Some(Nanos(value));
    u64 => Option<Nanos>: |value| Some((value > 0).then_some(Nanos(value)));
    u32 => Pid: |value| Some(Pid(value));
    u32 => u16: |value| value.try_into().ok();
    u32 => bool: |value| Some(value != 0);
    u32 => Function: Function::from_number;
    u16 => RssCounter: RssCounter::from_number;
    u16 => Cause: Cause::from_number;
    KernelCounts => KernelCounts: Some;
}

/// Makes of the table of events what reads each from the record that carries it.
macro_rules! body_from_record {
    ($(
        $(#[$doc:meta])*
        $kind:ident $name:literal ($($record:ident)?) $({$(
            $(#[$of:meta])*
            $field:ident: $type:ty as ($($column:ident),+),
        )*})?
    )+) => {
        fn body(kind: Kind, bytes: &[u8]) -> Option<Body> {
            $(body_from_record!(@one kind bytes $kind ($($record)?) $({ $($field)* })?);)+
            None
        }
    };
    // The tracer's own: no record carries it.
    (@one $number:ident $bytes:ident $kind:ident () $($fields:tt)?) => {};
    (@one $number:ident $bytes:ident $kind:ident ($record:ident) { $($field:ident)* }) => {
        if $number == Kind::$kind {
            let record: abi::$record = read($bytes)?;
            return Some(Body::$kind { $($field: FromRecord::from_record(record.$field)?,)* });
        }
    };
}
event_table!(body_from_record);
