//! Functions that a runtime compiles as it goes (V8, the JVM, CPython from 3.12
//! on), as it tells of them itself in `/tmp/perf-PID.map`: a line of start, size
//! (both hexadecimal) and name for each, the last one for an address counting
//! (linux/tools/perf/Documentation/jit-interface.txt).

use super::demangle::escape;
use crate::units::Pid;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;

/// Bytes of a map that are read.
const MAX_BYTES: u64 = 64 << 20;

/// Bytes of a name that are kept.
const MAX_NAME: usize = 1024;

/// Entries that begin before an address and are looked at: code that was thrown
/// away and compiled again leaves its old entries behind.
const NEARER: usize = 64;

/// A map that was opened while its process was there, or who would have to own
/// it.
#[derive(Debug)]
pub(crate) struct MapFile {
    file: Option<File>,
    owner: u32,
    /// The process's id as it knows it itself.
    own_pid: u32,
}

impl MapFile {
    /// Looks at a process; nothing where it is gone.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.0)).ok()?;
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
        // Real, effective, saved, of the file system.
        let owner = field("Uid:")?.split_whitespace().nth(1)?.parse().ok()?;
        // From the outermost namespace to the innermost.
        let own_pid = match field("NSpid:") {
            Some(pids) => pids.split_whitespace().last()?.parse().ok()?,
            None => pid.0,
        };
        let mut source = Self {
            file: None,
            owner,
            own_pid,
        };
        source.look(pid);
        Some(source)
    }

    /// Opens the map, if it is there by now and was not before.
    pub(crate) fn look(&mut self, pid: Pid) {
        if self.file.is_none() {
            self.file = self.open_below(&format!("/proc/{}/root", pid.0));
        }
    }

    /// The map as it stands now. Of a process that is gone, and whose map came
    /// late, the one that our own `/tmp` has.
    pub(crate) fn read(mut self, pid: Pid) -> Option<PerfMap> {
        self.look(pid);
        if self.file.is_none() && self.own_pid == pid.0 {
            self.file = self.open_below("/");
        }
        let mut bytes = Vec::new();
        self.file?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Some(PerfMap::parse(bytes))
    }

    /// Anybody may put a file into `/tmp`, or a link to one: only a regular file
    /// of the process's user, or of root, and no way out of that root.
    fn open_below(&self, root: &str) -> Option<File> {
        let root = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).ok()?;
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let path = format!("tmp/perf-{}.map", self.own_pid);
        let found = File::from(openat2(&root, path.as_str(), how).ok()?);
        let metadata = found.metadata().ok()?;
        let trusted = metadata.uid() == self.owner || metadata.uid() == 0;
        if !metadata.is_file() || !trusted {
            return None;
        }
        File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()
    }
}

/// The functions of a map.
#[derive(Clone, Debug, Default)]
pub struct PerfMap {
    text: Vec<u8>,
    /// Sorted by where they begin, then by where they stand.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u64,
    size: u64,
    /// Where the name stands in the text: later ones count.
    name: u32,
    length: u32,
}

impl PerfMap {
    /// Reads a map; lines of another form are left out.
    #[must_use]
    pub fn parse(text: Vec<u8>) -> Self {
        let mut entries = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            entries.extend(entry(line, at));
            at += line.len();
        }
        entries.sort_by_key(|entry| (entry.start, entry.name));
        Self { text, entries }
    }

    /// The function that an address lies in.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<String> {
        let after = self.entries.partition_point(|e| e.start <= address);
        let near = &self.entries[after.saturating_sub(NEARER)..after];
        let here = near.iter().filter(|e| address - e.start < e.size);
        let last = here.max_by_key(|entry| entry.name)?;
        let name = &self.text[last.name as usize..][..last.length as usize];
        Some(escape(&String::from_utf8_lossy(name)))
    }
}

fn entry(line: &[u8], at: usize) -> Option<Entry> {
    let mut fields = line.splitn(3, |&byte| byte == b' ');
    let (start, size) = (number(fields.next()?)?, number(fields.next()?)?);
    let name = fields.next()?.trim_ascii_end();
    let place = at + (line.len() - fields_length(line, 2));
    (!name.is_empty()).then_some(Entry {
        start,
        size,
        name: u32::try_from(place).ok()?,
        length: name.len().min(MAX_NAME) as u32,
    })
}

/// Bytes of a line after its first `count` fields.
fn fields_length(line: &[u8], count: usize) -> usize {
    let rest = line.splitn(count + 1, |&byte| byte == b' ').nth(count);
    rest.map_or(0, <[u8]>::len)
}

fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_for_an_address_counts() {
        let text =
            "1000 20 first\n1010 10 second\n2000 8 a name: with /spaces.js:1\n1000 8 third\n";
        let map = PerfMap::parse(text.as_bytes().to_vec());
        assert_eq!(map.find(0x1000).as_deref(), Some("third"));
        assert_eq!(map.find(0x1008).as_deref(), Some("first"));
        assert_eq!(map.find(0x1010).as_deref(), Some("second"));
        assert_eq!(map.find(0x1020), None);
        assert_eq!(
            map.find(0x2007).as_deref(),
            Some("a name: with /spaces.js:1")
        );
        assert_eq!(map.find(0xfff), None);
        assert_eq!(map.find(u64::MAX), None);
    }

    #[test]
    fn lines_that_make_no_sense_are_left_out() {
        let text =
            b"\n \nzz 10 x\n10 10\n20 10 \n30 ffffffffffffffffff y\n0x40 0x8 z\xff\x1b\n50 8 end";
        let map = PerfMap::parse(text.to_vec());
        assert_eq!(map.entries.len(), 2);
        assert_eq!(map.find(0x47).as_deref(), Some("z\u{fffd}\\u{1b}"));
        assert_eq!(map.find(0x50).as_deref(), Some("end"));
        assert!(PerfMap::parse(Vec::new()).find(0).is_none());
    }

    /// Process 7, of that user.
    fn source(owner: u32) -> MapFile {
        MapFile {
            file: None,
            owner,
            own_pid: 7,
        }
    }

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn a_file_of_another_user_is_not_opened() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().to_str().expect("UTF-8");
        std::fs::create_dir(dir.path().join("tmp")).expect("made");
        let map = dir.path().join("tmp/perf-7.map");
        std::fs::write(&map, "10 10 x\n").expect("written");
        std::os::unix::fs::chown(&map, Some(12345), None).expect("given away");
        assert!(source(54321).open_below(root).is_none());
        assert!(source(12345).open_below(root).is_some());
    }

    #[test]
    fn only_the_owners_own_regular_file_is_opened() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().to_str().expect("UTF-8");
        std::fs::create_dir(dir.path().join("tmp")).expect("made");
        let map = dir.path().join("tmp/perf-7.map");
        let own = nix::unistd::geteuid().as_raw();
        assert!(source(own).open_below(root).is_none(), "absent");
        std::fs::write(&map, "10 10 x\n").expect("written");
        assert!(source(own).open_below(root).is_some());
        std::fs::remove_file(&map).expect("removed");
        std::os::unix::fs::symlink("/etc/passwd", &map).expect("a link");
        assert!(source(own).open_below(root).is_none(), "a link");
        std::fs::remove_file(&map).expect("removed");
        nix::unistd::mkfifo(&map, Mode::S_IRWXU).expect("a pipe");
        assert!(source(own).open_below(root).is_none(), "a pipe");
    }

    #[test]
    fn our_own_process_is_looked_at() {
        let source = MapFile::of(Pid(std::process::id())).expect("we live");
        assert_eq!(source.owner, nix::unistd::geteuid().as_raw());
        assert!(MapFile::of(Pid(u32::MAX)).is_none());
    }
}
