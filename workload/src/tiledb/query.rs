use std::ffi::CString;
use std::ptr;

use super::context::{c_string, call, handle};
use super::{Array, Condition, Error, Result};
use crate::reserved::Reserved;

/// `TILEDB_UNORDERED`: cells in the order in which they are found.
const UNORDERED: u32 = 3;
/// `TILEDB_GLOBAL_ORDER`: cells sorted by tile, and within it by coordinate.
const GLOBAL_ORDER: u32 = 2;

handle!(Query, query_free);

/// Where a read puts one column. The capacities bound what TileDB may write.
pub struct Field<'a> {
    /// Values.
    pub data: &'a mut Reserved,
    /// The size of a value in bytes: only whole values are asked for.
    pub value_size: usize,
    /// Of a variable-length column, where each cell begins in `data`, in bytes. One more offset
    /// than TileDB may write is reserved, for Arrow's last one.
    pub offsets: Option<&'a mut Reserved>,
    /// Of a nullable column, one byte a cell: 0 for null.
    pub validity: Option<&'a mut Reserved>,
}

/// How a submission ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All results have been given.
    Complete,
    /// The buffers, or the memory budget, held only a part; submit again.
    Incomplete,
}

/// The sizes that a submission reads and writes through pointers, in bytes.
#[derive(Default)]
struct Sizes {
    data: u64,
    offsets: u64,
    validity: u64,
}

/// A read of some columns, and of the cells that meet a condition.
pub struct ReadQuery {
    query: Query,
    columns: Vec<CString>,
    /// Boxed: libtiledb keeps pointers into it until the query is freed.
    sizes: Box<[Sizes]>,
}

impl ReadQuery {
    /// Prepares a read of these columns of an open array.
    pub fn new(array: &Array, columns: &[&str], condition: Option<&Condition>) -> Result<Self> {
        let query = Query::open(array, 0, UNORDERED)?;
        if let Some(condition) = condition {
            call!(query.ctx, query_set_condition, query.ptr, condition.ptr)?;
        }
        let columns = columns
            .iter()
            .map(|name| c_string(name))
            .collect::<Result<Vec<_>>>()?;
        let sizes = columns.iter().map(|_| Sizes::default()).collect();
        Ok(Self {
            query,
            columns,
            sizes,
        })
    }

    /// Reads the next part into these buffers, one for each column in the order of `new`, and sets
    /// their lengths to what was written.
    pub fn submit(&mut self, fields: &mut [Field<'_>]) -> Result<Outcome> {
        if fields.len() != self.columns.len() {
            return Err(Error::Unexpected("a buffer for each column, please".into()));
        }
        for (index, field) in fields.iter_mut().enumerate() {
            self.attach(index, field)?;
        }
        call!(self.query.ctx, query_submit, self.query.ptr)?;
        for (field, sizes) in fields.iter_mut().zip(&self.sizes) {
            field.take_sizes(sizes);
        }
        self.query.outcome()
    }

    /// Tells TileDB where one column goes.
    fn attach(&mut self, index: usize, field: &mut Field<'_>) -> Result<()> {
        let (ctx, query) = (&self.query.ctx, self.query.ptr);
        let (name, sizes) = (self.columns[index].as_ptr(), &mut self.sizes[index]);
        sizes.data = (field.data.capacity() / field.value_size * field.value_size) as u64;
        let data = field.data.as_mut_ptr().cast();
        // For this and the two below: the buffer has at least the given size and is exclusively
        // borrowed during `submit`, the only time at which TileDB writes to it, and every buffer
        // is attached anew before each submission. The sizes live in a box as long as the query.
        call!(
            ctx,
            query_set_data_buffer,
            query,
            name,
            data,
            &mut sizes.data
        )?;
        if let Some(offsets) = &mut field.offsets {
            sizes.offsets = (offsets.capacity() / 8 * 8).saturating_sub(8) as u64;
            let data = offsets.as_mut_ptr().cast();
            call!(
                ctx,
                query_set_offsets_buffer,
                query,
                name,
                data,
                &mut sizes.offsets
            )?;
        }
        if let Some(validity) = &mut field.validity {
            sizes.validity = validity.capacity() as u64;
            let data = validity.as_mut_ptr();
            call!(
                ctx,
                query_set_validity_buffer,
                query,
                name,
                data,
                &mut sizes.validity
            )?;
        }
        Ok(())
    }
}

impl Field<'_> {
    fn take_sizes(&mut self, sizes: &Sizes) {
        let filled = |buffer: &mut Reserved, bytes: u64| {
            let len = usize::try_from(bytes)
                .unwrap_or(usize::MAX)
                .min(buffer.capacity());
            // SAFETY: TileDB reports the bytes that it wrote; capped by the capacity.
            unsafe { buffer.set_len(len) };
        };
        filled(self.data, sizes.data);
        if let Some(offsets) = &mut self.offsets {
            filled(offsets, sizes.offsets);
        }
        if let Some(validity) = &mut self.validity {
            filled(validity, sizes.validity);
        }
    }
}

/// One column's values for a write.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The values' bytes.
    pub data: &'a [u8],
    /// Of a variable-length column, where each cell begins in `data`, in bytes.
    pub offsets: Option<&'a [u64]>,
}

/// A write of one fragment, cells in ascending order of the dimension, in any number of parts.
pub struct WriteQuery {
    query: Query,
    columns: Vec<CString>,
    sizes: Box<[Sizes]>,
}

impl WriteQuery {
    /// Prepares a write of these columns; all of the array's, the dimension among them.
    pub fn new(array: &Array, columns: &[&str]) -> Result<Self> {
        let query = Query::open(array, 1, GLOBAL_ORDER)?;
        let columns = columns
            .iter()
            .map(|name| c_string(name))
            .collect::<Result<Vec<_>>>()?;
        let sizes = columns.iter().map(|_| Sizes::default()).collect();
        Ok(Self {
            query,
            columns,
            sizes,
        })
    }

    /// Writes the next cells; the same number in each column.
    pub fn submit(&mut self, inputs: &[Input<'_>]) -> Result<()> {
        if inputs.len() != self.columns.len() {
            return Err(Error::Unexpected("a buffer for each column, please".into()));
        }
        let (ctx, query) = (&self.query.ctx, self.query.ptr);
        for ((name, input), sizes) in self.columns.iter().zip(inputs).zip(&mut self.sizes) {
            sizes.data = input.data.len() as u64;
            // TileDB only reads the buffers of a write, and only during the submission.
            let data = input.data.as_ptr().cast_mut().cast();
            call!(
                ctx,
                query_set_data_buffer,
                query,
                name.as_ptr(),
                data,
                &mut sizes.data
            )?;
            if let Some(offsets) = input.offsets {
                sizes.offsets = size_of_val(offsets) as u64;
                let data = offsets.as_ptr().cast_mut();
                let bytes = &mut sizes.offsets;
                call!(
                    ctx,
                    query_set_offsets_buffer,
                    query,
                    name.as_ptr(),
                    data,
                    bytes
                )?;
            }
        }
        call!(ctx, query_submit, query)
    }

    /// Writes what is left, and the fragment's metadata: only now are the cells there.
    pub fn finish(self) -> Result<()> {
        call!(self.query.ctx, query_finalize, self.query.ptr)
    }
}

impl Query {
    fn open(array: &Array, mode: u32, layout: u32) -> Result<Self> {
        let (ctx, mut ptr) = (array.context(), ptr::null_mut());
        call!(ctx, query_alloc, array.ptr, mode, &mut ptr)?;
        let query = Self::adopt(ctx, ptr);
        call!(ctx, query_set_layout, query.ptr, layout)?;
        Ok(query)
    }

    fn outcome(&self) -> Result<Outcome> {
        let mut status = 0;
        call!(self.ctx, query_get_status, self.ptr, &mut status)?;
        match status {
            1 => Ok(Outcome::Complete),
            3 => Ok(Outcome::Incomplete),
            other => Err(Error::Unexpected(format!(
                "the query ended in state {other}"
            ))),
        }
    }
}
