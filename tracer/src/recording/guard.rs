//! Messages of an IPC stream, checked before arrow-rs sees them.
//!
//! A recording may come from anywhere. Lengths in it are announcements, and
//! decoders tend to allocate what is announced, or to assert that buffers lie
//! within their message. Here every length is held against what the file really
//! holds and against a fixed limit, so that a hostile file costs an error and at
//! most [`MAX_BODY`] bytes. What is inside the buffers (offsets, keys, UTF-8) is
//! validated by arrow-rs, which reports it as an error.

use super::schema::Stream;
use super::{Error, layout};
use arrow::ipc;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes of a message's flatbuffer at most; the longest holds the command line.
const MAX_METADATA: u64 = 16 << 20;

/// Bytes of a message's buffers at most, compressed and decompressed; ours stay below 16 MiB.
const MAX_BODY: u64 = 256 << 20;

/// Rows of a batch, and values of a list column in it, at most.
const MAX_VALUES: i64 = 32 << 20;

/// What stands in front of every message.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Bytes of that and of the length of the flatbuffer.
const PREFIX: u64 = 8;

/// How a stream goes on.
#[derive(Debug)]
pub(super) enum Next {
    /// A whole message.
    Message {
        /// Its flatbuffer.
        metadata: Vec<u8>,
        /// What the buffers that it names are ranges of.
        body: Vec<u8>,
    },
    /// The end-of-stream mark.
    End,
    /// The file ends within a message, or without the mark: its writer did not finish.
    Torn,
}

/// The messages of one file.
pub(super) struct Messages {
    path: PathBuf,
    file: BufReader<File>,
    /// Size of the file when it was opened.
    length: u64,
    /// Where the next message begins.
    offset: u64,
    /// Bytes of an element of each buffer of a batch.
    elements: Vec<u64>,
}

impl Messages {
    /// Opens a file, which must be a plain one: a pipe could keep us waiting for ever.
    pub(super) fn open(path: &Path, stream: Stream) -> Result<Self, Error> {
        let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
        if !metadata.is_file() {
            let what = "not a plain file".to_owned();
            return Err(Error::NotARecording {
                path: path.to_owned(),
                what,
            });
        }
        let file = File::open(path).map_err(Error::io(path))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            length: metadata.len(),
            offset: 0,
            elements: layout::of_batch(&stream.fields()),
        })
    }

    /// The next message.
    pub(super) fn next(&mut self) -> Result<Next, Error> {
        let (metadata, length) = match self.header()? {
            Some(header) if header.0.is_empty() => return Ok(Next::End),
            Some(header) => header,
            None => return Ok(Next::Torn),
        };
        let body = self.read(length)?;
        check(&metadata, &body, &self.elements).map_err(|what| self.corrupt(what))?;
        self.offset += PREFIX + metadata.len() as u64 + length;
        Ok(Next::Message { metadata, body })
    }

    /// Whether the file consists of whole messages and the mark, and of nothing else.
    pub(super) fn whole(mut self) -> Result<bool, Error> {
        while let Some((metadata, body)) = self.header()? {
            self.offset += PREFIX + metadata.len() as u64 + body;
            if metadata.is_empty() {
                return Ok(self.offset == self.length);
            }
            self.file
                .seek(SeekFrom::Start(self.offset))
                .map_err(Error::io(&self.path))?;
        }
        Ok(false)
    }

    /// Flatbuffer of the next message and the length of its body; both empty for the
    /// end mark, nothing where the file is torn.
    fn header(&mut self) -> Result<Option<(Vec<u8>, u64)>, Error> {
        let left = self.length.saturating_sub(self.offset);
        let Some(left) = left.checked_sub(PREFIX) else {
            return Ok(None);
        };
        let prefix = self.read(PREFIX)?;
        let (mark, size) = prefix.split_at(4);
        if mark != CONTINUATION {
            return Err(self.corrupt("no message begins here".to_owned()));
        }
        let size = u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]]));
        if size > MAX_METADATA {
            return Err(self.corrupt(format!("a message announces {size} bytes of metadata")));
        }
        let Some(left) = left.checked_sub(size) else {
            return Ok(None);
        };
        let metadata = self.read(size)?;
        if metadata.is_empty() {
            return Ok(Some((metadata, 0)));
        }
        let length = match ipc::root_as_message(&metadata) {
            Ok(message) => message.bodyLength(),
            Err(error) => return Err(self.corrupt(format!("metadata: {error}"))),
        };
        match u64::try_from(length) {
            Ok(length) if length <= MAX_BODY => Ok((length <= left).then_some((metadata, length))),
            _ => Err(self.corrupt(format!("a message announces {length} bytes of data"))),
        }
    }

    /// Reads exactly `count` bytes, which are known to be there and to be few enough.
    fn read(&mut self, count: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(count as usize);
        let got = self.file.by_ref().take(count).read_to_end(&mut bytes);
        if got.map_err(Error::io(&self.path))? as u64 == count {
            return Ok(bytes);
        }
        Err(self.corrupt("the file became shorter while it was read".to_owned()))
    }

    /// An error about the message at the current offset.
    pub(super) fn corrupt(&self, what: String) -> Error {
        Error::Corrupt {
            path: self.path.clone(),
            offset: self.offset,
            what,
        }
    }
}

/// What arrow-rs takes for granted.
fn check(metadata: &[u8], body: &[u8], elements: &[u64]) -> Result<(), String> {
    let message = ipc::root_as_message(metadata).map_err(|error| format!("metadata: {error}"))?;
    if message.version() != ipc::MetadataVersion::V5 {
        return Err(format!("metadata version {:?}", message.version()));
    }
    if message.header_as_schema().is_some() {
        return Ok(());
    }
    if let Some(batch) = message.header_as_record_batch() {
        return check_batch(&batch, body, elements);
    }
    let dictionary = message
        .header_as_dictionary_batch()
        .ok_or("a message of unknown type")?;
    if dictionary.isDelta() {
        return Err("a dictionary grows".to_owned());
    }
    check_batch(
        &dictionary.data().ok_or("a dictionary without values")?,
        body,
        &layout::of_dictionary(),
    )
}

fn check_batch(batch: &ipc::RecordBatch<'_>, body: &[u8], elements: &[u64]) -> Result<(), String> {
    let values = |count: i64| {
        (0..=MAX_VALUES)
            .contains(&count)
            .then_some(count)
            .ok_or(format!("{count} values"))
    };
    values(batch.length())?;
    for node in batch.nodes().ok_or("a batch without nodes")? {
        if values(node.null_count())? > values(node.length())? {
            return Err("more nulls than values".to_owned());
        }
    }
    if batch
        .variadicBufferCounts()
        .is_some_and(|counts| !counts.is_empty())
    {
        return Err("a variadic buffer".to_owned());
    }
    let buffers = batch.buffers().ok_or("a batch without buffers")?;
    if buffers.len() != elements.len() {
        let (found, needed) = (buffers.len(), elements.len());
        return Err(format!("{found} buffers where columns have {needed}"));
    }
    let compressed = batch.compression().is_some();
    let mut unpacked = 0_u64;
    for (buffer, element) in buffers.iter().zip(elements) {
        let size = size_of_buffer(buffer, body, compressed)?;
        if size % element != 0 {
            return Err(format!(
                "a buffer of {size} bytes for elements of {element}"
            ));
        }
        unpacked = unpacked.saturating_add(size);
        if unpacked > MAX_BODY {
            return Err(format!("buffers announce {unpacked} bytes"));
        }
    }
    Ok(())
}

/// Bytes of a buffer once unpacked.
fn size_of_buffer(buffer: &ipc::Buffer, body: &[u8], compressed: bool) -> Result<u64, String> {
    let range = usize::try_from(buffer.offset())
        .ok()
        .zip(usize::try_from(buffer.length()).ok());
    let bytes = range
        .and_then(|(offset, length)| body.get(offset..offset.checked_add(length)?))
        .ok_or("a buffer outside of its message")?;
    if compressed {
        unpacked_size(bytes)
    } else {
        Ok(bytes.len() as u64)
    }
}

/// A compressed buffer begins with its real length; -1 says that it is not compressed.
fn unpacked_size(bytes: &[u8]) -> Result<u64, String> {
    let Some((size, rest)) = bytes.split_first_chunk::<8>() else {
        return if bytes.is_empty() {
            Ok(0)
        } else {
            Err("a compressed buffer of under 8 bytes".to_owned())
        };
    };
    match i64::from_le_bytes(*size) {
        -1 => Ok(rest.len() as u64),
        size => u64::try_from(size).map_err(|_| format!("a buffer of {size} bytes")),
    }
}
