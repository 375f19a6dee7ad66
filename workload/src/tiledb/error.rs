use std::path::PathBuf;

/// What can go wrong between this crate and libtiledb.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No library was found anywhere in the search order.
    #[error(
        "no libtiledb found: looked at {}. Fetch one with `cargo xtask libtiledb`, or name one \
         with --libtiledb or TILEDB_LIB",
        .searched.join(", ")
    )]
    NoLibrary {
        /// Each place, and what was wrong with it.
        searched: Vec<String>,
    },
    /// The file isn't a library that this process can load.
    #[error("{path} can't be loaded as libtiledb: {reason}")]
    Load {
        /// The file.
        path: PathBuf,
        /// The dynamic linker's words.
        reason: String,
    },
    /// The library lacks a function that this crate needs.
    #[error("{path} has no function {function}: it isn't libtiledb, or older than 2.25")]
    MissingFunction {
        /// The file.
        path: PathBuf,
        /// The C name.
        function: &'static str,
    },
    /// A call failed; the message is TileDB's own.
    #[error("{message} (tiledb_{function})")]
    Call {
        /// The C function, without its prefix.
        function: &'static str,
        /// TileDB's message.
        message: String,
    },
    /// A name or a path with a NUL inside.
    #[error("{0:?} contains a NUL byte")]
    Nul(String),
    /// Something that TileDB returned is not what its interface promises.
    #[error("{0}")]
    Unexpected(String),
}

/// The result of a call to libtiledb.
pub type Result<T> = std::result::Result<T, Error>;
