//! The memory cgroup of the command: its limit, its peak, and what the kernel killed in it.
//!
//! Both versions are read, and a machine that has both ("hybrid"): memory is then where the
//! controller is. A cgroup is looked for by what `/proc/PID/cgroup` says, in our own mounts and
//! then in the target's; in a container they may begin below the root of all cgroups, and limits
//! above that are not seen, except for what version 1 tells of them.
//!
//! The command may enter another cgroup (`systemd-run --scope`, or by itself), and a cgroup may be
//! gone as soon as the command is: so it is looked at again and again, and what was read last
//! counts.

mod place;

use super::priority::set_nice;
use super::process::pidfd_open;
use crate::units::Pid;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use place::{Hierarchy, Version};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What was seen of memory limits while a command ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The command's cgroup: the one that it was seen in last.
    pub cgroup: Option<Cgroup>,
    /// Processes anywhere on the machine that the kernel killed for memory meanwhile.
    pub machine_oom_kills: Option<u64>,
}

/// A memory cgroup, as it was read last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// 1 or 2.
    pub version: u8,
    /// Its path below the root of cgroups.
    pub path: String,
    /// The lowest limit of memory among its own and its ancestors'.
    pub limit: Option<u64>,
    /// The cgroup that sets it.
    pub limited_by: Option<String>,
    /// The lowest limit of swap, beside memory's.
    pub swap_limit: Option<u64>,
    /// The most that it ever charged. It counts page cache, kernel memory and all processes.
    pub peak: Option<u64>,
    /// Likewise when the command entered it; less than `peak` where the command saw the peak.
    pub peak_before: Option<u64>,
    /// Processes in it that the kernel killed for memory since.
    pub oom_kills: Option<u64>,
    /// The cgroup (itself or an ancestor) whose limit could not be kept otherwise.
    pub exhausted: Option<String>,
}

/// Figures of a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    peak: Option<u64>,
    oom_kills: Option<u64>,
    /// Of each level, how often its limit could not be kept.
    exhausted: Vec<Option<u64>>,
}

/// How often it is looked at first: a command that enters a cgroup does so as it begins, and
/// version 1 forgets where a process was as soon as that dies.
const SOON: Duration = Duration::from_millis(2);
/// For so long.
const FIRST: Duration = Duration::from_secs(1);
/// And later.
const LATER: Duration = Duration::from_millis(20);
/// How often its figures are read: the cgroup may vanish with the command.
const FIGURES: Duration = Duration::from_millis(250);

/// A thread that looks at the memory limits of a process until that has ended.
#[derive(Debug)]
pub struct Watch(Option<JoinHandle<Limits>>);

impl Watch {
    /// Begins with a process that waits for its release, or runs.
    #[must_use]
    pub fn start(pid: Pid) -> Self {
        let Ok(process) = pidfd_open(pid) else {
            return Self(None);
        };
        let mut look = Look::new(pid);
        let watch = move || {
            // What is seen too late can't be made up for.
            set_nice(-20);
            look.until_the_end(&process);
            look.finish()
        };
        let thread = std::thread::Builder::new().name("limits".into());
        Self(thread.spawn(watch).ok())
    }

    /// What was seen, when the process has ended.
    #[must_use]
    pub fn finish(self) -> Limits {
        match self.0.map(JoinHandle::join) {
            Some(Ok(limits)) => limits,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Limits::default(),
        }
    }
}

#[derive(Debug)]
struct Look {
    pid: Pid,
    /// What `/proc/PID/cgroup` said last.
    said: String,
    seen: Option<Seen>,
    machine_before: Option<u64>,
}

#[derive(Debug)]
struct Seen {
    place: Hierarchy,
    /// Nothing where it was first seen when the command had ended.
    before: Option<Counts>,
    last: Counts,
}

impl Look {
    fn new(pid: Pid) -> Self {
        let mut look = Self {
            pid,
            said: String::new(),
            seen: None,
            machine_before: machine_oom_kills(),
        };
        look.follow(true);
        look
    }

    fn until_the_end(&mut self, process: &OwnedFd) {
        let began = Instant::now();
        let mut read = began;
        loop {
            let pause = match began.elapsed() < FIRST {
                true => SOON,
                false => LATER,
            };
            let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(pause).unwrap_or(PollTimeout::ZERO);
            let _ = poll(&mut fds, timeout);
            let ended = fds[0].any().unwrap_or(true);
            self.follow(!ended);
            if ended {
                return;
            }
            if read.elapsed() >= FIGURES {
                self.read();
                read = Instant::now();
            }
        }
    }

    /// Reads the figures once more.
    fn read(&mut self) {
        if let Some(seen) = &mut self.seen {
            let now = seen.place.counts();
            seen.last.take(now);
        }
    }

    fn finish(mut self) -> Limits {
        self.read();
        let machine_oom_kills = match (machine_oom_kills(), self.machine_before) {
            (Some(now), Some(before)) => Some(now.saturating_sub(before)),
            _ => None,
        };
        Limits {
            cgroup: self.seen.map(|seen| seen.sum(machine_oom_kills)),
            machine_oom_kills,
        }
    }

    fn follow(&mut self, alive: bool) {
        let Ok(says) = std::fs::read_to_string(format!("/proc/{}/cgroup", self.pid.0)) else {
            return;
        };
        if says == self.said {
            return;
        }
        let Some((version, path)) = place::memory_path(&says) else {
            return;
        };
        // Version 1 puts the dying into the root.
        if version == Version::One && path == "/" && self.seen.is_some() {
            return;
        }
        if let Some(place) = Hierarchy::find(version, path, self.pid)
            && self.seen.as_ref().is_none_or(|seen| seen.place != place)
        {
            let last = place.counts();
            self.seen = Some(Seen {
                before: alive.then(|| last.clone()),
                place,
                last,
            });
        }
        self.said = says;
    }
}

impl Counts {
    /// What can't be read any more stays as it was.
    fn take(&mut self, now: Self) {
        self.peak = now.peak.or(self.peak);
        self.oom_kills = now.oom_kills.or(self.oom_kills);
        for (old, new) in self.exhausted.iter_mut().zip(now.exhausted) {
            *old = new.or(*old);
        }
    }
}

impl Seen {
    fn sum(self, machine_oom_kills: Option<u64>) -> Cgroup {
        let Self {
            place,
            before,
            last,
        } = self;
        let since = |now: Option<u64>, before: Option<Option<u64>>| match before {
            Some(before) => Some(now?.saturating_sub(before.unwrap_or(0))),
            // Every kill counts for the machine, too: there were no more of them than that.
            None => Some(now?.min(machine_oom_kills.unwrap_or(0))),
        };
        let oom_kills = since(last.oom_kills, before.as_ref().map(|b| b.oom_kills));
        let hit = |&level: &usize| {
            let before = before.as_ref().map(|b| b.exhausted[level]);
            since(last.exhausted[level], before).is_some_and(|times| times > 0)
        };
        let exhausted = (0..last.exhausted.len()).find(hit);
        let limit = place.limit();
        Cgroup {
            version: place.version() as u8,
            path: place.path().to_owned(),
            limit: limit.as_ref().map(|(limit, _)| *limit),
            limited_by: limit.map(|(_, by)| by),
            swap_limit: place.swap_limit(),
            peak: last.peak,
            peak_before: before.and_then(|before| before.peak),
            exhausted: exhausted
                .filter(|_| oom_kills.is_some_and(|kills| kills > 0))
                .map(|level| place.level(level)),
            oom_kills,
        }
    }
}

fn machine_oom_kills() -> Option<u64> {
    row(Path::new("/proc/vmstat"), "oom_kill")
}

/// The number beside a word.
fn row(path: &Path, word: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let row = text
        .lines()
        .find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    row?.trim().parse().ok()
}

#[cfg(test)]
#[path = "cgroup/tests.rs"]
mod tests;
