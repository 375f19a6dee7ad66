//! What can go wrong with a recording.

use std::io;
use std::path::{Path, PathBuf};

/// Why a recording could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The directory holds something that no recording put there.
    #[error("{}: holds {entry:?}, which is not part of a recording; name another directory", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// The first such entry.
        entry: String,
    },
    /// There is no recording at this place.
    #[error("{}: not a recording ({what})", path.display())]
    NotARecording {
        /// Which file or directory.
        path: PathBuf,
        /// What speaks against it.
        what: String,
    },
    /// Written by a tracer that this one does not understand.
    #[error("{}: has schema version {found}; this tracer reads version {}", path.display(), super::schema::VERSION)]
    Version {
        /// Which file.
        path: PathBuf,
        /// What stands there instead.
        found: String,
    },
    /// The bytes contradict the format.
    #[error("{}: corrupt at byte {offset}: {what}", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where the message begins that could not be used.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    /// An error of the operating system about `path`.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
