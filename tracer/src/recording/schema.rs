//! The only place with the names and types of files, columns and metadata.

use crate::events::{Cause, Function, Member, StackEnd};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use std::sync::Arc;
use tracer_ebpf::Kind;

use super::Meta;

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
    /// One cause of loss a row; written last.
    Losses,
}

impl Stream {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Events,
        Self::Stacks,
        Self::Modules,
        Self::Symbols,
        Self::Commands,
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
            Self::Losses => losses(),
        }
    }

    /// Its columns and what the recording says about itself.
    pub(super) fn schema(self, meta: &Meta) -> SchemaRef {
        Arc::new(Schema::new_with_metadata(self.fields(), meta.to_metadata()))
    }
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// A column of few distinct names. The key is signed because pandas wants it so.
pub(super) fn names() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
}

/// Position of each column of `events`.
pub(super) mod event {
    pub(in super::super) const TIME: usize = 0;
    pub(in super::super) const PID: usize = 1;
    pub(in super::super) const TID: usize = 2;
    pub(in super::super) const KIND: usize = 3;
    pub(in super::super) const STACK: usize = 4;
    pub(in super::super) const IN_ALLOCATOR: usize = 5;
    pub(in super::super) const FUNCTION: usize = 6;
    pub(in super::super) const ADDRESS: usize = 7;
    pub(in super::super) const SIZE: usize = 8;
    pub(in super::super) const NEW_SIZE: usize = 9;
    pub(in super::super) const OFFSET: usize = 10;
    pub(in super::super) const PROT: usize = 11;
    pub(in super::super) const FLAGS: usize = 12;
    pub(in super::super) const FD: usize = 13;
    pub(in super::super) const ADVICE: usize = 14;
    pub(in super::super) const SEGMENT: usize = 15;
    pub(in super::super) const ERRNO: usize = 16;
    pub(in super::super) const MEMBER: usize = 17;
    pub(in super::super) const CAUSE: usize = 18;
    pub(in super::super) const ERROR_CODE: usize = 19;
    pub(in super::super) const SYSCALL: usize = 20;
    pub(in super::super) const CHILD: usize = 21;
    pub(in super::super) const SHARES_MEMORY: usize = 22;
    pub(in super::super) const STATUS: usize = 23;
    pub(in super::super) const RESIDENT_PEAK: usize = 24;
    pub(in super::super) const VIRTUAL_PEAK: usize = 25;
    pub(in super::super) const STACK_SIZE: usize = 26;
    pub(in super::super) const TOOK: usize = 27;
    pub(in super::super) const USER: usize = 28;
    pub(in super::super) const SYSTEM: usize = 29;
}

/// Events. A column that an event has no use for is null in its row; `size` is
/// the requested size, the length, or (resident) the counter after the change.
fn events() -> Fields {
    use DataType::{Boolean, Int32, UInt16, UInt32, UInt64};
    Fields::from(vec![
        required("time_ns", UInt64),
        required("pid", UInt32),
        required("tid", UInt32),
        required("kind", names()),
        required("stack", UInt64),
        required("in_allocator", Boolean),
        optional("function", names()),
        optional("address", UInt64),
        optional("size", UInt64),
        optional("new_size", UInt64),
        optional("offset", UInt64),
        optional("prot", UInt32),
        optional("flags", UInt64),
        optional("fd", Int32),
        optional("advice", UInt32),
        optional("segment", UInt64),
        optional("errno", Int32),
        optional("member", names()),
        optional("cause", names()),
        optional("error_code", UInt16),
        optional("syscall", UInt16),
        optional("child", UInt32),
        optional("shares_memory", Boolean),
        optional("status", UInt32),
        optional("resident_peak", UInt64),
        optional("virtual_peak", UInt64),
        optional("stack_size", UInt64),
        optional("took_ns", UInt64),
        optional("user_ns", UInt64),
        optional("system_ns", UInt64),
    ])
}

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

/// Kinds of events by name, in the order of their numbers from [`Kind::Alloc`] on.
pub const KINDS: [(&str, Kind); 23] = [
    ("alloc", Kind::Alloc),
    ("free", Kind::Free),
    ("realloc_enter", Kind::ReallocEnter),
    ("realloc_exit", Kind::ReallocExit),
    ("map", Kind::Map),
    ("unmap", Kind::Unmap),
    ("remap_enter", Kind::RemapEnter),
    ("remap_exit", Kind::RemapExit),
    ("break", Kind::Break),
    ("advise", Kind::Advise),
    ("shm_attach", Kind::ShmAttach),
    ("shm_detach", Kind::ShmDetach),
    ("returned", Kind::Returned),
    ("resident", Kind::Resident),
    ("fork", Kind::Fork),
    ("exec", Kind::Exec),
    ("exit", Kind::Exit),
    ("began", Kind::Began),
    ("check_begin", Kind::CheckBegin),
    ("present", Kind::Present),
    ("check_end", Kind::CheckEnd),
    ("usage", Kind::Usage),
    ("written", Kind::Written),
];

/// Functions of the malloc family, in the order of their numbers from 1 on.
pub(super) const FUNCTIONS: [(&str, Function); 10] = [
    ("malloc", Function::Malloc),
    ("calloc", Function::Calloc),
    ("realloc", Function::Realloc),
    ("reallocarray", Function::ReallocArray),
    ("posix_memalign", Function::PosixMemalign),
    ("aligned_alloc", Function::AlignedAlloc),
    ("memalign", Function::Memalign),
    ("valloc", Function::Valloc),
    ("pvalloc", Function::Pvalloc),
    ("free", Function::Free),
];

/// Counters of resident memory, in the order of their numbers from 0 on.
pub(super) const MEMBERS: [(&str, Member); 5] = [
    ("file", Member::File),
    ("anon", Member::Anon),
    ("swap", Member::Swap),
    ("shmem", Member::Shmem),
    ("hugetlb", Member::HugeTlb),
];

/// Causes of a change of them, from 1 on.
pub(super) const CAUSES: [(&str, Cause); 6] = [
    ("user_fault", Cause::UserFault),
    ("kernel_fault", Cause::KernelFault),
    ("syscall", Cause::Syscall),
    ("remote", Cause::Remote),
    ("end", Cause::End),
    ("kernel", Cause::Kernel),
];

/// Ends of a stack walk, from 1 on.
pub(super) const STACK_ENDS: [(&str, StackEnd); 8] = [
    ("complete", StackEnd::Complete),
    ("cut", StackEnd::Cut),
    ("frame_pointers", StackEnd::FramePointers),
    ("no_table", StackEnd::NoTable),
    ("unreadable", StackEnd::Unreadable),
    ("unsupported", StackEnd::Unsupported),
    ("empty", StackEnd::Empty),
    ("copy_ends", StackEnd::CopyEnds),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_their_numbers() {
        assert!(
            KINDS
                .iter()
                .zip(2..)
                .all(|(&(_, kind), n)| kind as u16 == n)
        );
        assert!(
            FUNCTIONS
                .iter()
                .zip(1..)
                .all(|(&(_, function), n)| function as u32 == n)
        );
        assert!(
            MEMBERS
                .iter()
                .zip(0..)
                .all(|(&(_, member), n)| member as u16 == n)
        );
        assert!(
            CAUSES
                .iter()
                .zip(1..)
                .all(|(&(_, cause), n)| cause as u16 == n)
        );
        assert!(
            STACK_ENDS
                .iter()
                .zip(1..)
                .all(|(&(_, end), n)| end as u16 == n)
        );
        assert_eq!(KINDS.len() as u32 + 2, tracer_ebpf::KINDS);
    }

    #[test]
    fn event_columns_stand_where_their_constants_say() {
        let fields = Stream::Events.fields();
        let at = |n: usize| fields[n].name().as_str();
        assert_eq!(at(event::TIME), "time_ns");
        assert_eq!(at(event::IN_ALLOCATOR), "in_allocator");
        assert_eq!(at(event::NEW_SIZE), "new_size");
        assert_eq!(at(event::SEGMENT), "segment");
        assert_eq!(at(event::MEMBER), "member");
        assert_eq!(at(event::SYSCALL), "syscall");
        assert_eq!(at(event::VIRTUAL_PEAK), "virtual_peak");
        assert_eq!(at(event::STACK_SIZE), "stack_size");
        assert_eq!(at(event::SYSTEM), "system_ns");
        assert_eq!(fields.len(), event::SYSTEM + 1);
    }
}
