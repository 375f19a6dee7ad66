use arrow::error::ArrowError;

use crate::{reserved, tiledb};

/// What can go wrong between a URI and a table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libtiledb's own errors.
    #[error(transparent)]
    TileDb(#[from] tiledb::Error),
    /// A read buffer could not be reserved.
    #[error("column {column:?} can't be read")]
    Refused {
        /// The column that the buffer was for.
        column: String,
        /// How much was asked for.
        source: reserved::Refused,
    },
    /// Something else lies at the URI, or nothing.
    #[error("{uri} is {found}, not {expected}")]
    NotSoma {
        /// The URI.
        uri: String,
        /// What lies there.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A collection lacks a member.
    #[error("{uri} has no member {name:?}{}", among(.members))]
    NoMember {
        /// The collection.
        uri: String,
        /// The member asked for.
        name: String,
        /// The members that it has.
        members: Vec<String>,
    },
    /// A dataframe lacks a column.
    #[error("no column {name:?} in {uri}{}{}", did_you_mean(.nearest), among(.columns))]
    NoColumn {
        /// The dataframe.
        uri: String,
        /// The column asked for.
        name: String,
        /// The columns whose names are most like it.
        nearest: Vec<String>,
        /// The columns that it has.
        columns: Vec<String>,
    },
    /// A column's type has no place in a SOMA dataframe.
    #[error("column {column:?} has TileDB type {datatype}, which SOMA dataframes don't have")]
    Unsupported {
        /// The column.
        column: String,
        /// TileDB's name of the type.
        datatype: String,
    },
    /// A value filter that can't be used.
    #[error(transparent)]
    Filter(super::BadFilter),
    /// Nothing fitted into the buffers.
    #[error(
        "not one row fits into read buffers of {0} bytes a column: \
         give more with -B/--init-buffer-bytes, or a larger -b/--mem-total-budget"
    )]
    BuffersTooSmall(usize),
    /// What was read isn't what the schema says.
    #[error("what was read of column {column:?} is damaged")]
    Damaged {
        /// The column.
        column: String,
        /// What Arrow found.
        source: ArrowError,
    },
    /// Arrow's other errors.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

/// The result of reading SOMA.
pub type Result<T> = std::result::Result<T, Error>;

fn among(names: &[String]) -> String {
    match names {
        [] => ": it is empty".into(),
        names => format!("; there are {}", names.join(", ")),
    }
}

/// `; did you mean "a" or "b"?`, or nothing.
fn did_you_mean(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => {
            let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
            format!(" (did you mean {}?)", quoted.join(" or "))
        }
    }
}
