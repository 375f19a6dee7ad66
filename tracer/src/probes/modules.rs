//! Which files are mapped executable, where and since when, in the traced
//! process and all below it, even if they live for a millisecond.
//!
//! A dummy perf event on each processor, inherited by threads and children,
//! makes the kernel write a record for each mapping, exec's own (program, ld.so,
//! vDSO) included, stamped with the clock of the BPF programs. A forked child
//! has its parent's mappings without any record: they are repeated for it.
//! What a process had mapped before is read from /proc/PID/maps.
//!
//! The kernel takes a thread's events away when it executes a program that runs as
//! somebody else (a set-user-id bit, file capabilities) or that its user may not read.
//! Its records end as if it had: then events are opened anew, and what it has mapped
//! meanwhile is read from its maps.
//!
//! Process ids are those of the tracer's pid namespace.

mod commands;
mod inheritance;
mod maps;
mod record;
mod ring;

pub use maps::mapped;

use super::bpf::perf_event_open;
use super::objects::Identities;
use crate::events::{Command, Module};
use crate::units::{Nanos, Pid};
use aya_obj::generated as abi;
use commands::Commands;
use inheritance::Processes;
use record::{MODULE_RECORDS, Record};
use ring::Ring;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `PERF_FORMAT_LOST` (include/uapi/linux/perf_event.h, from 6.0).
const FORMAT_LOST: u64 = 1 << 4;
/// `PERF_EVENT_IOC_SET_OUTPUT`: write to another event's ring.
const IOC_SET_OUTPUT: libc::Ioctl = abi::PERF_EVENT_IOC_SET_OUTPUT as libc::Ioctl;

/// Watches a process and all below it.
#[derive(Debug)]
pub struct Watcher {
    rings: Vec<Ring>,
    /// Events of further threads, which write to the rings of the first.
    redirected: Vec<OwnedFd>,
    processes: Processes,
    identities: Identities,
    commands: Commands,
    lost: u64,
}

impl Watcher {
    /// Watches a process from now on. One that waits for its exec is seen whole;
    /// of one that is running, add what it has [`mapped`] already.
    ///
    /// # Errors
    /// EACCES without privileges; ESRCH where there is no such process.
    pub fn new(pid: Pid) -> io::Result<Self> {
        let mut attr = attributes();
        let mut rings = Vec::new();
        for cpu in online_cpus()? {
            rings.push(Ring::new(open(&mut attr, pid, cpu)?, cpu)?);
        }
        let mut watcher = Self {
            rings,
            redirected: Vec::new(),
            processes: Processes::default(),
            identities: Identities::default(),
            commands: Commands::default(),
            lost: 0,
        };
        watcher.add_threads(pid, vec![pid])?;
        Ok(watcher)
    }

    /// A running process's threads but for those that are known; those that they start
    /// meanwhile inherit, so that a round without news ends it.
    fn add_threads(&mut self, pid: Pid, mut known: Vec<Pid>) -> io::Result<()> {
        loop {
            let before = known.len();
            for entry in std::fs::read_dir(format!("/proc/{}/task", pid.0))? {
                let name = entry?.file_name();
                let Some(thread) = name.to_str().and_then(|name| name.parse().ok()).map(Pid) else {
                    continue;
                };
                if !known.contains(&thread) {
                    known.push(thread);
                    self.add_thread(thread)?;
                }
            }
            if known.len() == before {
                return Ok(());
            }
        }
    }

    /// Whether there was such a thread; one that has ended meanwhile is no failure.
    fn add_thread(&mut self, thread: Pid) -> io::Result<bool> {
        let mut attr = attributes();
        for ring in &self.rings {
            let event = match open(&mut attr, thread, ring.cpu) {
                Ok(event) => event,
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(false),
                Err(error) => return Err(error),
            };
            let (from, to) = (event.as_raw_fd(), ring.as_fd().as_raw_fd());
            // SAFETY: an ioctl on two descriptors that are open, without pointers.
            let result = unsafe { libc::ioctl(from, IOC_SET_OUTPUT, to) };
            if result < 0 {
                return Err(io::Error::last_os_error());
            }
            self.redirected.push(event);
        }
        Ok(true)
    }

    /// A process whose records have ended. Unless it has ended itself, it is watched
    /// anew, and so are children that it made meanwhile.
    fn ended(&mut self, time: Nanos, pid: Pid, modules: &mut Vec<Module>) {
        // An ended process has no thread that events could be opened for.
        if !matches!(self.add_thread(pid), Ok(true)) {
            self.processes.exited(pid);
            self.commands.over(pid);
            return;
        }
        let began = self.processes.executed_at(pid).unwrap_or(time);
        // What can't be read is not named; it ends this very moment.
        let _ = self.add_threads(pid, vec![pid]);
        for mut module in mapped(pid).unwrap_or_default() {
            // It was there when the first stacks were taken.
            module.time = began;
            self.commands.mapped(&module);
            self.processes.mapped(module, modules);
        }
        for child in children(pid) {
            if !self.processes.knows(child) {
                self.ended(began, child, modules);
            }
        }
    }

    /// Descriptors that become readable (`poll`, POLLIN) when there is news.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(AsFd::as_fd)
    }

    /// What has been mapped since the last call, ordered by time.
    pub fn drain(&mut self) -> Vec<Module> {
        let mut records = Vec::new();
        for ring in &mut self.rings {
            ring.drain(|bytes| records.extend(Record::parse(bytes)));
        }
        records.sort_by_key(Record::time);
        let mut modules = Vec::new();
        for record in records {
            match record {
                Record::Lost { count } => self.lost += count,
                Record::Mapped(mut module) => {
                    self.identities.complete(&mut module);
                    self.commands.mapped(&module);
                    self.processes.mapped(module, &mut modules);
                }
                Record::Forked {
                    time,
                    parent,
                    child,
                } => {
                    self.processes.forked(time, parent, child, &mut modules);
                }
                Record::Executed { time, pid } => {
                    self.processes.executed(time, pid);
                    self.commands.executed(time, pid);
                }
                Record::Exited { time, pid } => self.ended(time, pid, &mut modules),
            }
        }
        self.commands.look();
        modules
    }

    /// What processes execute, as far as it became known since the last call: call it
    /// after [`Watcher::drain`].
    pub fn commands(&mut self) -> Vec<Command> {
        self.commands.take()
    }

    /// Likewise, but for those that were not seen to end: nothing is left to wait for.
    pub fn last_commands(&mut self) -> Vec<Command> {
        self.commands.all_over();
        self.commands.take()
    }

    /// Tells of mappings that were not seen as they were made, so that children
    /// get them too.
    pub fn know(&mut self, modules: &[Module]) {
        for module in modules {
            self.processes.mapped(module.clone(), &mut Vec::new());
        }
    }

    /// Records that the kernel could not deliver: mappings, forks or execs that
    /// are missing from what [`Watcher::drain`] gave.
    ///
    /// The kernel's records of losses come with the next record that fits, so
    /// the last losses never show there; from 6.0 on it tells their number.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let rings = self.rings.iter().map(AsFd::as_fd);
        let redirected = self.redirected.iter().map(AsFd::as_fd);
        let told = rings
            .chain(redirected)
            .map(|event| lost_by(event).unwrap_or(0));
        told.sum::<u64>().max(self.lost)
    }
}

/// Processes that a process has made and not yet waited for.
fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", pid.0)) else {
        return Vec::new();
    };
    let lists = threads.flatten().map(|entry| entry.path().join("children"));
    let texts = lists.filter_map(|list| std::fs::read_to_string(list).ok());
    texts
        .flat_map(|text| {
            let pids = text.split_whitespace();
            pids.filter_map(|pid| pid.parse().ok().map(Pid))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// An event that counts nothing and records mappings, forks and execs.
fn attributes() -> abi::perf_event_attr {
    // SAFETY: plain data, for which all zero is "nothing asked for".
    let mut attr: abi::perf_event_attr = unsafe { std::mem::zeroed() };
    attr.size = size_of::<abi::perf_event_attr>() as u32;
    attr.type_ = abi::perf_type_id::PERF_TYPE_SOFTWARE as u32;
    attr.config = abi::perf_sw_ids::PERF_COUNT_SW_DUMMY as u64;
    attr.sample_type = MODULE_RECORDS;
    attr.read_format = FORMAT_LOST;
    attr.clockid = libc::CLOCK_MONOTONIC;
    attr.set_use_clockid(1);
    attr.set_sample_id_all(1);
    attr.set_inherit(1);
    attr.set_task(1);
    attr.set_comm(1);
    attr.set_comm_exec(1);
    attr.set_mmap(1);
    attr.set_mmap2(1);
    attr.set_build_id(1);
    attr.set_watermark(1);
    attr.__bindgen_anon_2.wakeup_watermark = 1;
    attr
}

/// Opens the event; without the number of losses and without build-ids where
/// the kernel has none (before 6.0, before 5.12).
fn open(attr: &mut abi::perf_event_attr, thread: Pid, cpu: i32) -> io::Result<OwnedFd> {
    loop {
        match perf_event_open(attr, thread.0 as i32, cpu) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                if attr.read_format != 0 {
                    attr.read_format = 0;
                } else if attr.build_id() == 1 {
                    attr.set_build_id(0);
                } else {
                    return Err(error);
                }
            }
            result => return result,
        }
    }
}

/// How many of an event's records did not fit, where the kernel tells.
fn lost_by(event: BorrowedFd<'_>) -> Option<u64> {
    let mut values = [0_u64; 2];
    let bytes = size_of_val(&values);
    // SAFETY: the array has room for as many bytes as are asked for.
    let read = unsafe { libc::read(event.as_raw_fd(), values.as_mut_ptr().cast(), bytes) };
    // The count comes first; the losses follow if they were asked for.
    (read == bytes as isize).then_some(values[1])
}

/// From lists such as `0-3,8`.
fn online_cpus() -> io::Result<Vec<i32>> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    parse_cpus(text.trim()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse_cpus(text: &str) -> Option<Vec<i32>> {
    let mut cpus = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<i32>().ok()?..=last.parse().ok()?);
    }
    Some(cpus)
}

#[cfg(test)]
#[path = "modules_tests.rs"]
mod tests;
