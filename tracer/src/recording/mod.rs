//! The recording: a directory of standard Arrow IPC streams.
//!
//! Everything after it is a pure function of it: no root, no kernel. pyarrow
//! and polars open the files as they are, DuckDB through pyarrow.
//!
//! | file | row |
//! |---|---|
//! | `events.arrows` | one [`Event`](crate::events::Event), in the order in which the kernel side sent it |
//! | `stacks.arrows` | one [`Captured`](crate::events::Captured) stack: addresses, no names |
//! | `modules.arrows` | one [`Module`](crate::events::Module) mapped executable into a process |
//! | `symbols.arrows` | one [`ResolvedAddress`]: a code address and the frames it stands for |
//! | `commands.arrows` | one [`Command`](crate::events::Command): what a process executed, and when |
//! | `losses.arrows` | one [`Lost`](crate::events::Lost): cause, probe, count; written last |
//!
//! The extension is `.arrows` because that is what the Arrow specification
//! recommends for the IPC *streaming* format (`.arrow` is the file format with a
//! footer, which a crash would leave without its index):
//! <https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format>.
//!
//! A crash loses at most the last batch ([`BATCH_ROWS`] events or
//! [`BATCH_TIME`], whichever comes first). A recording is *complete* when every
//! stream ends with Arrow's end-of-stream mark, losses included; one that is not
//! is still readable up to its last whole batch.

mod cells;
mod decode;
mod encode;
mod error;
mod frame;
mod guard;
mod layout;
mod limits;
mod meta;
mod output;
mod reader;
pub mod schema;
mod tables;
mod writer;

pub use error::Error;
pub use frame::Frame;
pub use limits::{Cgroup, Limits, Shortage};
pub use meta::Meta;
pub use reader::{Events, Recording, Rows};
pub use tables::{CodeAddress, ResolvedAddress};
pub use writer::{BATCH_ROWS, BATCH_TIME, Finished, Writer};

#[cfg(test)]
mod tests;
