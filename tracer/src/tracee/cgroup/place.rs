//! Where a cgroup's files are, and what they say.

use super::{Counts, row};
use crate::units::Pid;
use std::path::{Path, PathBuf};

/// From here on, version 1 means "no limit".
const UNLIMITED: u64 = 1 << 62;

/// Of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One = 1,
    Two = 2,
}

/// A cgroup with the memory controller, and its ancestors as far as they are mounted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    version: Version,
    path: String,
    /// Its folder, then those of its ancestors.
    levels: Vec<PathBuf>,
}

impl Hierarchy {
    /// The cgroup `path` of a process, in our mounts or in its own.
    pub(super) fn find(version: Version, path: &str, pid: Pid) -> Option<Self> {
        let mounts = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let root = format!("/proc/{}/root", pid.0);
        let ours = Self::among(
            version,
            path,
            &mounts("/proc/self/mountinfo"),
            Path::new(""),
        );
        ours.or_else(|| {
            let its = mounts(&format!("/proc/{}/mountinfo", pid.0));
            Self::among(version, path, &its, Path::new(&root))
        })
    }

    /// The same among mounts that are seen below `root`.
    pub(super) fn among(version: Version, path: &str, mounts: &str, root: &Path) -> Option<Self> {
        mounts
            .lines()
            .filter_map(|line| Mount::of(line, version))
            .find_map(|mount| {
                let below = mount.below(path)?;
                let top = seen_below(root, &mount.point);
                let folder = top.join(below);
                let levels: Vec<PathBuf> = folder
                    .ancestors()
                    .take_while(|level| level.starts_with(&top))
                    .map(Path::to_owned)
                    .collect();
                let place = Self {
                    version,
                    path: path.to_owned(),
                    levels,
                };
                place.has_memory().then_some(place)
            })
    }

    fn has_memory(&self) -> bool {
        let file = match self.version {
            Version::One => "memory.usage_in_bytes",
            // The root of all cgroups has none of its own.
            Version::Two => "memory.current",
        };
        self.levels
            .first()
            .is_some_and(|own| own.join(file).exists())
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of itself (0) or an ancestor.
    pub(super) fn level(&self, number: usize) -> String {
        let path = Path::new(&self.path).ancestors().nth(number);
        path.unwrap_or(Path::new("/")).display().to_string()
    }

    /// The lowest limit, and the cgroup that sets it.
    pub(super) fn limit(&self) -> Option<(u64, String)> {
        let file = match self.version {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        };
        let limits = self
            .levels
            .iter()
            .enumerate()
            .filter_map(|(level, folder)| {
                let limit = number(&folder.join(file))?;
                (limit < UNLIMITED).then(|| (limit, self.level(level)))
            });
        // The first of the lowest: min_by_key keeps it.
        let lowest = limits.min_by_key(|(limit, _)| *limit);
        match (lowest, self.above()) {
            (Some((limit, by)), Some(above)) if limit <= above => Some((limit, by)),
            (_, Some(above)) => Some((above, "/".to_owned())),
            (lowest, None) => lowest,
        }
    }

    /// What version 1 says of limits above the mount, too.
    fn above(&self) -> Option<u64> {
        let stat = self.levels.first()?.join("memory.stat");
        let limit = match self.version {
            Version::One => row(&stat, "hierarchical_memory_limit")?,
            Version::Two => return None,
        };
        (limit < UNLIMITED).then_some(limit)
    }

    /// The lowest limit of swap alone.
    pub(super) fn swap_limit(&self) -> Option<u64> {
        let of = |folder: &PathBuf| match self.version {
            Version::Two => number(&folder.join("memory.swap.max")),
            Version::One => {
                // It limits the sum of both.
                let both = number(&folder.join("memory.memsw.limit_in_bytes"))?;
                let memory = number(&folder.join("memory.limit_in_bytes"))?;
                (both < UNLIMITED).then(|| both.saturating_sub(memory))
            }
        };
        self.levels.iter().filter_map(of).min()
    }

    /// Figures of this moment.
    pub(super) fn counts(&self) -> Counts {
        let own = |file: &str| self.levels.first().map(|own| own.join(file));
        let (peak, kills) = match self.version {
            Version::One => ("memory.max_usage_in_bytes", "memory.oom_control"),
            Version::Two => ("memory.peak", "memory.events"),
        };
        Counts {
            peak: own(peak).and_then(|path| number(&path)),
            oom_kills: own(kills).and_then(|path| row(&path, "oom_kill")),
            exhausted: self.levels.iter().map(|own| self.exhausted(own)).collect(),
        }
    }

    /// How often a cgroup's own limit could not be kept. Version 1 counts every time that it was
    /// reached, even if something could be reclaimed then.
    fn exhausted(&self, folder: &Path) -> Option<u64> {
        match self.version {
            Version::One => number(&folder.join("memory.failcnt")),
            Version::Two => row(&folder.join("memory.events.local"), "oom"),
        }
    }
}

/// The version and the path of a process's memory cgroup, from its `/proc/PID/cgroup`.
pub(super) fn memory_path(text: &str) -> Option<(Version, &str)> {
    let mut unified = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        if controllers.split(',').any(|name| name == "memory") {
            return Some((Version::One, path));
        }
        if number == "0" && controllers.is_empty() {
            unified = Some((Version::Two, path));
        }
    }
    unified
}

/// A mount of cgroups.
struct Mount {
    /// The cgroup that is mounted.
    root: String,
    point: PathBuf,
}

impl Mount {
    /// From a line of mountinfo, where it is one of the memory controller's.
    fn of(line: &str, version: Version) -> Option<Self> {
        let (place, about) = line.split_once(" - ")?;
        let mut about = about.split(' ');
        let (kind, _source, options) = (about.next()?, about.next()?, about.next()?);
        let wanted = match version {
            Version::One => kind == "cgroup" && options.split(',').any(|o| o == "memory"),
            Version::Two => kind == "cgroup2",
        };
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        wanted.then(|| Self {
            root: unescape(root),
            point: unescape(point).into(),
        })
    }

    /// A cgroup's path below what is mounted. One outside of our cgroup namespace begins with
    /// `/..` and is not seen.
    fn below<'a>(&self, path: &'a str) -> Option<&'a Path> {
        let path = Path::new(path);
        if path.components().any(|part| part.as_os_str() == "..") {
            return None;
        }
        path.strip_prefix(&self.root).ok()
    }
}

fn seen_below(root: &Path, path: &Path) -> PathBuf {
    match root.as_os_str().is_empty() {
        true => path.to_owned(),
        false => root.join(path.strip_prefix("/").unwrap_or(path)),
    }
}

/// mountinfo writes blanks and the like as `\040`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = after
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        rest = match code {
            Some(code) => {
                out.push(char::from(code));
                &after[3..]
            }
            None => {
                out.push('\\');
                after
            }
        };
    }
    out + rest
}

/// The number in a file; nothing for `max`.
fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
