//! Why a frame has no name, or a stack no more frames: failures as data.

use super::Frame;
use crate::events::StackEnd;
use serde::{Deserialize, Serialize};

/// What stands in place of a function. Printed in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// No stack was taken.
    NoStack,
    /// No stack: a thread of the kernel did it.
    Kernel,
    /// No stack: another process did it.
    AnotherProcess,
    /// No stack: nobody was seen to do it.
    Found,
    /// The stack's frames were lost on their way (counted among the losses).
    StackLost,
    /// The address lies in no file that was seen mapped.
    UnknownModule,
    /// The address lies in executable memory that no file backs.
    AnonymousCode,
    /// The file could no longer be found.
    FileGone,
    /// Another file stands at the path now.
    FileReplaced,
    /// The file could not be opened or read.
    FileUnreadable,
    /// The file is not a 64-bit little-endian ELF file, or a damaged one.
    NotElf,
    /// The process that reads files for their names ended over this one, or did not end.
    ReaderFailed,
    /// The stack has more frames than are kept.
    Cut,
    /// No unwind table covers an address.
    NoTable,
    /// The stack's memory could not be read.
    Unreadable,
    /// The unwind table has a rule that the walk can't follow.
    Unsupported,
    /// The chain of frame pointers ended short of a thread's entry.
    FramePointersEnd,
    /// More of the stack than was copied.
    CopyEnds,
}

impl Reason {
    /// The text, brackets included.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoStack => "[no stack]",
            Self::Kernel => "[khugepaged]",
            Self::AnotherProcess => "[another process]",
            Self::Found => "[found in pagemap]",
            Self::StackLost => "[stack lost]",
            Self::UnknownModule => "[not a known module]",
            Self::AnonymousCode => "[anonymous code]",
            Self::FileGone => "[file is gone]",
            Self::FileReplaced => "[file was replaced]",
            Self::FileUnreadable => "[file is unreadable]",
            Self::NotElf => "[not an ELF file]",
            Self::ReaderFailed => "[names could not be read]",
            Self::Cut => "[cut: too many frames]",
            Self::NoTable => "[cut: no unwind table]",
            Self::Unreadable => "[cut: stack is unreadable]",
            Self::Unsupported => "[cut: unsupported unwind rule]",
            Self::FramePointersEnd => "[cut: frame pointers end]",
            Self::CopyEnds => "[cut: the copied part ends]",
        }
    }

    /// Its name in `stats.json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoStack => "no_stack",
            Self::Kernel => "kernel",
            Self::AnotherProcess => "another_process",
            Self::Found => "found",
            Self::StackLost => "stack_lost",
            Self::UnknownModule => "unknown_module",
            Self::AnonymousCode => "anonymous_code",
            Self::FileGone => "file_gone",
            Self::FileReplaced => "file_replaced",
            Self::FileUnreadable => "file_unreadable",
            Self::NotElf => "not_elf",
            Self::ReaderFailed => "reader_failed",
            Self::Cut => "too_many_frames",
            Self::NoTable => "no_table",
            Self::Unreadable => "unreadable_stack",
            Self::Unsupported => "unsupported_rule",
            Self::FramePointersEnd => "frame_pointers_end",
            Self::CopyEnds => "copy_ends",
        }
    }

    /// Why a stack that ended this way shows no more frames; nothing where it
    /// is whole. A chain of frame pointers is whole if its outermost frame is
    /// an entry of the process or of a thread, which only names can tell:
    /// `at_entry` says so.
    #[must_use]
    pub fn of_end(end: StackEnd, at_entry: bool) -> Option<Self> {
        match end {
            StackEnd::Complete => None,
            StackEnd::FramePointers if at_entry => None,
            StackEnd::FramePointers => Some(Self::FramePointersEnd),
            StackEnd::Cut => Some(Self::Cut),
            StackEnd::NoTable => Some(Self::NoTable),
            StackEnd::Unreadable => Some(Self::Unreadable),
            StackEnd::Unsupported => Some(Self::Unsupported),
            StackEnd::Empty => Some(Self::NoStack),
            StackEnd::CopyEnds => Some(Self::CopyEnds),
        }
    }

    /// Whether it marks the end of a stack rather than a frame of it.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(
            self,
            Self::NoStack
                | Self::Kernel
                | Self::AnotherProcess
                | Self::Found
                | Self::StackLost
                | Self::Cut
                | Self::NoTable
                | Self::Unreadable
                | Self::Unsupported
                | Self::FramePointersEnd
                | Self::CopyEnds
        )
    }

    /// A frame that says so of a place: frames at different addresses are different,
    /// whatever else is not known of them.
    #[must_use]
    pub fn frame_at(self, module: Option<&str>, offset: u64) -> Frame {
        let reason = self.text().trim_end_matches(']');
        let function = match module {
            Some(module) => format!("{reason}: {module}+{offset:#x}]"),
            None => format!("{reason}: {offset:#x}]"),
        };
        Frame {
            function: Some(function),
            module: module.map(ToOwned::to_owned),
            offset,
            ..Frame::default()
        }
    }

    /// A frame that says so.
    #[must_use]
    pub fn frame(self) -> Frame {
        Frame {
            function: Some(self.text().to_owned()),
            ..Frame::default()
        }
    }

    /// Every reason.
    pub const ALL: [Self; 18] = [
        Self::NoStack,
        Self::Kernel,
        Self::AnotherProcess,
        Self::Found,
        Self::StackLost,
        Self::UnknownModule,
        Self::AnonymousCode,
        Self::FileGone,
        Self::FileReplaced,
        Self::FileUnreadable,
        Self::NotElf,
        Self::ReaderFailed,
        Self::Cut,
        Self::NoTable,
        Self::Unreadable,
        Self::Unsupported,
        Self::FramePointersEnd,
        Self::CopyEnds,
    ];
}

/// Functions below which there is nothing, whatever lies on the stack there: where
/// coroutines and the threads of Go's own scheduler begin.
pub(crate) fn is_bottom(function: &str) -> bool {
    const BOTTOMS: [&str; 8] = [
        "__start_context",
        "make_fcontext",
        "runtime.goexit",
        "runtime.goexit.abi0",
        "runtime.mstart",
        "runtime.mstart.abi0",
        "runtime.rt0_go",
        "runtime.rt0_go.abi0",
    ];
    BOTTOMS.contains(&function)
}

/// Functions at which every stack of their process or thread begins.
pub(crate) fn is_entry(function: &str) -> bool {
    const ENTRIES: [&str; 13] = [
        "_start",
        "__libc_start_main",
        "__libc_start_main_impl",
        "__libc_start_call_main",
        "libc_start_main_stage2",
        "start_thread",
        "clone",
        "__clone",
        "clone3",
        "__clone3",
        "thread_start",
        "_dl_start_user",
        "_start_c",
    ];
    ENTRIES.contains(&function)
}
