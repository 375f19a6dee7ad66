//! The process that reads.

use super::sandbox;
use super::wire::{Answer, Order, Wire};
use crate::files::{BuildId, Elf, Source};
use crate::symbols::debug_files::DebugFiles;
use crate::symbols::reason::Reason;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Reads files for the process at the other end of a socket, until that closes it. Capabilities are
/// the caller's to give up; what else reading does without is given up here.
///
/// # Errors
/// Where the socket fails.
pub fn serve(socket: UnixStream) -> io::Result<()> {
    let wire = Wire::new(socket);
    if let Err(error) = sandbox::enter() {
        return wire.send(&Answer::Refused(error.to_string()), None);
    }
    loop {
        let (order, file) = match wire.receive() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            received => received?,
        };
        let (Order::Read(wanted), Some(file)) = (order, file) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let named = match Source::of(file) {
            Ok(source) => wanted.read(source, &mut Asked(&wire)),
            Err(_) => Err(Reason::FileUnreadable),
        };
        wire.send(&Answer::Done(named), None)?;
    }
}

/// Files that the other end opens.
struct Asked<'w>(&'w Wire);

impl Asked<'_> {
    fn ask(&mut self, answer: &Answer) -> Option<Elf> {
        self.0.send(answer, None).ok()?;
        let (order, file) = self.0.receive().ok()?;
        match order {
            Order::Here => Elf::parse(Source::of(file?).ok()?).ok(),
            Order::Read(_) => None,
        }
    }
}

impl DebugFiles for Asked<'_> {
    fn open(&mut self, path: &Path) -> Option<Elf> {
        self.ask(&Answer::Open(path.to_str()?.to_owned()))
    }

    fn cached(&mut self, id: &BuildId) -> Option<Elf> {
        self.ask(&Answer::Cached(id.clone()))
    }

    fn fetch(&mut self, id: &BuildId) -> Option<Elf> {
        self.ask(&Answer::Fetch(id.clone()))
    }
}
