use arrow::array::{ArrayData, ArrayRef, make_array};
use arrow::datatypes::{
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;

use super::types::{ArrowColumn, damaged};
use super::{Error, Result};
use crate::reserved::{Refused, Reserved};
use crate::tiledb::{Column, Datatype, Field};

/// The buffers that one column of one read goes to, reserved as `ColumnBuffer::alloc` of
/// TileDB-SOMA 1.9 to 2.3 reserves them (`libtiledbsoma/src/soma/column_buffer.cc`).
pub struct ColumnBuffer {
    value_size: usize,
    data: Reserved,
    offsets: Option<Reserved>,
    validity: Option<Reserved>,
}

impl ColumnBuffer {
    /// Reserves the buffers of a column, where `bytes` is `soma.init_buffer_bytes`:
    ///
    /// - data: `bytes`;
    /// - offsets, of a variable-length column: `bytes / 8 + 1` values of 8 bytes;
    /// - validity, of a nullable column: one byte for each cell that can fit, which is
    ///   `bytes / 8` of variable length, else `bytes / size of a value`.
    pub fn alloc(column: &Column, bytes: usize) -> Result<Self> {
        Self::alloc_by(Reserved::with_capacity, column, bytes)
    }

    /// The same, by [`Reserved::aside`].
    pub(super) fn alloc_aside(column: &Column, bytes: usize) -> Result<Self> {
        Self::alloc_by(Reserved::aside, column, bytes)
    }

    fn alloc_by(
        reserved: fn(usize) -> std::result::Result<Reserved, Refused>,
        column: &Column,
        bytes: usize,
    ) -> Result<Self> {
        let value_size = column.datatype.size();
        let cells = bytes
            / if column.is_variable {
                size_of::<u64>()
            } else {
                value_size
            };
        let reserve = |bytes| {
            reserved(bytes).map_err(|source| Error::Refused {
                column: column.name.clone(),
                source,
            })
        };
        Ok(Self {
            value_size,
            data: reserve(bytes)?,
            offsets: column
                .is_variable
                .then(|| reserve((cells + 1) * size_of::<u64>()))
                .transpose()?,
            validity: column.is_nullable.then(|| reserve(cells)).transpose()?,
        })
    }

    /// The bytes reserved, all buffers together.
    pub fn capacity(&self) -> usize {
        let optional = |buffer: &Option<Reserved>| buffer.as_ref().map_or(0, Reserved::capacity);
        self.data.capacity() + optional(&self.offsets) + optional(&self.validity)
    }

    /// Where a query writes.
    pub(super) fn field(&mut self) -> Field<'_> {
        Field {
            data: &mut self.data,
            value_size: self.value_size,
            offsets: self.offsets.as_mut(),
            validity: self.validity.as_mut(),
        }
    }

    /// The number of cells that a query wrote.
    pub(super) fn cells(&self) -> usize {
        match &self.offsets {
            Some(offsets) => offsets.len() / size_of::<u64>(),
            None => self.data.len() / self.value_size,
        }
    }

    /// The cells as an Arrow array in the same memory. Flags of one byte become bits in place;
    /// nothing else is copied or changed. What is damaged is an error, down to UTF-8 and to codes
    /// without a value.
    pub(super) fn into_array(mut self, column: &ArrowColumn) -> Result<ArrayRef> {
        if let (Some(values), None) = (&column.dictionary, &self.validity) {
            return dictionary(self.data, column.column.datatype, values)
                .map_err(|source| damaged(&column.column, source));
        }
        let cells = self.cells();
        let mut builder = ArrayData::builder(column.field.data_type().clone()).len(cells);
        if let Some(mut offsets) = self.offsets {
            // Always fits: the query was offered one offset less than was reserved.
            offsets.extend(&(self.data.len() as u64).to_ne_bytes());
            builder = builder.add_buffer(offsets.into_arrow());
        }
        if column.column.datatype == Datatype::Bool {
            self.data.pack_bits();
        }
        builder = builder.add_buffer(self.data.into_arrow());
        if let Some(mut validity) = self.validity {
            validity.pack_bits();
            builder = builder.null_bit_buffer(Some(validity.into_arrow()));
        }
        if let Some(values) = &column.dictionary {
            builder = builder.add_child_data(values.to_data());
        }
        builder
            .build()
            .map(make_array)
            .map_err(|source| damaged(&column.column, source))
    }
}

/// Codes of a column without nulls, as most are, with their values.
fn dictionary(
    codes: Reserved,
    datatype: Datatype,
    values: &ArrayRef,
) -> std::result::Result<ArrayRef, ArrowError> {
    match datatype {
        Datatype::Int8 => codes.into_dictionary::<Int8Type>(values),
        Datatype::Int16 => codes.into_dictionary::<Int16Type>(values),
        Datatype::Int32 => codes.into_dictionary::<Int32Type>(values),
        Datatype::Int64 => codes.into_dictionary::<Int64Type>(values),
        Datatype::UInt8 => codes.into_dictionary::<UInt8Type>(values),
        Datatype::UInt16 => codes.into_dictionary::<UInt16Type>(values),
        Datatype::UInt32 => codes.into_dictionary::<UInt32Type>(values),
        Datatype::UInt64 => codes.into_dictionary::<UInt64Type>(values),
        other => Err(ArrowError::SchemaError(format!("codes of type {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(datatype: Datatype, is_variable: bool, is_nullable: bool) -> Column {
        let name = "column".to_owned();
        Column {
            name,
            datatype,
            is_variable,
            is_nullable,
            enumeration: None,
            is_dimension: false,
        }
    }

    #[test]
    fn buffers_are_sized_as_tiledb_soma_sizes_them() {
        const B: usize = 1 << 20;
        for (datatype, variable, nullable, bytes) in [
            (Datatype::Int8, false, false, B),
            (Datatype::Float64, false, false, B),
            (Datatype::Int8, false, true, B + B),
            (Datatype::Int16, false, true, B + B / 2),
            (Datatype::Int64, false, true, B + B / 8),
            (Datatype::StringUtf8, true, false, B + B + 8),
            (Datatype::StringUtf8, true, true, B + B + 8 + B / 8),
        ] {
            let buffer = ColumnBuffer::alloc(&column(datatype, variable, nullable), B);
            let buffer = buffer.expect("a mebibyte or two");
            assert_eq!(buffer.capacity(), bytes, "{datatype} {variable} {nullable}");
        }
    }
}
