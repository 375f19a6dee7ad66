//! The folder where profiles wait for their server.

use super::server::Server;
use super::upload::Upload;
use crate::reports::{OutDir, Owner};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Bytes that wait for a server at most.
const MOST: u64 = 256 << 20;

/// How its files end.
const EXTENSION: &str = ".json";

/// Whatever waits for one server. One process at a time uses it: others wait.
#[derive(Debug)]
pub struct Spool {
    dir: OutDir,
    most: u64,
    _lock: File,
}

impl Spool {
    /// Opens, and makes if need be, the folder for a server within `dir`.
    ///
    /// # Errors
    /// If it can't be made, or not be written to.
    pub fn open(dir: &Path, server: &Server, owner: Option<Owner>) -> io::Result<Self> {
        Self::with_room(dir, server, owner, MOST)
    }

    pub(super) fn with_room(
        dir: &Path,
        server: &Server,
        owner: Option<Owner>,
        most: u64,
    ) -> io::Result<Self> {
        let path = dir.join(server.folder());
        let in_words = |error: io::Error| {
            let text = format!("can't keep profiles in {}: {error}", path.display());
            io::Error::new(error.kind(), text)
        };
        let dir = OutDir::create(&path, owner).map_err(in_words)?;
        let lock = dir.act(|| {
            let mut options = File::options();
            let lock = options.create(true).append(true).open(path.join("lock"))?;
            lock.lock().map(|()| lock)
        });
        Ok(Self {
            dir,
            most,
            _lock: lock.map_err(in_words)?,
        })
    }

    /// Puts a profile into it. Returns how many were given up for want of room, the oldest first.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn put(&self, upload: &Upload) -> io::Result<usize> {
        let name = format!("{:020}-{}{EXTENSION}", upload.began, upload.name);
        self.dir.write(&name, |out| out.write_all(&upload.body))?;
        let mut sizes = Vec::new();
        for name in self.waiting()? {
            let size = self.dir.act(|| std::fs::metadata(self.path(&name)))?.len();
            sizes.push((name, size));
        }
        let mut sum: u64 = sizes.iter().map(|(_, size)| size).sum();
        let mut given_up = 0;
        for (name, size) in sizes {
            if sum <= self.most {
                break;
            }
            self.remove(&name)?;
            sum -= size;
            given_up += 1;
        }
        Ok(given_up)
    }

    /// The names of what waits, the oldest first.
    pub(super) fn waiting(&self) -> io::Result<Vec<String>> {
        let names = self.dir.act(|| {
            let entries = std::fs::read_dir(self.dir.path())?;
            let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect::<io::Result<Vec<String>>>()
        });
        let mut names = names?;
        // Temporary files of a writer that died begin with a dot.
        names.retain(|name| name.ends_with(EXTENSION) && !name.starts_with('.'));
        names.sort_unstable();
        Ok(names)
    }

    /// What waits under a name; nothing where it has gone.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let read = || {
            let mut bytes = Vec::new();
            let file = File::open(self.path(name))?;
            file.take(self.most).read_to_end(&mut bytes).map(|_| bytes)
        };
        match self.dir.act(read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.dir.act(|| std::fs::remove_file(self.path(name)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Where profiles wait if nothing else is said: a folder of the user's for such things.
#[must_use]
pub fn default_dir(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let folder = |name: &str| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = folder("XDG_STATE_HOME");
    let state = state.or_else(|| folder("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("tracer/spool"))
}
