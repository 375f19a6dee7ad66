//! The process that reads files for their names; the tracer starts it itself.

use anyhow::bail;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use tracer::symbols;
use tracer::tracee::Capabilities;
use tracer::tracee::capabilities::keep_only;

/// Reads files for the process at the other end of the socket that is its standard input.
pub(crate) fn names() -> anyhow::Result<u8> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if socket.peer_addr().is_err() {
        bail!("read-names is started by tracer itself, which talks to it over a socket");
    }
    keep_only(Capabilities::NONE)?;
    symbols::serve(socket)?;
    Ok(0)
}
