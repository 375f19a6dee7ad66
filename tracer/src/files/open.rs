//! Opening files that a traced program chooses.

use super::{BuildId, Elf, FileId, Identity, Source};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Opens a regular file for reading. It looks first: to open a device or a pipe that somebody put
/// there can have effects, or never return.
///
/// # Errors
/// `InvalidInput` where it is no regular file, and what opening says.
pub fn regular(path: &Path) -> io::Result<File> {
    let mut look = File::options();
    let look = look.read(true).custom_flags(libc::O_PATH).open(path)?;
    if !look.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::open(format!("/proc/self/fd/{}", look.as_raw_fd()))
}

/// The GNU build-id of a file; none where it has none, or is no ELF file. A few kilobytes of it are
/// read.
#[must_use]
pub fn build_id(file: &File) -> Option<BuildId> {
    let source = Source::of(file.try_clone().ok()?).ok()?;
    Elf::parse(source).ok()?.build_id()
}

/// Which file it is.
///
/// # Errors
/// Where it can't be looked at.
pub fn identity(file: &File) -> io::Result<Identity> {
    Ok(Identity {
        file: Some(FileId::of(&file.metadata()?)),
        build_id: build_id(file),
    })
}

/// A file that a process has mapped.
#[derive(Clone, Debug)]
pub struct Mapping<'a> {
    /// Process that has it mapped.
    pub pid: u32,
    /// Addresses that it covers.
    pub range: Range<u64>,
    /// Its path, as the process sees it.
    pub path: &'a str,
    /// What is known of the file.
    pub identity: Identity,
}

/// Why the file of a mapping can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It is nowhere any more.
    Gone,
    /// Another file stands in its place.
    Replaced,
    /// It is there and can't be opened.
    Unreadable,
}

/// A file that was found, and the path by which it was.
#[derive(Debug)]
pub struct Found {
    /// By which this process can open it.
    pub path: PathBuf,
    /// The file.
    pub file: File,
    /// Which file it is.
    pub identity: Identity,
}

impl Mapping<'_> {
    /// The link to a mapping's file: it is right whatever the process's mount namespace, and even
    /// if the file was deleted.
    #[must_use]
    pub fn link(pid: u32, range: &Range<u64>) -> PathBuf {
        let Range { start, end } = range;
        format!("/proc/{pid}/map_files/{start:x}-{end:x}").into()
    }

    /// Finds the file: by the mapping's own link, by the path in the process's root, or by the
    /// path in ours, for a process that has ended.
    ///
    /// # Errors
    /// Why there is none that is the mapped one.
    pub fn find(&self) -> Result<Found, Absent> {
        let path = self.path.strip_suffix(" (deleted)").unwrap_or(self.path);
        let places = [
            Self::link(self.pid, &self.range),
            format!("/proc/{}/root{path}", self.pid).into(),
            path.into(),
        ];
        let mut absent = Absent::Gone;
        for path in places {
            let looked = regular(&path).and_then(|file| Ok((identity(&file)?, file)));
            match looked {
                Ok((identity, file)) if identity.is_same(&self.identity) => {
                    return Ok(Found {
                        path,
                        file,
                        identity,
                    });
                }
                Ok(_) => absent = Absent::Replaced,
                Err(error) if is_absent(&error) => {}
                Err(_) if absent == Absent::Gone => absent = Absent::Unreadable,
                Err(_) => {}
            }
        }
        Err(absent)
    }
}

fn is_absent(error: &io::Error) -> bool {
    let absent = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    absent.contains(&error.kind()) || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(path: &Path) -> Mapping<'_> {
        let found = std::fs::metadata(path).expect("a file");
        Mapping {
            // No process has this id: pid_max is at most 2^22.
            pid: u32::MAX,
            range: 0x1000..0x2000,
            path: path.to_str().expect("UTF-8"),
            identity: Identity {
                file: Some(FileId::of(&found)),
                build_id: None,
            },
        }
    }

    #[test]
    fn a_file_that_is_not_the_mapped_one_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lib.so");
        std::fs::write(&path, "first").expect("written");
        let mut mapped = mapping(&path);
        assert_eq!(mapped.find().expect("the file").path, path);

        let deleted = format!("{} (deleted)", path.display());
        mapped.path = &deleted;
        assert!(mapped.find().is_ok(), "as the kernel names it");

        let other = dir.path().join("other");
        std::fs::write(&other, "second").expect("written");
        std::fs::rename(&other, &path).expect("replaced");
        assert_eq!(mapped.find().unwrap_err(), Absent::Replaced);

        std::fs::remove_file(&path).expect("removed");
        assert_eq!(mapped.find().unwrap_err(), Absent::Gone);

        mapped.identity.file = None;
        std::fs::write(&path, "third").expect("written");
        assert_eq!(
            mapped.find().unwrap_err(),
            Absent::Replaced,
            "not known: not trusted"
        );
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        for path in [path.as_path(), dir.path()] {
            assert_eq!(mapping(path).find().unwrap_err(), Absent::Unreadable);
        }
    }
}
