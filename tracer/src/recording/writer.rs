//! Writing a recording while the target runs.

use super::encode::Encoder;
use super::output::Output;
use super::schema::Stream;
use super::tables::{self, Columns, ResolvedAddress};
use super::{Error, Limits, Meta};
use crate::events::{Captured, Command, Event, LossCause, Lost, Mark, Module};
use crate::units::Nanos;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Events in a batch at most.
pub const BATCH_ROWS: usize = 1 << 16;

/// Age, by the clock of the events, at which a smaller batch is written.
pub const BATCH_TIME: Duration = Duration::from_secs(1);

/// Rows of the other streams in a batch at most.
const TABLE_ROWS: usize = 4096;

/// Writes a recording.
///
/// The first failure (a full disk, say) is returned by the call that meets it.
/// From then on nothing is written; events and rows are counted instead, and
/// [`finish`](Self::finish) says how many.
pub struct Writer {
    dir: PathBuf,
    meta: Meta,
    encoder: Encoder,
    pub(super) events: Output,
    stacks: Table<Captured>,
    modules: Table<Module>,
    symbols: Table<ResolvedAddress>,
    commands: Table<Command>,
    marks: Table<Mark>,
    written: u64,
    not_written: u64,
    failed: bool,
}

/// What became of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Events in it.
    pub events: u64,
    /// Events that are not, because a write failed.
    pub not_written: u64,
    /// Size of its files, where everything was written.
    pub bytes: u64,
}

impl Writer {
    /// Creates the recording's directory and files. An earlier recording in that
    /// directory is replaced.
    ///
    /// # Errors
    /// [`Error::Foreign`] if the directory holds anything else, [`Error::Io`] if a file
    /// can't be created.
    pub fn create(dir: &Path, meta: &Meta) -> Result<Self, Error> {
        make_room(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            meta: meta.clone(),
            encoder: Encoder::new(Arc::new(meta.schema(Stream::Events))),
            events: Output::create(dir, Stream::Events, meta)?,
            stacks: Table::create(dir, meta)?,
            modules: Table::create(dir, meta)?,
            symbols: Table::create(dir, meta)?,
            commands: Table::create(dir, meta)?,
            marks: Table::create(dir, meta)?,
            written: 0,
            not_written: 0,
            failed: false,
        })
    }

    /// Adds an event.
    ///
    /// # Errors
    /// If a batch was due and could not be written; once per recording.
    pub fn push(&mut self, event: &Event) -> Result<(), Error> {
        if self.failed {
            self.not_written += 1;
            return Ok(());
        }
        self.encoder.push(event);
        if self.encoder.rows() >= BATCH_ROWS || self.old(event.time) {
            return self.flush();
        }
        Ok(())
    }

    /// Writes what waits if it is old enough: call it when no event comes.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn tick(&mut self, now: Nanos) -> Result<(), Error> {
        if self.failed || !self.old(now) {
            Ok(())
        } else {
            self.flush()
        }
    }

    fn old(&self, now: Nanos) -> bool {
        let age = |since| u128::from(now.0.saturating_sub(since)) >= BATCH_TIME.as_nanos();
        self.encoder.since().is_some_and(age)
    }

    /// Adds a stack. Stacks are in the file before any event that names them.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_stack(&mut self, stack: &Captured) -> Result<(), Error> {
        let result = if self.failed {
            Ok(())
        } else {
            self.stacks.push(stack.clone())
        };
        self.noticed(result)
    }

    /// Adds a module.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_module(&mut self, module: &Module) -> Result<(), Error> {
        let result = if self.failed {
            Ok(())
        } else {
            self.modules.push(module.clone())
        };
        self.noticed(result)
    }

    /// Adds the names of a code address.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_symbol(&mut self, symbol: &ResolvedAddress) -> Result<(), Error> {
        let result = if self.failed {
            Ok(())
        } else {
            self.symbols.push(symbol.clone())
        };
        self.noticed(result)
    }

    /// Adds what a process executes.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_command(&mut self, command: &Command) -> Result<(), Error> {
        let result = if self.failed {
            Ok(())
        } else {
            self.commands.push(command.clone())
        };
        self.noticed(result)
    }

    /// Adds a moment that the program named.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_mark(&mut self, mark: &Mark) -> Result<(), Error> {
        let result = if self.failed {
            Ok(())
        } else {
            self.marks.push(mark.clone())
        };
        self.noticed(result)
    }

    /// Writes everything that waits.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.failed {
            return Ok(());
        }
        let rows = self.encoder.rows() as u64;
        let tables = self.stacks.flush().and_then(|()| self.modules.flush());
        let tables = tables.and_then(|()| self.commands.flush());
        let tables = tables.and_then(|()| self.marks.flush());
        if rows == 0 {
            return self.noticed(tables);
        }
        let batch = self.encoder.take();
        let result = tables.and_then(|()| self.events.write(&batch));
        match result {
            Ok(()) => self.written += rows,
            Err(_) => self.not_written += rows,
        }
        self.noticed(result)
    }

    fn noticed(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if result.is_err() {
            self.failed = true;
            self.not_written += self.encoder.rows() as u64;
            self.encoder.take();
        }
        result
    }

    /// Where the recording is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Notes under which limits of memory the command ran, for the end of the recording.
    pub fn note_limits(&mut self, limits: Limits) {
        self.meta.limits = Some(limits);
    }

    /// Events that could not be written so far.
    #[must_use]
    pub fn not_written(&self) -> u64 {
        self.not_written
    }

    /// Ends every stream, the losses last: only then is the recording complete.
    /// Where a write failed before, the losses are written nevertheless, with one
    /// more cause (`not_written`), and the other streams stay without their end.
    ///
    /// # Errors
    /// If the rest could not be written.
    pub fn finish(mut self, losses: &[Lost]) -> Result<Finished, Error> {
        let flushed = self.flush();
        let mut finished = Finished {
            events: self.written,
            not_written: self.not_written,
            bytes: 0,
        };
        let mut losses = losses.to_vec();
        if self.failed {
            losses.push(Lost {
                cause: LossCause::NotWritten,
                probe: "recording".to_owned(),
                count: self.not_written,
            });
        } else {
            finished.bytes += self.events.finish()?;
            finished.bytes += self.stacks.finish()?;
            finished.bytes += self.modules.finish()?;
            finished.bytes += self.symbols.finish()?;
            finished.bytes += self.commands.finish()?;
            finished.bytes += self.marks.finish()?;
        }
        let mut output = Output::create(&self.dir, Stream::Losses, &self.meta)?;
        output.write(&tables::batch(&losses))?;
        finished.bytes += output.finish()?;
        flushed.map(|()| finished)
    }
}

/// Rows of a smaller stream that wait to be written.
struct Table<R> {
    waiting: Vec<R>,
    output: Output,
}

impl<R: Columns> Table<R> {
    fn create(dir: &Path, meta: &Meta) -> Result<Self, Error> {
        Ok(Self {
            waiting: Vec::new(),
            output: Output::create(dir, R::STREAM, meta)?,
        })
    }

    fn push(&mut self, row: R) -> Result<(), Error> {
        self.waiting.push(row);
        if self.waiting.len() < TABLE_ROWS {
            Ok(())
        } else {
            self.flush()
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let batch = tables::batch(&self.waiting);
        self.waiting.clear();
        self.output.write(&batch)
    }

    fn finish(mut self) -> Result<u64, Error> {
        self.flush()?;
        self.output.finish()
    }
}

/// Makes the directory, or empties it of an earlier recording; anything else in it
/// was put there by somebody who may want it back.
fn make_room(dir: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
    let names = Stream::ALL.map(Stream::file_name);
    let mut old = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !names.contains(&name) {
            return Err(Error::Foreign {
                path: dir.to_owned(),
                entry: name,
            });
        }
        old.push(entry.path());
    }
    for path in old {
        std::fs::remove_file(&path).map_err(Error::io(&path))?;
    }
    Ok(())
}
