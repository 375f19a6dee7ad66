//! The process that reads files for their names; the tracer starts it itself.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use tracer::symbols;
use tracer::tracee::Capabilities;
use tracer::tracee::capabilities::keep_only;

/// Reads files for the process at the other end of the socket that is its standard input.
pub(crate) fn names() -> anyhow::Result<u8> {
    keep_only(Capabilities::NONE)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    symbols::serve(UnixStream::from(socket))?;
    Ok(0)
}
