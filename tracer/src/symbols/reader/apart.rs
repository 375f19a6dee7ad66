//! The tracer's side of the process that reads.

use super::named::{Named, Wanted};
use super::wire::{Answer, Order, Wire};
use crate::files::{Elf, Source};
use crate::symbols::debug_files::DebugFiles;
use crate::symbols::demangle::escape;
use crate::symbols::reason::Reason;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long nothing may be heard of it. Each file has its own limits of work, which take some
/// seconds at most.
const PATIENCE: Duration = Duration::from_secs(120);

/// Files that it may ask for while it reads one: a program may have been split into thousands.
const MAX_ASKED: usize = 20_000;

/// A process that reads files.
#[derive(Debug)]
pub(crate) struct Apart {
    program: Vec<OsString>,
    running: Option<Running>,
    warnings: Vec<String>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    wire: Wire,
}

impl Apart {
    pub(super) fn new(program: Vec<OsString>) -> Self {
        Self {
            program,
            running: None,
            warnings: Vec::new(),
        }
    }

    /// What went wrong, a line each.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Names offsets of a file. What brings the process down is read once more, for its symbols
    /// alone.
    pub(super) fn read(
        &mut self,
        source: &Source,
        wanted: &Wanted,
        files: &mut dyn DebugFiles,
    ) -> Result<Named, Reason> {
        match self.ask(source, wanted, files) {
            Ok(named) => named,
            Err(error) if wanted.debug => {
                self.note(wanted, &error, "functions without lines");
                let symbols = Wanted {
                    debug: false,
                    ..wanted.clone()
                };
                self.read(source, &symbols, files)
            }
            Err(error) => {
                self.note(wanted, &error, "addresses without names");
                Err(Reason::ReaderFailed)
            }
        }
    }

    fn ask(
        &mut self,
        source: &Source,
        wanted: &Wanted,
        files: &mut dyn DebugFiles,
    ) -> Result<Result<Named, Reason>, String> {
        if self.running.is_none() {
            let started = start(&self.program);
            self.running = Some(started.map_err(|error| format!("can't be started: {error}"))?);
        }
        let Some(mut running) = self.running.take() else {
            return Err("is not there".to_owned());
        };
        match converse(&running.wire, source, wanted, files) {
            Ok(answer) => {
                self.running = Some(running);
                Ok(answer)
            }
            Err(error) => Err(running.end(&error)),
        }
    }

    fn note(&mut self, wanted: &Wanted, error: &str, left: &str) {
        let warning = format!(
            "{}: the process that reads its names {error}; it has {left}",
            wanted.name
        );
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

impl Running {
    /// Ends it, and says what was wrong with it.
    fn end(&mut self, error: &io::Error) -> String {
        let silent = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        if silent.contains(&error.kind()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            return format!("did not answer for {} s", PATIENCE.as_secs());
        }
        // It has said itself what is wrong, or did what none does that is right.
        if error.kind() == io::ErrorKind::Other {
            let _ = self.child.kill();
            let _ = self.child.wait();
            return error.to_string();
        }
        // The socket of one that ends is closed before it can be waited for. Any other one does not
        // end by itself: it talks nonsense.
        let ends = [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
        ];
        if !ends.contains(&error.kind()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            return format!("failed ({error})");
        }
        match self.child.wait() {
            Ok(status) => format!("ended ({status})"),
            Err(_) => format!("failed ({error})"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is between two files, and would end by itself once its socket closes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(program: &[OsString]) -> io::Result<Running> {
    let (here, there) = UnixStream::pair()?;
    let (path, arguments) = program.split_first().ok_or(io::ErrorKind::NotFound)?;
    let child = Command::new(path)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(there)))
        .stdout(nowhere()?)
        .stderr(nowhere()?)
        // Signals of the terminal are the tracer's to act on.
        .process_group(0)
        .spawn()?;
    let wire = Wire::new(here);
    wire.wait_at_most(PATIENCE)?;
    Ok(Running { child, wire })
}

/// A stream that takes nothing. There need not be a `/dev/null`: a chroot may have no `/dev`.
fn nowhere() -> io::Result<Stdio> {
    let (_, writer) = io::pipe()?;
    Ok(writer.into())
}

/// Has a file read, and opens what is asked for meanwhile.
fn converse(
    wire: &Wire,
    source: &Source,
    wanted: &Wanted,
    files: &mut dyn DebugFiles,
) -> io::Result<Result<Named, Reason>> {
    // What is sent is copied: a message and its file are made together.
    wire.send(&Order::Read(wanted.clone()), Some(&file_of(source)?))?;
    for _ in 0..MAX_ASKED {
        let found = match wire.receive::<Answer>()?.0 {
            Answer::Done(named) => return Ok(named.map(|named| checked(named, wanted))),
            Answer::Refused(why) => {
                let why = format!("can't be confined: {}", escape(&why));
                return Err(io::Error::other(why));
            }
            // Only ELF files are handed over: whoever has taken the reader over can read no other.
            Answer::Open(path) => files.open(Path::new(&path)),
            Answer::Cached(id) => files.cached(&id),
            Answer::Fetch(id) => files.fetch(&id),
        };
        let file = found.map(|elf: Elf| file_of(elf.source())).transpose()?;
        wire.send(&Order::Here, file.as_ref())?;
    }
    Err(io::Error::other("asked for too many files"))
}

/// A descriptor of the bytes.
fn file_of(source: &Source) -> io::Result<File> {
    match source {
        Source::File(file, _) => file.try_clone(),
        Source::Memory(bytes) => {
            let mut file = File::from(memfd_create("image", MFdFlags::MFD_CLOEXEC)?);
            file.write_all(bytes)?;
            Ok(file)
        }
    }
}

/// What was asked for, with nothing in it that could harm a terminal: the reader may be somebody
/// else's by now.
fn checked(named: Named, wanted: &Wanted) -> Named {
    let asked: BTreeSet<u64> = wanted.offsets.iter().copied().collect();
    let known = named
        .into_iter()
        .filter(|(offset, frames)| asked.contains(offset) && !frames.is_empty());
    known
        .map(|(offset, mut frames)| {
            for frame in &mut frames {
                let texts = [&mut frame.function, &mut frame.file, &mut frame.module];
                for text in texts.into_iter().flatten() {
                    *text = escape(text);
                }
            }
            (offset, frames)
        })
        .collect()
}
