//! A command with probes on it, for tests and benchmarks that look at what the programs send.

use std::ffi::OsString;
use std::path::PathBuf;
use tracer::probes::attach::{self, Attached, Link, Mechanism, Scope};
use tracer::probes::kernel::Kernel;
use tracer::probes::load::{Loaded, Options, Preparation, TargetState};
use tracer::probes::objects::Finder;
use tracer::probes::ring::Ring;
use tracer::target::{Command, Environment, Launch};
use tracer::units::Pid;
use tracer::unwind::{Keeper, Known};

/// A command that waits to be released, all probes on.
// Each test and benchmark compiles this for itself, and none needs all of it.
#[allow(dead_code)]
pub(crate) struct Probed {
    pub(crate) pid: Pid,
    pub(crate) loaded: Loaded,
    pub(crate) ring: Ring,
    pub(crate) known: Known,
    pub(crate) launch: Launch,
    /// To be ended by [`detach`].
    pub(crate) probes: (Vec<Link>, Keeper),
}

impl Probed {
    /// Launches `words`, with probes for what `target` needs (it may run in a shell), and with
    /// tables of `others` made beforehand.
    pub(crate) fn new(
        words: &[OsString],
        target: &[OsString],
        others: &[PathBuf],
        options: Options,
    ) -> Self {
        let environment = Environment::current();
        let command = |words| Command::new(words).expect("a program");
        let mut found = Finder::default()
            .command(&command(target), &environment)
            .expect("an x86-64 program");
        found.files.extend_from_slice(others);
        let preparation = Preparation::start();
        let kernel = Kernel::probe().expect("needs root");
        let mechanism = Mechanism::of_this_kernel().expect("uprobes");
        let options = Options {
            uprobes: Some(mechanism),
            ..options
        };
        let mut loaded =
            Loaded::load(preparation, &kernel, options).unwrap_or_else(|error| panic!("{error}"));
        let mut tables = loaded.tables().expect("taken once");
        let known = tables.known();
        let prepared = tables.add_files(&found.files).expect("tables load");
        let keeper = Keeper::start(tables, prepared).expect("a thread");
        let launch = Launch::new(&command(words), &environment).expect("a waiting child");
        let pid = launch.pid();
        loaded
            .add_target(pid, TargetState::Waiting)
            .expect("a target");
        loaded.attach(&kernel).expect("tracepoints");
        let programs = loaded.uprobes().expect("uprobe programs");
        let mut links = Vec::new();
        for object in &found.objects {
            let Attached { links: new, failed } =
                attach::attach(mechanism, &programs, object, Scope::Process(pid));
            assert!(failed.is_empty(), "{failed:?}");
            links.extend(new);
        }
        Self {
            pid,
            ring: loaded.ring().expect("taken once"),
            loaded,
            known,
            launch,
            probes: (links, keeper),
        }
    }
}

/// Takes the probes off.
pub(crate) fn detach((links, keeper): (Vec<Link>, Keeper)) {
    attach::detach(links);
    keeper.finish().expect("tables load");
}
