//! How a trace is done.

use crate::probes::load::Stacks;
use crate::symbols::Naming;
use crate::tracee::{Capabilities, capabilities};
use crate::units::Bytes;
use crate::unwind::Cache;
use std::fmt::{self, Debug, Display};
use std::sync::Arc;

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The malloc family, mappings and page faults.
    Heap,
    /// Mappings and page faults; nothing of the program is probed.
    Pages,
}

impl Follow {
    /// How recordings call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Pages => "pages",
        }
    }
}

/// How a trace is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is followed.
    pub follow: Follow,
    /// Room for events; as large as memory allows where nothing is said.
    pub ring: Option<Bytes>,
    /// Where unwind tables are kept for the next trace.
    pub cache: Option<Cache>,
    /// All other capabilities are given up once the programs are loaded; nothing is where nothing
    /// is said.
    pub kept: Option<Capabilities>,
    /// Who reads files for their names.
    pub naming: Naming,
    /// How stacks are taken.
    pub stacks: Stacks,
    /// Whether a copy of the stack comes with every stack, for checking one unwinder against
    /// another.
    pub copy_all: bool,
    /// Who is told what does not stop the trace.
    pub notices: Notices,
}

impl Options {
    /// A trace as users get it, which gives up nothing and keeps no tables.
    #[must_use]
    pub fn new(follow: Follow, notices: Notices) -> Self {
        Self {
            follow,
            ring: None,
            cache: None,
            kept: None,
            naming: Naming::Here,
            stacks: Stacks::Tables,
            copy_all: false,
            notices,
        }
    }
}

/// Who is told, in a sentence each, what does not stop the work and makes it less complete.
#[derive(Clone)]
pub struct Notices(Arc<Tell>);

type Tell = dyn Fn(&dyn Display) + Send + Sync;

impl Notices {
    /// They are told by this function, from any thread.
    pub fn to(tell: impl Fn(&dyn Display) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Tells one.
    pub fn tell(&self, notice: impl Display) {
        (self.0)(&notice);
    }

    /// Gives up every capability but these, for this thread and those that it starts from now on.
    /// What can't be given up is told.
    pub fn give_up(&self, kept: Capabilities) {
        if let Err(error) = capabilities::keep_only(kept) {
            self.tell(format_args!("can't give up privileges: {error}"));
        }
    }
}

impl Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
}
