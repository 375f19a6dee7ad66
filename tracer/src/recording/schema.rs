//! The only place with the names and types of files, columns and metadata.

use super::cells::{Cell, names};
use crate::events::{Cause, Function, RssCounter};
use arrow::datatypes::{DataType, Field, Fields};
use std::sync::Arc;

/// Version of what stands in this file. Readers refuse another one.
pub const VERSION: u32 = 2;

/// Clock of every `time_ns`.
pub const CLOCK: &str = "CLOCK_MONOTONIC";

/// Extension of an Arrow IPC stream, as the specification recommends it.
pub const EXTENSION: &str = "arrows";

pub(super) const META_VERSION: &str = "tracer.schema_version";
pub(super) const META_TRACER: &str = "tracer.version";
pub(super) const META_KERNEL: &str = "kernel.release";
pub(super) const META_MACHINE: &str = "machine";
pub(super) const META_HOST: &str = "host";
pub(super) const META_PAGE_SIZE: &str = "page_size";
pub(super) const META_CPUS: &str = "cpus";
pub(super) const META_CLOCK: &str = "clock";
pub(super) const META_STARTED: &str = "started_ns";
pub(super) const META_STARTED_UNIX: &str = "started_unix_ns";
pub(super) const META_MODE: &str = "mode";
pub(super) const META_COMMAND: &str = "command";
pub(super) const META_ROOT: &str = "root_pid";
pub(super) const META_DEGRADED: &str = "degraded";
/// Limits of memory, as JSON: in the stream of losses alone, which is written last.
pub(super) const META_LIMITS: &str = "memory_limits";

/// The streams of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// One event a row.
    Events,
    /// One captured stack a row.
    Stacks,
    /// One module a row.
    Modules,
    /// One code address and its frames a row.
    Symbols,
    /// One execution of a program a row.
    Commands,
    /// One moment that a program named a row.
    Marks,
    /// One cause of loss a row; written last.
    Losses,
}

impl Stream {
    /// All streams, in the order of a recording.
    pub const ALL: [Self; 7] = [
        Self::Events,
        Self::Stacks,
        Self::Modules,
        Self::Symbols,
        Self::Commands,
        Self::Marks,
        Self::Losses,
    ];

    /// Name of its file.
    #[must_use]
    pub fn file_name(self) -> String {
        let stem = match self {
            Self::Events => "events",
            Self::Stacks => "stacks",
            Self::Modules => "modules",
            Self::Symbols => "symbols",
            Self::Commands => "commands",
            Self::Marks => "marks",
            Self::Losses => "losses",
        };
        format!("{stem}.{EXTENSION}")
    }

    /// Its columns.
    #[must_use]
    pub fn fields(self) -> Fields {
        match self {
            Self::Events => events(),
            Self::Stacks => stacks(),
            Self::Modules => modules(),
            Self::Symbols => symbols(),
            Self::Commands => commands(),
            Self::Marks => marks(),
            Self::Losses => losses(),
        }
    }
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// Columns of `events` that every event has, in their order.
pub(super) mod event {
    pub(in super::super) const TIME: &str = "time_ns";
    pub(in super::super) const PID: &str = "pid";
    pub(in super::super) const TID: &str = "tid";
    pub(in super::super) const KIND: &str = "kind";
    pub(in super::super) const STACK: &str = "stack";
    pub(in super::super) const IN_ALLOCATOR: &str = "in_allocator";
}

/// Gives the macro `$then` the columns of `events` that only some kinds have, in their order;
/// the others are null there. The table of events says which kind has which.
macro_rules! event_columns {
    ($then:ident) => {
        $then! {
            function: Function = "function",
            address: u64 = "address",
            // The requested size, the length, or (resident) the counter after the change.
            size: u64 = "size",
            new_size: u64 = "new_size",
            offset: u64 = "offset",
            prot: u32 = "prot",
            flags: u64 = "flags",
            fd: i32 = "fd",
            advice: u32 = "advice",
            segment: u64 = "segment",
            errno: i32 = "errno",
            member: RssCounter = "member",
            cause: Cause = "cause",
            error_code: u16 = "error_code",
            syscall: u16 = "syscall",
            child: u32 = "child",
            shares_memory: bool = "shares_memory",
            status: u32 = "status",
            resident_peak: u64 = "resident_peak",
            virtual_peak: u64 = "virtual_peak",
            stack_size: u64 = "stack_size",
            took: u64 = "took_ns",
            user: u64 = "user_ns",
            system: u64 = "system_ns",
        }
    };
}
pub(super) use event_columns;

macro_rules! fields_of_events {
    ($($column:ident: $type:ty = $name:literal,)+) => {
        fn events() -> Fields {
            use DataType::{Boolean, UInt32, UInt64};
            Fields::from(vec![
                required(event::TIME, UInt64),
                required(event::PID, UInt32),
                required(event::TID, UInt32),
                required(event::KIND, names()),
                required(event::STACK, UInt64),
                required(event::IN_ALLOCATOR, Boolean),
                $(optional($name, <$type as Cell>::data_type()),)+
            ])
        }
    };
}
event_columns!(fields_of_events);

fn stacks() -> Fields {
    Fields::from(vec![
        required("stack", DataType::UInt64),
        required("pid", DataType::UInt32),
        required("time_ns", DataType::UInt64),
        required("end", names()),
        required("frames", DataType::List(Arc::new(frame_address()))),
    ])
}

pub(super) fn frame_address() -> Field {
    required("item", DataType::UInt64)
}

fn modules() -> Fields {
    Fields::from(vec![
        required("pid", DataType::UInt32),
        required("time_ns", DataType::UInt64),
        required("address", DataType::UInt64),
        required("size", DataType::UInt64),
        required("offset", DataType::UInt64),
        required("path", DataType::Utf8),
        required("device", DataType::UInt64),
        required("inode", DataType::UInt64),
        required("build_id", DataType::Utf8),
    ])
}

/// Symbols. With a `path`, `address` is an offset in that file and `pid` is null;
/// without one it is an address in process `pid`.
fn symbols() -> Fields {
    Fields::from(vec![
        optional("path", DataType::Utf8),
        optional("build_id", DataType::Utf8),
        optional("pid", DataType::UInt32),
        required("address", DataType::UInt64),
        required(
            "frames",
            DataType::List(Arc::new(required("item", DataType::Struct(frame())))),
        ),
    ])
}

/// One frame of a symbol.
pub(super) fn frame() -> Fields {
    Fields::from(vec![
        optional("function", DataType::Utf8),
        optional("file", DataType::Utf8),
        optional("line", DataType::UInt32),
        optional("module", DataType::Utf8),
        required("offset", DataType::UInt64),
        required("inlined", DataType::Boolean),
    ])
}

fn commands() -> Fields {
    Fields::from(vec![
        required("pid", DataType::UInt32),
        required("time_ns", DataType::UInt64),
        required("words", DataType::List(Arc::new(word()))),
    ])
}

fn marks() -> Fields {
    Fields::from(vec![
        required("time_ns", DataType::UInt64),
        required("pid", DataType::UInt32),
        required("tid", DataType::UInt32),
        required("name", DataType::Utf8),
    ])
}

/// A word of a command.
pub(super) fn word() -> Field {
    required("item", DataType::Utf8)
}

fn losses() -> Fields {
    Fields::from(vec![
        required("cause", DataType::Utf8),
        required("probe", DataType::Utf8),
        required("count", DataType::UInt64),
    ])
}
