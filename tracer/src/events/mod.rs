//! What the probes saw, in the order in which the kernel side sent it.
//!
//! This is the one type that flows: `probes` decodes it from the ring buffer,
//! `recording` stores it and reads it back, `ledger` replays it. Its kinds stand
//! in one table; [`tracer_ebpf::Kind`] says when those that the ring buffer
//! carries are sent. Only stacks ([`Captured`]) and marks ([`Mark`]) go their own way. A few are not
//! the probes': the tracer itself writes what it read of the process.

mod losses;
mod table;

use crate::files::{BuildId, FileId, Identity, Mapping};
use crate::units::{Address, Bytes, Nanos, Pid, StackId, Tid};
pub use losses::{LossCause, Lost};
pub(crate) use table::event_table;
pub use tracer_ebpf::{Cause, Function, KernelCounts, Loss, Named, RssCounter, StackEnd};

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time at which it happened.
    pub time: Nanos,
    /// Process that it belongs to.
    pub pid: Pid,
    /// Thread that did it.
    pub tid: Tid,
    /// Stack that did it.
    pub stack: StackId,
    /// Whether it happened inside a call of the malloc family.
    pub in_allocator: bool,
    /// What happened.
    pub body: Body,
}

/// Makes [`Body`] and [`Kind`] of the table of events.
macro_rules! define {
    ($(
        $(#[$doc:meta])*
        $kind:ident $name:literal ($($record:ident)?) $({$(
            $(#[$of:meta])*
            $field:ident: $type:ty as ($($column:ident),+),
        )*})?
    )+) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Body {
            $($(#[$doc])* $kind $({ $($(#[$of])* $field: $type,)* })?,)+
        }

        /// What kind of event it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "Body says what they are")]
        pub enum Kind {
            $($kind,)+
        }

        impl Named for Kind {
            const ALL: &'static [Self] = &[$(Self::$kind),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
event_table!(define);

/// A stack as it was captured: addresses, no names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The id that events name it by.
    pub id: StackId,
    /// Process in which it was first seen; its addresses mean this process's modules.
    pub pid: Pid,
    /// When it was first seen.
    pub time: Nanos,
    /// How the walk ended.
    pub end: StackEnd,
    /// Innermost first. The first is an instruction pointer (within the instruction that made a
    /// system call, one byte before the pointer), the others return addresses.
    pub frames: Vec<Address>,
}

/// A file (or a named area such as `[vdso]`) mapped executable into a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Process that it belongs to.
    pub pid: Pid,
    /// Time from which on this holds.
    pub time: Nanos,
    /// Address of its first byte.
    pub address: Address,
    /// Length in bytes.
    pub length: Bytes,
    /// Offset in the file.
    pub offset: u64,
    /// Path as the target sees it, or `[vdso]`, `//anon`, ….
    pub path: String,
    /// Which file it was, to tell whether the path still leads to it.
    pub identity: Identity,
}

impl Module {
    /// What is mapped, to be opened.
    #[must_use]
    pub fn mapping(&self) -> Mapping<'_> {
        let begin = self.address.0;
        Mapping {
            pid: self.pid.0,
            range: begin..begin.saturating_add(self.length.0),
            path: &self.path,
            identity: self.identity.clone(),
        }
    }

    /// Its device and inode, if it is a file that has them.
    #[must_use]
    pub fn file(&self) -> Option<FileId> {
        self.identity.file
    }

    /// Its build-id, if it is a file that has one.
    #[must_use]
    pub fn build_id(&self) -> Option<&BuildId> {
        self.identity.build_id.as_ref()
    }
}

/// What a process executes, from one moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The process.
    pub pid: Pid,
    /// Time from which on this holds.
    pub time: Nanos,
    /// The program and its arguments, as the process was given them; the program's path
    /// alone where it was over before they could be read.
    pub words: Vec<String>,
}

/// A moment that the program named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When: what the thread did before is before it, and what it does after, after it.
    pub time: Nanos,
    /// Process that named it.
    pub pid: Pid,
    /// Its thread.
    pub tid: Tid,
    /// The name: 83 bytes at most, and whatever the program wrote there.
    pub name: String,
}

/// Something that was less exact on the machine of the recording than it is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Degraded {
    /// Its name, in snake case; `docs/machines.md` lists them.
    pub name: String,
    /// What is less exact, and by how much.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_ring_buffer_carries_is_in_the_table_under_its_name() {
        for &sent in tracer_ebpf::Kind::ALL {
            let known = Kind::from_name(sent.name()).is_some();
            let goes_its_own_way = [tracer_ebpf::Kind::Stack, tracer_ebpf::Kind::Mark];
            assert_eq!(known, !goes_its_own_way.contains(&sent), "{sent:?}");
        }
    }
}
