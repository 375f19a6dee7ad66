//! Feather files: Arrow's IPC file format, version 2.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};

/// A file that couldn't be written.
#[derive(Debug, thiserror::Error)]
#[error("{path} can't be written")]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: ArrowError,
}

/// Rows in each record batch of a file, as pandas has it by default.
const CHUNK_ROWS: usize = 65_536;

/// Writes a table to `path`, LZ4-compressed as pandas does it. The file appears under its name
/// only when it is whole.
pub fn write(path: &Path, table: &RecordBatch) -> Result<(), WriteError> {
    let temporary = path.with_extension(format!("partial-{}", std::process::id()));
    let written = write_file(&temporary, table)
        .and_then(|()| fs::rename(&temporary, path).map_err(ArrowError::from));
    written.map_err(|source| {
        // The error that counts is the first one.
        let _ = fs::remove_file(&temporary);
        WriteError {
            path: path.to_owned(),
            source,
        }
    })
}

fn write_file(path: &Path, table: &RecordBatch) -> Result<(), ArrowError> {
    let options =
        IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut writer = FileWriter::try_new_with_options(file, &table.schema(), options)?;
    // An empty table is written as one empty batch: dictionaries come with a batch.
    for start in (0..table.num_rows().max(1)).step_by(CHUNK_ROWS) {
        writer.write(&table.slice(start, CHUNK_ROWS.min(table.num_rows() - start)))?;
    }
    writer.finish()?;
    let file = writer
        .into_inner()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    Ok(file.sync_all()?)
}
