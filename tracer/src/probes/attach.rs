//! Puts BPF programs on functions of the target, and takes them off again.
//!
//! One `uprobe_multi` link carries all probes of a program in a file. Where
//! the kernel has none (before 6.6) or filters it by thread rather than by
//! process (before 6.10), each probe is a perf event of its own: as fast a hit,
//! but 30 times slower to take off. The two need differently loaded programs:
//! ask [`Mechanism::of_this_kernel`] first, and load them with
//! [`Mechanism::expected_attach_type`].
//!
//! Probes belong to files, not to processes, and the kernel filters by address
//! space: probes scoped to a process that waits for its exec hit the new image.
//! All go when their link is dropped or its owner dies, however it dies.

use super::objects::{Object, Site};
use super::table::{self, At, Program};
use crate::units::Pid;
use aya_obj::generated as abi;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tracer_ebpf::Function;

mod sys;

/// How probes are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// `BPF_LINK_CREATE` with `BPF_TRACE_UPROBE_MULTI`.
    UprobeMulti,
    /// `perf_event_open`, and `BPF_LINK_CREATE` with `BPF_PERF_EVENT`.
    PerfEvent,
}

/// Whom probes hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One process with all its threads; others pay nothing. Its children are
    /// others. An exec by a thread that is not its first one ends the probes:
    /// detach them, then attach anew (beside new ones they would fire again).
    Process(Pid),
    /// Every process that maps the file.
    Everyone,
}

/// The loaded programs of [`Program::ALL`].
#[derive(Clone, Copy, Debug)]
pub struct Programs<'a> {
    /// `alloc_enter`
    pub alloc_enter: BorrowedFd<'a>,
    /// `alloc_exit`
    pub alloc_exit: BorrowedFd<'a>,
    /// `free_enter`
    pub free_enter: BorrowedFd<'a>,
}

/// Attached probes; dropping it detaches them.
#[derive(Debug)]
#[must_use = "dropping a link detaches its probes"]
pub struct Link {
    fd: OwnedFd,
}

/// A probe that could not be attached.
#[derive(Debug, thiserror::Error)]
#[error("cannot attach {program:?} to {function:?} of {}: {error}", path.display())]
pub struct AttachError {
    /// The program.
    pub program: Program,
    /// The function, or the first of those that one link would have carried.
    pub function: Function,
    /// Whether figures would be wrong without it.
    pub required: bool,
    /// The file.
    pub path: PathBuf,
    /// What the kernel said.
    #[source]
    pub error: io::Error,
}

/// What came of attaching to a file.
#[derive(Debug, Default)]
pub struct Attached {
    /// What holds the probes.
    pub links: Vec<Link>,
    /// What could not be attached.
    pub failed: Vec<AttachError>,
}

/// A probe: an offset in a file, what the program gets to know, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Offset in the file.
    pub offset: u64,
    /// The attach cookie.
    pub cookie: u64,
}

impl Mechanism {
    /// Asks the kernel.
    ///
    /// # Errors
    /// Where the question fails for another reason than that the kernel lacks
    /// the feature: EPERM without privileges.
    pub fn of_this_kernel() -> io::Result<Self> {
        let program = sys::load_empty(Self::UprobeMulti.expected_attach_type())?;
        // In this order, as libbpf's probe_uprobe_multi_link does it: a path that
        // is no regular file gives EBADF; a negative pid gives EINVAL only where
        // the kernel filters by process.
        let ask = |pid| sys::create_multi(program.as_fd(), c"/", &[0], &[], false, pid);
        let answer = |result: io::Result<OwnedFd>| result.err().and_then(|e| e.raw_os_error());
        match (answer(ask(0)), answer(ask(-1))) {
            (Some(libc::EPERM), _) => Err(io::Error::from_raw_os_error(libc::EPERM)),
            (Some(libc::EBADF), Some(libc::EINVAL)) => Ok(Self::UprobeMulti),
            _ => Ok(Self::PerfEvent),
        }
    }

    /// The `expected_attach_type` that the programs must be loaded with.
    #[must_use]
    pub const fn expected_attach_type(self) -> u32 {
        match self {
            Self::UprobeMulti => abi::bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32,
            Self::PerfEvent => 0,
        }
    }

    /// Attaches one program to points of a file.
    ///
    /// # Errors
    /// What the kernel says; then none of the points is attached.
    pub fn attach(
        self,
        program: BorrowedFd<'_>,
        path: &Path,
        points: &[Point],
        at: At,
        scope: Scope,
    ) -> io::Result<Vec<Link>> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let returns = at == At::Return;
        match self {
            Self::UprobeMulti => {
                let offsets: Vec<_> = points.iter().map(|point| point.offset).collect();
                let cookies: Vec<_> = points.iter().map(|point| point.cookie).collect();
                let pid = match scope {
                    Scope::Process(pid) => pid.0 as i32,
                    Scope::Everyone => 0,
                };
                let fd = sys::create_multi(program, &path, &offsets, &cookies, returns, pid)?;
                Ok(vec![Link { fd }])
            }
            Self::PerfEvent => points
                .iter()
                .map(|point| {
                    let event = sys::open_uprobe(&path, point.offset, returns, scope)?;
                    let fd = sys::create_perf(program, event.as_fd(), point.cookie)?;
                    Ok(Link { fd })
                })
                .collect(),
        }
    }
}

impl<'a> Programs<'a> {
    fn get(&self, program: Program) -> BorrowedFd<'a> {
        match program {
            Program::AllocEnter => self.alloc_enter,
            Program::AllocExit => self.alloc_exit,
            Program::FreeEnter => self.free_enter,
        }
    }
}

/// Attaches the whole table to a file, returns before entries.
///
/// Where a link of several probes is refused, its probes are tried one by one,
/// so that an instruction that the kernel can't probe costs its function only.
pub fn attach(
    mechanism: Mechanism,
    programs: &Programs<'_>,
    object: &Object,
    scope: Scope,
) -> Attached {
    let mut attached = Attached::default();
    for program in Program::ALL {
        let fd = programs.get(program);
        let sites: Vec<_> = sites_of(object, program).collect();
        let points: Vec<_> = sites.iter().map(|&site| point(site)).collect();
        if points.is_empty() {
            continue;
        }
        let attach = |points: &[_]| mechanism.attach(fd, &object.path, points, program.at(), scope);
        match attach(&points) {
            Ok(links) => attached.links.extend(links),
            Err(error) if points.len() == 1 => {
                attached
                    .failed
                    .push(failure(object, program, sites[0], error));
            }
            Err(_) => {
                for site in sites {
                    match attach(&[point(site)]) {
                        Ok(links) => attached.links.extend(links),
                        Err(error) => attached.failed.push(failure(object, program, site, error)),
                    }
                }
            }
        }
    }
    attached
}

/// Detaches all at once. Each link waits for a grace period of the kernel;
/// together the five of a file take 50 ms instead of 220. Perf events gain
/// nothing: the kernel takes them off one by one, some 90 ms each.
pub fn detach(links: Vec<Link>) {
    std::thread::scope(|scope| {
        for link in links {
            // Where no thread can be had, the closure and its link are dropped here.
            let _ = std::thread::Builder::new().spawn_scoped(scope, move || drop(link));
        }
    });
}

fn sites_of(object: &Object, program: Program) -> impl Iterator<Item = &Site> {
    object
        .sites
        .iter()
        .filter(move |site| table::rows(site.function).any(|row| row.program == program))
}

fn point(site: &Site) -> Point {
    Point {
        offset: site.offset,
        cookie: site.function as u64,
    }
}

fn failure(object: &Object, program: Program, site: &Site, error: io::Error) -> AttachError {
    AttachError {
        program,
        function: site.function,
        required: table::rows(site.function).any(|row| row.required),
        path: object.path.clone(),
        error,
    }
}

impl From<OwnedFd> for Link {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
#[path = "attach_tests.rs"]
mod tests;
