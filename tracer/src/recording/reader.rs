//! Reading a recording.

use super::decode::Decode;
use super::guard::{Messages, Next};
use super::schema::{self, Stream};
use super::{Error, Meta, ResolvedAddress};
use crate::events::{Captured, Command, Event, Lost, Mark, Module};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc;
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::{RecordBatchDecoder, read_dictionary};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

/// A recording on disk.
#[derive(Debug)]
pub struct Recording {
    dir: PathBuf,
    meta: Meta,
    complete: bool,
}

/// Batches that are unpacked before they are needed.
const AHEAD: usize = 2;

/// Events in their order.
pub type Events = Rows<Event>;

impl Recording {
    /// Opens a recording: reads what it says about itself, and walks over its
    /// messages to see whether every stream was ended.
    ///
    /// # Errors
    /// If there is no recording, or one of another version.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(Stream::Events.file_name());
        let schema = Batches::open(&path, Stream::Events)?.schema;
        let mut meta =
            Meta::from_schema(&schema).map_err(|what| Error::NotARecording { path, what })?;
        // What is known at the end alone is in the stream that is written last, if it was.
        let last = Batches::open(&dir.join(Stream::Losses.file_name()), Stream::Losses).ok();
        meta.limits = last.and_then(|last| Meta::from_schema(&last.schema).ok()?.limits);
        let whole = |stream: Stream| {
            // Tracers that did not record these yet left no such file.
            if matches!(stream, Stream::Commands | Stream::Marks)
                && !dir.join(stream.file_name()).exists()
            {
                return true;
            }
            let messages = Messages::open(&dir.join(stream.file_name()), stream);
            messages.and_then(Messages::whole).unwrap_or(false)
        };
        Ok(Self {
            dir: dir.to_owned(),
            meta,
            complete: Stream::ALL.into_iter().all(whole),
        })
    }

    /// What it says about itself.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Whether every stream was ended, the losses last: nothing of what was
    /// recorded is missing here.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// Its events, one batch in memory at a time.
    ///
    /// # Errors
    /// If the file can't be opened.
    pub fn events(&self) -> Result<Events, Error> {
        self.rows()
    }

    /// Calls `each` with every event, in order. The next batch is unpacked on another thread
    /// meanwhile, for that takes as long as to do something with it.
    ///
    /// # Errors
    /// Why the rest can't be read: the events before have been given.
    pub fn replay(&self, mut each: impl FnMut(&Event)) -> Result<(), Error> {
        let mut rows = self.events()?;
        std::thread::scope(|scope| {
            let (send, batches) = sync_channel(AHEAD);
            let unpack = move || {
                while let Some(batch) = rows.batch() {
                    // Nobody listens any more after an error.
                    if send.send(batch).is_err() {
                        return;
                    }
                }
            };
            let started = std::thread::Builder::new().spawn_scoped(scope, unpack);
            if started.is_err() {
                // Where no thread can be had, this one does both.
                for event in self.events()? {
                    each(&event?);
                }
                return Ok(());
            }
            for batch in batches {
                batch?.iter().for_each(&mut each);
            }
            Ok(())
        })
    }

    /// Its stacks.
    ///
    /// # Errors
    /// If the file can't be opened.
    pub fn stacks(&self) -> Result<Rows<Captured>, Error> {
        self.rows()
    }

    /// Its modules.
    ///
    /// # Errors
    /// If the file can't be opened.
    pub fn modules(&self) -> Result<Rows<Module>, Error> {
        self.rows()
    }

    /// Its symbols.
    ///
    /// # Errors
    /// If the file can't be opened.
    pub fn symbols(&self) -> Result<Rows<ResolvedAddress>, Error> {
        self.rows()
    }

    /// What its processes executed.
    ///
    /// # Errors
    /// If the file can't be opened.
    pub fn commands(&self) -> Result<Rows<Command>, Error> {
        self.rows()
    }

    /// The moments that its programs named, in the order in which they were told.
    ///
    /// # Errors
    /// If the file can't be opened.
    pub fn marks(&self) -> Result<Rows<Mark>, Error> {
        self.rows()
    }

    /// What was lost; nothing where the recording has no losses yet
    /// ([`complete`](Self::complete) is false then).
    ///
    /// # Errors
    /// If the file is there and can't be read.
    pub fn losses(&self) -> Result<Vec<Lost>, Error> {
        self.rows()?.collect()
    }

    /// A stream that is missing, or ends before its schema, has no rows: its writer died first.
    fn rows<T: Decode>(&self) -> Result<Rows<T>, Error> {
        let path = self.dir.join(T::STREAM.file_name());
        let batches = match Batches::open(&path, T::STREAM) {
            Ok(batches) => Some(batches),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
            Err(Error::NotARecording { .. }) if !self.complete => None,
            Err(error) => return Err(error),
        };
        Ok(Rows {
            batches,
            ready: Vec::new().into_iter(),
        })
    }
}

/// Rows of a stream. They end with the last whole batch; an error, if there is
/// one, comes once and last.
pub struct Rows<T> {
    batches: Option<Batches>,
    ready: std::vec::IntoIter<T>,
}

impl<T: Decode> Rows<T> {
    /// All rows of the next batch; nothing at the end.
    fn batch(&mut self) -> Option<Result<Vec<T>, Error>> {
        let mut batches = self.batches.take()?;
        let decode = |batch: Result<RecordBatch, Error>, batches: &Batches| {
            T::decode(&batch?).map_err(|what| batches.messages.corrupt(what))
        };
        let rows = decode(batches.next().transpose()?, &batches);
        if rows.is_ok() {
            self.batches = Some(batches);
        }
        Some(rows)
    }
}

impl<T: Decode> Iterator for Rows<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.next() {
                return Some(Ok(row));
            }
            match self.batch()? {
                Ok(rows) => self.ready = rows.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Record batches of one file.
struct Batches {
    messages: Messages,
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Batches {
    /// Opens a stream and compares its columns with those that this version has.
    fn open(path: &Path, stream: Stream) -> Result<Self, Error> {
        let not = |what: &str| Error::NotARecording {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        let mut messages = Messages::open(path, stream)?;
        let Next::Message { metadata, .. } = messages.next()? else {
            return Err(not("it has no schema"));
        };
        let schema = ipc::root_as_message(&metadata)
            .ok()
            .and_then(|message| message.header_as_schema());
        let schema = schema.ok_or_else(|| not("it does not begin with a schema"))?;
        let schema = try_fb_to_schema(schema).map_err(|error| not(&error.to_string()))?;
        match schema.metadata().get(schema::META_VERSION) {
            Some(version) if version == &schema::VERSION.to_string() => {}
            Some(version) => {
                return Err(Error::Version {
                    path: path.to_owned(),
                    found: version.to_string(),
                });
            }
            None => return Err(not(&format!("no metadata {:?}", schema::META_VERSION))),
        }
        if schema.fields() != &stream.fields() {
            return Err(not("it has other columns"));
        }
        Ok(Self {
            messages,
            schema: Arc::new(schema),
            dictionaries: HashMap::new(),
        })
    }

    /// The next batch; nothing at the end, be it the mark or a tear.
    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        while let Next::Message { metadata, body } = self.messages.next()? {
            let decoded = self.decode(&metadata, body);
            if let Some(batch) =
                decoded.map_err(|error| self.messages.corrupt(error.to_string()))?
            {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// A batch, or nothing where the message is a dictionary.
    fn decode(
        &mut self,
        metadata: &[u8],
        body: Vec<u8>,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let message = ipc::root_as_message(metadata)
            .map_err(|error| ArrowError::ParseError(error.to_string()))?;
        let body = Buffer::from_vec(body);
        let version = message.version();
        if let Some(dictionary) = message.header_as_dictionary_batch() {
            read_dictionary(
                &body,
                dictionary,
                &self.schema,
                &mut self.dictionaries,
                &version,
            )?;
            return Ok(None);
        }
        let batch = message.header_as_record_batch();
        let batch = batch.ok_or_else(|| ArrowError::ParseError("a second schema".to_owned()))?;
        let schema = Arc::clone(&self.schema);
        let columns = used(&batch, &schema);
        RecordBatchDecoder::try_new(&body, batch, schema, &self.dictionaries, &version)?
            .with_projection(columns.as_deref())
            .read_record_batch()
            .map(Some)
    }
}

/// The columns that are not null in all rows: most of an event's are, and unpacking nothing
/// but zeros would take most of the time. Says nothing where fields are nested, for then
/// nodes and columns do not go together.
fn used(batch: &ipc::RecordBatch<'_>, schema: &Schema) -> Option<Vec<usize>> {
    let nodes = batch
        .nodes()
        .filter(|nodes| nodes.len() == schema.fields().len())?;
    let flat = schema
        .fields()
        .iter()
        .all(|field| !field.data_type().is_nested());
    let used = |&at: &usize| {
        let node = nodes.get(at);
        !schema.field(at).is_nullable() || node.null_count() < node.length()
    };
    flat.then(|| (0..nodes.len()).filter(used).collect())
}
