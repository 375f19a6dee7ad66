//! A command under its probes, from its launch to its end.

use super::collector::{Collected, Collector, Streams};
use super::consumer::Consumer;
use super::deferred::Deferred;
use super::options::{Follow, Notices, Options};
use super::session::{Detaching, Session, unwatched};
use super::subject::Subject;
use crate::events::{Body, Event};
use crate::probes::modules::Watcher;
use crate::recording::{Cgroup, Limits};
use crate::tracee::cgroup::{self, Watch};
use crate::tracee::{Ended, Guard, Launch, LaunchError, Signals, Target, User};
use crate::units::{Nanos, Pid, StackId, Tid};
use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::time::Duration;

/// How soon a file that the target maps is looked at for an allocator, and how soon the end of
/// processes that outlive the command is seen.
const LOOK: Duration = Duration::from_millis(20);

/// A command that waits to be released, all probes on it.
pub struct Trace<C> {
    launch: Launch,
    probes: Probes<C>,
}

/// What is on it.
struct Probes<C> {
    session: Session,
    collector: Collector<C>,
    /// Continues the command should we be killed while we hold it.
    _guard: Option<Guard>,
    notices: Notices,
}

/// A command that runs under its probes.
pub struct Running<C> {
    target: Target,
    pid: Pid,
    probes: Probes<C>,
    watch: Watch,
}

/// What a trace leaves behind.
pub struct Finished<C> {
    /// What was collected.
    pub collected: Result<Collected<C>>,
    /// Limits of memory that the command ran under.
    pub limits: Limits,
    /// The probes, which take a while to come off.
    pub detaching: Detaching,
}

impl<C: Consumer + 'static> Trace<C> {
    /// Launches the command, as `user` if one is named, and attaches everything. It does not run
    /// yet. `consumer` is asked for who is told, once it is known what is less exact here.
    ///
    /// # Errors
    /// A [`Lack`](crate::probes::machine::Lack) where the machine is the reason.
    pub fn start(
        subject: Subject,
        user: Option<&User>,
        options: &Options,
        consumer: impl FnOnce(&Session) -> Result<C>,
    ) -> Result<Self> {
        let launch = Launch::as_user(&subject.command, &subject.environment, user)
            .context("can't start the command")?;
        let pid = launch.pid();
        let guard = match options.follow {
            Follow::Heap => Some(Guard::start(pid).context("can't start the guard")?),
            Follow::Pages => None,
        };
        // The kernel lets it wait for a grace period: the programs are verified meanwhile.
        let watcher = std::thread::spawn(move || Watcher::new(pid));
        let session = Session::start(pid, subject, options);
        let watcher = watcher.join().unwrap_or_else(|panic| resume_unwind(panic));
        let mut session = session?;
        let modules = watcher.map_err(unwatched)?;
        let consumer = consumer(&session)?;
        let collector =
            Collector::start(streams(&mut session, modules)?, consumer, &options.naming)?;
        Ok(Self {
            launch,
            probes: Probes {
                session,
                collector,
                _guard: guard,
                notices: options.notices.clone(),
            },
        })
    }

    /// Lets the command run.
    ///
    /// # Errors
    /// If it could not be executed. Nothing ran, and the consumer was told nothing of it.
    pub fn release(self) -> Result<Running<C>, LaunchError> {
        let pid = self.launch.pid();
        let watch = Watch::start(pid);
        let probes = self.probes;
        match self.launch.release() {
            Ok(target) => Ok(Running {
                target,
                pid,
                probes,
                watch,
            }),
            Err(error) => {
                drop(probes.session);
                // Of a command that never was there is nothing to say.
                let _ = probes.collector.finish();
                Err(error)
            }
        }
    }
}

/// Everything that a session's programs send.
fn streams(session: &mut Session, modules: Watcher) -> Result<Streams> {
    let ring = session.loaded().ring()?;
    // What is mapped is opened at once: its process may end in a millisecond.
    for news in modules.fds() {
        ring.also_wake_by(news)?;
    }
    Ok(Streams {
        ring,
        modules,
        losses: session.loaded().losses()?,
        deferred: Deferred::new(session.known()),
    })
}

impl<C: Consumer + 'static> Running<C> {
    /// Follows the command until it has ended: signals are passed on to it, and what it maps and
    /// executes is probed. `each` is called every 20 ms or sooner.
    ///
    /// # Errors
    /// If it can't be followed any further. It may still run.
    pub fn follow(&mut self, signals: &mut Signals, mut each: impl FnMut()) -> Result<Ended> {
        loop {
            self.wait_for_any(signals);
            let target = &mut self.target;
            signals.relay(target).context("can't pass on a signal")?;
            self.probe_mapped();
            self.probe_moved()?;
            if let Some(ended) = self
                .target
                .try_wait()
                .context("can't wait for the command")?
            {
                return Ok(ended);
            }
            each();
        }
    }

    /// Waits until every process that is followed has ended, daemons and jobs in the background
    /// too, or a signal says that somebody wants the report now.
    ///
    /// # Errors
    /// If signals can't be read.
    pub fn outlive(&mut self, signals: &mut Signals, mut each: impl FnMut()) -> Result<()> {
        while self.probes.session.has_targets() {
            let mut wanted = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            // Interrupted or not: both are looked at.
            let _ = poll(&mut wanted, look());
            if signals.read().context("can't read signals")?.is_some() {
                break;
            }
            // Their heap is not followed: nothing is probed in what they map.
            self.probes.collector.mapped().for_each(drop);
            each();
        }
        Ok(())
    }

    /// Ends the trace, and says how the command ended if it has (it may run for long still
    /// otherwise). The probes come off first, or there is nobody left to set them off: whatever
    /// was sent is then in the ring buffer.
    pub fn finish(self, ended: Option<&Ended>) -> Finished<C> {
        let limits = ended.map(|_| limits(self.watch.finish()));
        let Probes {
            session,
            collector,
            notices,
            ..
        } = self.probes;
        let unprobed = session.unprobed();
        let (detaching, kept) = session.finish();
        if let Err(error) = kept {
            notices.tell(format_args!("some stacks are incomplete: {error:#}"));
        }
        let collected = collector.finish().map(|mut collected| {
            collected.losses.extend(unprobed);
            if let Some(ended) = ended {
                collected.consumer.event(&usage(self.pid, ended));
            }
            collected
        });
        Finished {
            collected,
            limits: limits.unwrap_or_default(),
            detaching,
        }
    }

    fn wait_for_any(&self, signals: &Signals) {
        let mut wanted = [
            PollFd::new(self.target.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.probes.collector.calls(), PollFlags::POLLIN),
        ];
        // Interrupted or not: the caller looks at all.
        let _ = poll(&mut wanted, look());
    }

    fn probe_mapped(&mut self) {
        let Probes {
            session,
            collector,
            notices,
            ..
        } = &mut self.probes;
        for module in collector.mapped() {
            if let Err(error) = session.mapped(&module) {
                notices.tell(format_args!("{}: {error:#}", module.path));
            }
        }
    }

    fn probe_moved(&mut self) -> Result<()> {
        let Probes {
            session, collector, ..
        } = &mut self.probes;
        for moved in collector.moved() {
            let attached = session.moved(moved);
            if moved.held {
                self.target
                    .signal(libc::SIGCONT)
                    .context("can't continue the command")?;
            }
            attached?;
        }
        Ok(())
    }
}

fn look() -> PollTimeout {
    PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO)
}

/// What the command had used, as an event of its own.
fn usage(pid: Pid, ended: &Ended) -> Event {
    let nanos = |time: Duration| Nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    Event {
        time: Nanos::now(),
        pid,
        tid: Tid(pid.0),
        stack: StackId(0),
        in_allocator: false,
        body: Body::Usage {
            user: nanos(ended.user),
            system: nanos(ended.system),
        },
    }
}

/// As they are recorded.
fn limits(seen: cgroup::Limits) -> Limits {
    Limits {
        cgroup: seen.cgroup.map(|seen| Cgroup {
            version: seen.version,
            path: seen.path,
            limit: seen.limit,
            limited_by: seen.limited_by,
            swap_limit: seen.swap_limit,
            peak: seen.peak,
            peak_before: seen.peak_before,
            oom_kills: seen.oom_kills,
            exhausted: seen.exhausted,
        }),
        machine_oom_kills: seen.machine_oom_kills,
    }
}
