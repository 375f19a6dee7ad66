use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};

use super::types::ArrowColumn;
use super::{ColumnBuffer, Error, Filter, OBJECT_TYPE, Result, Table, nearest};
use crate::tiledb::{
    Array, ArrayKind, Column, Context, Datatype, Field, Mode, ObjectKind, Outcome, ReadQuery,
    Schema,
};

/// An open SOMADataFrame.
pub struct DataFrame {
    uri: String,
    array: Array,
    schema: Schema,
}

/// What to read, and into how large buffers.
#[derive(Default)]
pub struct ReadOptions<'a> {
    /// The columns, in this order; all of them, in the schema's order, if `None`.
    pub columns: Option<&'a [String]>,
    /// The rows; all of them if `None`. Its columns are read, too.
    pub filter: Option<&'a Filter>,
    /// `soma.init_buffer_bytes`: the bytes reserved for each column's data.
    pub buffer_bytes: usize,
    /// Whether the buffers are [`Reserved::aside`](crate::reserved::Reserved::aside).
    pub is_aside: bool,
}

impl DataFrame {
    /// Opens the dataframe at `uri`.
    pub fn open(ctx: &Context, uri: &str) -> Result<Self> {
        let not_soma = |found: &str| Error::NotSoma {
            uri: uri.to_owned(),
            found: found.to_owned(),
            expected: "a SOMADataFrame",
        };
        match ObjectKind::at(ctx, uri)? {
            ObjectKind::Array => {}
            ObjectKind::Group => return Err(not_soma("a group")),
            ObjectKind::Nothing => return Err(not_soma("no TileDB object")),
        }
        let array = Array::open(ctx, uri, Mode::Read)?;
        match array.metadata(OBJECT_TYPE)? {
            Some(kind) if kind == "SOMADataFrame" => {}
            Some(kind) => return Err(not_soma(&format!("a {kind}"))),
            None => return Err(not_soma("a TileDB array without a SOMA type")),
        }
        let schema = array.schema()?;
        if schema.kind != ArrayKind::Sparse {
            return Err(not_soma("a dense array"));
        }
        Ok(Self {
            uri: uri.to_owned(),
            array,
            schema,
        })
    }

    /// The context that it was opened with.
    pub fn context(&self) -> &Context {
        self.array.context()
    }

    /// The URI that it was opened at.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Its columns, dimensions first.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The column of that name, or an error that names the ones most like it.
    pub fn column(&self, name: &str) -> Result<&Column> {
        self.schema.column(name).ok_or_else(|| {
            let columns: Vec<_> = self.schema.columns.iter().map(|c| c.name.clone()).collect();
            let (uri, name, nearest) = (self.uri.clone(), name.to_owned(), nearest(name, &columns));
            Error::NoColumn {
                uri,
                name,
                nearest,
                columns,
            }
        })
    }

    /// The values that a dictionary column of strings can have; none for other columns.
    pub fn vocabulary(&self, column: &str) -> Result<Option<Vec<String>>> {
        match &self.column(column)?.enumeration {
            Some(name) => Ok(Some(self.array.enumeration(name)?.strings()?)),
            None => Ok(None),
        }
    }

    /// The type of a column's values, those of its dictionary if it has one.
    pub(super) fn value_type(&self, column: &Column) -> Result<Datatype> {
        match &column.enumeration {
            Some(name) => Ok(self.array.enumeration(name)?.datatype()?),
            None => Ok(column.datatype),
        }
    }

    /// The columns to read: those asked for, then those of the filter.
    fn selected(&self, options: &ReadOptions<'_>) -> Result<Vec<&Column>> {
        let Some(names) = options.columns else {
            return Ok(self.schema.columns.iter().collect());
        };
        let mut columns: Vec<&Column> = Vec::with_capacity(names.len());
        let filtered = options.filter.map_or(&[][..], |filter| &filter.columns);
        for name in names.iter().chain(filtered) {
            let column = self.column(name)?;
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        Ok(columns)
    }

    /// Starts a read. Nothing is reserved before the first batch is asked for.
    pub fn read(&self, options: &ReadOptions<'_>) -> Result<Batches> {
        let columns = self.selected(options)?;
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let condition = options.filter.map(|filter| &filter.condition);
        let query = ReadQuery::new(&self.array, &names, condition)?;
        let columns = columns
            .iter()
            .map(|column| ArrowColumn::new(&self.array, column))
            .collect::<Result<Vec<_>>>()?;
        let fields: Vec<_> = columns.iter().map(|column| column.field.clone()).collect();
        let schema = Arc::new(ArrowSchema::new(fields));
        Ok(Batches {
            query,
            columns,
            schema,
            buffer_bytes: options.buffer_bytes,
            alloc: match options.is_aside {
                true => ColumnBuffer::alloc_aside,
                false => ColumnBuffer::alloc,
            },
            done: false,
            submitting: Duration::ZERO,
        })
    }
}

/// A read under way: one record batch for each time that the buffers were full.
pub struct Batches {
    query: ReadQuery,
    columns: Vec<ArrowColumn>,
    schema: SchemaRef,
    buffer_bytes: usize,
    alloc: fn(&Column, usize) -> Result<ColumnBuffer>,
    done: bool,
    submitting: Duration,
}

impl Batches {
    /// The schema of all batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Reads to the end.
    pub fn table(mut self) -> Result<Table> {
        let batches = self.by_ref().collect::<Result<_>>()?;
        // Gigabytes of tiles may go with the query, so that its end is a part of the read.
        let start = Instant::now();
        drop(self.query);
        Ok(Table {
            schema: self.schema,
            batches,
            submitting: self.submitting + start.elapsed(),
        })
    }

    /// Reads one batch into a new set of buffers, as `ManagedQuery::read_next` does: the buffers
    /// of earlier batches belong to Arrow by now, and live as long as their batches.
    fn read_batch(&mut self) -> Result<RecordBatch> {
        let mut buffers = self
            .columns
            .iter()
            .map(|column| (self.alloc)(&column.column, self.buffer_bytes))
            .collect::<Result<Vec<_>>>()?;
        let mut fields: Vec<Field<'_>> = buffers.iter_mut().map(ColumnBuffer::field).collect();
        let start = Instant::now();
        let outcome = self.query.submit(&mut fields)?;
        self.submitting += start.elapsed();
        let rows = buffers.first().map_or(0, ColumnBuffer::cells);
        match outcome {
            Outcome::Complete => self.done = true,
            Outcome::Incomplete if rows == 0 => {
                return Err(Error::BuffersTooSmall(self.buffer_bytes));
            }
            Outcome::Incomplete => {}
        }
        let arrays = buffers
            .into_iter()
            .zip(&self.columns)
            .map(|(buffer, column)| buffer.into_array(column))
            .collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(self.schema.clone(), arrays)?)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let batch = self.read_batch();
        self.done |= batch.is_err();
        Some(batch)
    }
}
