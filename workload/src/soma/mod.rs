//! SOMA collections and dataframes, read as TileDB-SOMA reads them.

mod collection;
mod column_buffer;
mod dataframe;
mod error;
pub mod feather;
mod filter;
mod nearest;
mod table;
mod types;

pub use collection::Collection;
pub use column_buffer::ColumnBuffer;
pub use dataframe::{Batches, DataFrame, ReadOptions};
pub use error::{Error, Result};
pub use filter::{BadFilter, Filter};
pub use nearest::nearest;
pub use table::Table;

/// The metadata key that names an object's SOMA type.
pub const OBJECT_TYPE: &str = "soma_object_type";
/// The metadata key that names the version of the encoding.
pub const ENCODING_VERSION: &str = "soma_encoding_version";
/// The dimension of every dataframe of the Census: the cell's or gene's number.
pub const JOINID: &str = "soma_joinid";
