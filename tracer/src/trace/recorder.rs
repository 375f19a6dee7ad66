//! The recording of a trace.

use super::consumer::Consumer;
use super::options::Notices;
use crate::events::{Captured, Command, Event, Lost, Mark, Module};
use crate::recording::{Error, Limits, ResolvedAddress, Writer};
use crate::units::Nanos;
use anyhow::{Context, Result, bail};

/// Writes down what it is told. A disk that fills up is told once; from then on events are counted
/// that could not be written.
pub struct Recorder {
    writer: Writer,
    notices: Notices,
}

impl Recorder {
    /// Writes to `writer`.
    #[must_use]
    pub fn new(writer: Writer, notices: Notices) -> Self {
        Self { writer, notices }
    }

    /// Names for what the stacks point to.
    pub fn symbols(&mut self, symbols: &[ResolvedAddress]) {
        for symbol in symbols {
            let written = self.writer.push_symbol(symbol);
            self.tell_failure(written);
        }
    }

    /// Writes what waits to be: every event that was told can then be read.
    pub fn flush(&mut self) {
        let written = self.writer.flush();
        self.tell_failure(written);
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// If a part of it could not be written: what there is can be read.
    pub fn finish(mut self, limits: Limits, losses: &[Lost]) -> Result<()> {
        self.writer.note_limits(limits);
        // Only then the number of events that found no room is final.
        self.flush();
        let not_written = self.writer.not_written();
        let dir = self.writer.dir().display().to_string();
        let finished = self.writer.finish(losses);
        if not_written > 0 {
            bail!(
                "{not_written} events could not be written to {dir}; `tracer report` makes reports \
                 of the rest"
            );
        }
        finished.context("the recording has no end").map(drop)
    }

    /// The writer says a failure once, and counts from then on.
    fn tell_failure(&self, written: Result<(), Error>) {
        if let Err(error) = written {
            self.notices
                .tell(format_args!("the recording ends here: {error}"));
        }
    }
}

impl Consumer for Recorder {
    fn event(&mut self, event: &Event) {
        let written = self.writer.push(event);
        self.tell_failure(written);
    }

    fn stack(&mut self, stack: &Captured) {
        let written = self.writer.push_stack(stack);
        self.tell_failure(written);
    }

    fn module(&mut self, module: &Module) {
        let written = self.writer.push_module(module);
        self.tell_failure(written);
    }

    fn command(&mut self, command: &Command) {
        let written = self.writer.push_command(command);
        self.tell_failure(written);
    }

    fn mark(&mut self, mark: &Mark) {
        let written = self.writer.push_mark(mark);
        self.tell_failure(written);
    }

    /// A target that idles must not keep its last batch from the disk.
    fn idle(&mut self) {
        let written = self.writer.tick(Nanos::now());
        self.tell_failure(written);
    }
}
