//! The command line. Its types stop here.

use std::path::PathBuf;

use clap::Parser;
use workload::census::Frame;
use workload::size::Bytes;

/// Fetches obs (or var) of a CELLxGENE Census query, as TileDB-SOMA does.
///
/// Prints which Census it is, what its `census_info/summary` says, how long each step took, and the
/// shape and columns of the result:
/// `open` opens the Census and the experiment; `query` opens the dataframe and prepares the
/// query; `obs` reads all record batches, in the buffers that TileDB wrote them to; `obs-df`
/// materialises them as one contiguous Arrow table in memory of exactly the needed size
/// (dictionary columns stay codes with a shared dictionary, strings are one block a column).
#[derive(Debug, Parser)]
#[command(name = "workload", version)]
pub(crate) struct Cli {
    /// Cells with this `tissue_general`
    #[arg(short, long, conflicts_with = "fetch_vars")]
    pub(crate) tissue: Option<String>,

    /// Rows that meet this, in TileDB-SOMA's syntax: "tissue in ['lung', 'blood'] and nnz > 500"
    #[arg(long, value_name = "FILTER")]
    pub(crate) value_filter: Option<String>,

    /// TileDB's `sm.mem.total_budget`
    #[arg(short = 'b', long, value_name = "SIZE", default_value = "10GiB")]
    pub(crate) mem_total_budget: Bytes,

    /// `soma.init_buffer_bytes`: what is reserved for each column before a read
    #[arg(short = 'B', long, value_name = "SIZE", default_value = "1GiB")]
    pub(crate) init_buffer_bytes: Bytes,

    /// The columns to fetch, separated by commas [default: all]
    #[arg(short, long, value_delimiter = ',', value_name = "COLUMNS")]
    pub(crate) columns: Option<Vec<String>>,

    /// A version of the public Census, on S3: a date such as 2024-07-01, or `stable` or `latest`.
    /// Without it (and without --uri), the synthetic Census on this machine is opened, which is
    /// modelled on 2024-07-01, and no network is asked for anything
    #[arg(short = 'C', long, value_name = "VERSION", conflicts_with = "uri")]
    pub(crate) census_version: Option<String>,

    /// The directory of versions, a file or a URL, to look VERSION up in [default for `stable`
    /// and `latest`: that of the public Census; for dates: none]
    #[arg(long, value_name = "FILE|URL", requires = "census_version")]
    pub(crate) release_json: Option<String>,

    /// The Census to open, instead of the synthetic one on this machine
    #[arg(long)]
    pub(crate) uri: Option<String>,

    /// The organism
    #[arg(long, value_name = "NAME", default_value = "homo_sapiens")]
    pub(crate) organism: String,

    /// Fetch genes (`var` of the measurement RNA) instead of cells
    #[arg(short = 'V', long)]
    pub(crate) fetch_vars: bool,

    /// Any other TileDB setting, `vfs.*`, `sm.*` or `soma.*`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) config: Vec<(String, String)>,

    /// Print as well how much of the read passed inside libtiledb, as `submit took …`
    #[arg(long)]
    pub(crate) timings: bool,

    /// The libtiledb to load, instead of the first one found (see TILEDB_LIB)
    #[arg(long, value_name = "FILE")]
    pub(crate) libtiledb: Option<PathBuf>,

    /// Write the table and its joinids here, as Feather files
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out_dir: Option<PathBuf>,
}

impl Cli {
    /// What is fetched.
    pub(crate) fn frame(&self) -> Frame {
        if self.fetch_vars {
            Frame::Var
        } else {
            Frame::Obs
        }
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, such as vfs.s3.region=us-east-1".to_owned()),
    }
}
