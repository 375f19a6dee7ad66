//! One stream on its way to a file.

use super::schema::Stream;
use super::{Error, Meta};
use arrow::array::RecordBatch;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

/// A stream and its file. A batch is encoded in memory and then written at once;
/// where that fails the file is cut back, so that it always ends with a whole message.
pub(super) struct Output {
    path: PathBuf,
    pub(super) file: File,
    encoder: StreamWriter<Vec<u8>>,
    /// Bytes of whole messages in the file.
    length: u64,
}

impl Output {
    /// Creates the file, which must not exist: a link planted there is not followed.
    pub(super) fn create(dir: &Path, stream: Stream, meta: &Meta) -> Result<Self, Error> {
        let path = dir.join(stream.file_name());
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io(&path))?;
        let encoder = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::LZ4_FRAME))
            .and_then(|options| {
                StreamWriter::try_new_with_options(Vec::new(), &meta.schema(stream), options)
            })
            .map_err(io::Error::other)
            .map_err(Error::io(&path))?;
        let mut output = Self {
            path,
            file,
            encoder,
            length: 0,
        };
        output.drain()?;
        Ok(output)
    }

    /// Appends one batch.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.encoder
            .write(batch)
            .map_err(io::Error::other)
            .map_err(Error::io(&self.path))?;
        self.drain()
    }

    /// Writes the end-of-stream mark.
    pub(super) fn finish(mut self) -> Result<u64, Error> {
        self.encoder
            .finish()
            .map_err(io::Error::other)
            .map_err(Error::io(&self.path))?;
        self.drain()?;
        Ok(self.length)
    }

    /// Encoded bytes into the file, all or none.
    fn drain(&mut self) -> Result<(), Error> {
        let bytes = self.encoder.get_mut();
        let result = self.file.write_all(bytes);
        let written = bytes.len() as u64;
        bytes.clear();
        if let Err(error) = result {
            // Best effort: a reader stops at a torn message as well.
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(io::SeekFrom::Start(self.length));
            return Err(Error::io(&self.path)(error));
        }
        self.length += written;
        Ok(())
    }
}
