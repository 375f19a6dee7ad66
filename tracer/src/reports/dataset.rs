//! A dataset of many runs: Parquet files that other programs read as three tables.
//!
//! `docs/dataset.md` says what each column means; columns are added, never renamed.

mod tables;

use super::output::OutDir;
use super::owner::Owner;
use super::{Concluded, Run};
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Digits of a run's name.
const DIGITS: usize = 16;

/// What whoever exports a run says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The revision of what ran.
    pub commit: Option<String>,
    /// Anything else.
    pub others: BTreeMap<String, String>,
}

/// Adds a run to the dataset in `dir`: a file of each table, in the folder of the run's day. One that
/// is there already is replaced.
///
/// # Errors
/// Where a file can't be written. None is there half; those before it stay.
pub fn export(
    input: &Concluded,
    labels: &Labels,
    dir: &Path,
    owner: Option<Owner>,
) -> io::Result<()> {
    let (name, day) = (name(&input.run), day(&input.run)?);
    // The table of runs is the last: who finds a run there finds its stacks too.
    let tables = [
        ("stacks", tables::stacks(input, &name)),
        ("processes", tables::processes(input, &name)),
        ("runs", tables::runs(input, labels, &name)),
    ];
    for (table, batch) in tables {
        let bytes = parquet(&batch.map_err(in_words)?).map_err(in_words)?;
        let folder = dir.join(table).join(format!("date={day}"));
        let out = OutDir::create(&folder, owner).map_err(|error| {
            let text = format!("can't write to {}: {error}", folder.display());
            io::Error::new(error.kind(), text)
        })?;
        out.write(&format!("{name}.parquet"), |file| file.write_all(&bytes))?;
    }
    Ok(())
}

/// Names a run: the same each time, and another one's no other time.
pub(super) fn name(run: &Run) -> String {
    let mut digest = Sha256::new();
    digest.update(run.began_unix_ns.to_le_bytes());
    // Each word with its end, so that no two commands are one.
    for word in run.host.iter().chain(&run.command) {
        digest.update((word.len() as u64).to_le_bytes());
        digest.update(word);
    }
    let hex = |text, byte| format!("{text}{byte:02x}");
    let bytes = digest.finalize();
    bytes.iter().take(DIGITS / 2).fold(String::new(), hex)
}

/// The day on which a run began, in UTC: `2026-11-29`.
fn day(run: &Run) -> io::Result<String> {
    const NANOS: u64 = 24 * 3600 * 1_000_000_000;
    let days = (run.began_unix_ns / NANOS) as i32;
    arrow::temporal_conversions::date32_to_datetime(days)
        .map(|time| time.date().to_string())
        .ok_or_else(|| in_words("the recording began on no day"))
}

/// A table as a Parquet file.
fn parquet(batch: &RecordBatch) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(concat!("tracer ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.close()?;
    Ok(bytes)
}

fn in_words(error: impl ToString) -> io::Error {
    io::Error::other(error.to_string())
}

#[cfg(test)]
pub(super) mod tests;
