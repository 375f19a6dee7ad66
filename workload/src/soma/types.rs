//! TileDB's types as Arrow's, after `ArrowAdapter::to_arrow_format` of TileDB-SOMA.

use arrow::array::{ArrayData, ArrayRef, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, TimeUnit};

use super::{Error, Result};
use crate::tiledb::{Array, Column, Datatype, Enumeration};

/// A column as Arrow has it, and the values of its dictionary.
#[derive(Debug, Clone)]
pub(super) struct ArrowColumn {
    pub(super) column: Column,
    pub(super) field: Field,
    /// Made once and shared by all batches, so that joining them copies codes only.
    pub(super) dictionary: Option<ArrayRef>,
}

impl ArrowColumn {
    /// Finds the Arrow type, and reads the dictionary if there is one.
    pub(super) fn new(array: &Array, column: &Column) -> Result<Self> {
        let stored =
            large_type(column.datatype).ok_or_else(|| unsupported(column, column.datatype))?;
        let (data_type, dictionary, ordered) = match &column.enumeration {
            None => (stored, None, false),
            Some(name) => {
                let enumeration = array.enumeration(name)?;
                let values = dictionary_values(column, &enumeration)?;
                if !stored.is_dictionary_key_type() {
                    return Err(unsupported(column, column.datatype));
                }
                let kind = DataType::Dictionary(stored.into(), values.data_type().clone().into());
                (kind, Some(values), enumeration.is_ordered()?)
            }
        };
        let field =
            Field::new(&column.name, data_type, column.is_nullable).with_dict_is_ordered(ordered);
        Ok(Self {
            column: column.clone(),
            field,
            dictionary,
        })
    }
}

/// The Arrow type of a column's own values: 64-bit offsets, as TileDB's are.
fn large_type(datatype: Datatype) -> Option<DataType> {
    Some(match datatype {
        Datatype::Int8 => DataType::Int8,
        Datatype::Int16 => DataType::Int16,
        Datatype::Int32 => DataType::Int32,
        Datatype::Int64 => DataType::Int64,
        Datatype::UInt8 => DataType::UInt8,
        Datatype::UInt16 => DataType::UInt16,
        Datatype::UInt32 => DataType::UInt32,
        Datatype::UInt64 => DataType::UInt64,
        Datatype::Float32 => DataType::Float32,
        Datatype::Float64 => DataType::Float64,
        Datatype::Bool => DataType::Boolean,
        Datatype::StringAscii | Datatype::StringUtf8 | Datatype::GeometryWkt => DataType::LargeUtf8,
        Datatype::Char | Datatype::Blob | Datatype::GeometryWkb => DataType::LargeBinary,
        Datatype::DatetimeSecond => DataType::Timestamp(TimeUnit::Second, None),
        Datatype::DatetimeMillisecond => DataType::Timestamp(TimeUnit::Millisecond, None),
        Datatype::DatetimeMicrosecond => DataType::Timestamp(TimeUnit::Microsecond, None),
        Datatype::DatetimeNanosecond => DataType::Timestamp(TimeUnit::Nanosecond, None),
        _ => return None,
    })
}

/// The values of an enumeration. They are few, so variable-length ones get 32-bit offsets.
fn dictionary_values(column: &Column, enumeration: &Enumeration) -> Result<ArrayRef> {
    let datatype = enumeration.datatype()?;
    let large = large_type(datatype).ok_or_else(|| unsupported(column, datatype))?;
    let (data_type, variable) = match large {
        DataType::LargeUtf8 => (DataType::Utf8, true),
        DataType::LargeBinary => (DataType::Binary, true),
        fixed => (fixed, false),
    };
    if variable != enumeration.is_variable()? {
        return Err(unsupported(column, datatype));
    }
    let bytes = enumeration.data()?;
    let builder = if variable {
        let offsets = narrow_offsets(&enumeration.offsets()?, bytes.len())
            .ok_or_else(|| unsupported(column, datatype))?;
        ArrayData::builder(data_type)
            .len(offsets.len() - 1)
            .add_buffer(Buffer::from_vec(offsets))
            .add_buffer(Buffer::from(bytes))
    } else {
        let len = bytes.len() / datatype.size();
        let data = if datatype == Datatype::Bool {
            packed(bytes)?
        } else {
            Buffer::from(bytes)
        };
        ArrayData::builder(data_type).len(len).add_buffer(data)
    };
    builder
        .build()
        .map(make_array)
        .map_err(|source| damaged(column, source))
}

/// 32-bit offsets with the end behind them; none if they don't fit.
fn narrow_offsets(offsets: &[u64], end: usize) -> Option<Vec<i32>> {
    offsets
        .iter()
        .copied()
        .chain([end as u64])
        .map(|offset| i32::try_from(offset).ok())
        .collect()
}

/// One byte a value to one bit a value.
fn packed(bytes: &[u8]) -> Result<Buffer> {
    let bits = bytes.iter().map(|byte| *byte != 0);
    Ok(arrow::buffer::BooleanBuffer::from_iter(bits).into_inner())
}

pub(super) fn unsupported(column: &Column, datatype: Datatype) -> Error {
    Error::Unsupported {
        column: column.name.clone(),
        datatype: datatype.to_string(),
    }
}

pub(super) fn damaged(column: &Column, source: arrow::error::ArrowError) -> Error {
    Error::Damaged {
        column: column.name.clone(),
        source,
    }
}
