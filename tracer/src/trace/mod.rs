//! The trace engine: what is traced gets its probes, and what they send is told to whoever
//! consumes it, while it runs.
//!
//! - A [`Subject`] is what to trace, with what its files say;
//! - a [`Session`] is the probes on it, and keeps them there whatever it loads or executes;
//! - a `Collector` is the thread that takes in what the probes send, in order and as fast as it
//!   comes. It completes what the programs could not know: stacks that waited for a table
//!   (`deferred`, their bytes in `copies`), pages that no event tells of (`checks`), lengths of
//!   shared memory (`segments`);
//! - a [`Consumer`] is who is told: a [`Recorder`], a [`Live`] ledger, a test;
//! - a [`Trace`] is all of it around a command.

mod checks;
mod collector;
mod command;
mod consumer;
mod copies;
mod deferred;
mod live;
mod load;
mod options;
mod recorder;
mod segments;
mod session;
mod subject;

pub use collector::Collected;
pub use command::{Finished, Running, Trace};
pub use consumer::Consumer;
pub use live::{Live, Progress, View};
pub use options::{Follow, Notices, Options};
pub use recorder::Recorder;
pub use session::{Detaching, Session, unwatched};
pub use subject::Subject;
