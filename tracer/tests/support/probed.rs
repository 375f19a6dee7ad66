//! A command with probes on it, for tests and benchmarks that look at what the programs send.

use std::ffi::OsString;
use std::path::PathBuf;
use tracer::probes::ring::Ring;
use tracer::trace::{Follow, Notices, Options, Session, Subject};
use tracer::tracee::{Command, Environment, Launch};
use tracer::units::Pid;

/// A command that waits to be released, all probes on.
// Each test and benchmark compiles this for itself, and none needs all of it.
#[allow(dead_code)]
pub(crate) struct Probed {
    pub(crate) pid: Pid,
    pub(crate) ring: Ring,
    pub(crate) launch: Launch,
    /// To be ended by [`detach`].
    pub(crate) session: Session,
}

/// A trace of the heap in which everything works.
pub(crate) fn options() -> Options {
    Options::new(Follow::Heap, Notices::to(|notice| panic!("{notice}")))
}

impl Probed {
    /// Launches `words`, with probes for what `target` needs (it may run in a shell), and with
    /// tables of `others` made beforehand.
    pub(crate) fn new(
        words: &[OsString],
        target: &[OsString],
        others: &[PathBuf],
        options: &Options,
    ) -> Self {
        let command = |words| Command::new(words).expect("a program");
        let mut subject = Subject::command(command(target), Environment::current(), options.follow)
            .expect("an x86-64 program");
        subject.also_walk(others);
        let launch = Launch::new(&command(words), &Environment::current());
        let launch = launch.expect("a waiting child");
        let pid = launch.pid();
        let session = Session::start(pid, subject, options);
        let mut session = session.unwrap_or_else(|error| panic!("needs root: {error:#}"));
        Self {
            pid,
            ring: session.loaded().ring().expect("taken once"),
            launch,
            session,
        }
    }
}

/// Takes the probes off.
pub(crate) fn detach(session: Session) {
    let (detaching, kept) = session.finish();
    drop(detaching);
    kept.expect("tables load");
}
