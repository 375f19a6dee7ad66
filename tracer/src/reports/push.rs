//! Profiles on their way to a database of them: Pyroscope's, or Parca's.
//!
//! Whatever is to be sent is put into a folder first, and is removed from it when the server has
//! taken it: a server that is away gets it the next time. The folder has an end; what no longer
//! fits is told.

mod client;
mod server;
mod spool;
#[cfg(test)]
mod tests;
mod upload;

pub use client::{Patience, Sent};
pub use server::{Server, ServerError};
pub use spool::{Spool, default_dir};
pub use upload::Upload;
