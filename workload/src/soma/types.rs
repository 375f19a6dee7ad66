//! TileDB's types as Arrow's, after `ArrowAdapter::to_arrow_format` of TileDB-SOMA.

use arrow::array::{ArrayData, ArrayRef, make_array};
use arrow::buffer::{BooleanBuffer, Buffer};
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
            arrow_type(column.datatype).ok_or_else(|| unsupported(column, column.datatype))?;
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
fn arrow_type(datatype: Datatype) -> Option<DataType> {
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

/// The values of an enumeration.
fn dictionary_values(column: &Column, enumeration: &Enumeration) -> Result<ArrayRef> {
    let datatype = enumeration.datatype()?;
    let data_type = arrow_type(datatype).ok_or_else(|| unsupported(column, datatype))?;
    let is_variable = matches!(data_type, DataType::LargeUtf8 | DataType::LargeBinary);
    if is_variable != enumeration.is_variable()? {
        return Err(unsupported(column, datatype));
    }
    let bytes = enumeration.data()?;
    let mut builder = ArrayData::builder(data_type);
    if is_variable {
        let mut offsets = enumeration.offsets()?;
        builder = builder.len(offsets.len());
        offsets.push(bytes.len() as u64);
        builder = builder.add_buffer(Buffer::from_vec(offsets));
    } else {
        builder = builder.len(bytes.len() / datatype.size());
    }
    let is_bool = datatype == Datatype::Bool;
    builder = builder.add_buffer(if is_bool {
        packed(bytes)
    } else {
        Buffer::from(bytes)
    });
    builder
        .build()
        .map(make_array)
        .map_err(|source| damaged(column, source))
}

/// One byte a value to one bit a value.
fn packed(bytes: &[u8]) -> Buffer {
    BooleanBuffer::from_iter(bytes.iter().map(|byte| *byte != 0)).into_inner()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_soma_does_not_have_is_named_with_its_column() {
        assert_eq!(arrow_type(Datatype::DatetimeDay), None);
        let column = Column {
            name: "born".to_owned(),
            datatype: Datatype::DatetimeDay,
            is_variable: false,
            is_nullable: false,
            enumeration: None,
            is_dimension: false,
        };
        assert_eq!(
            unsupported(&column, column.datatype).to_string(),
            "column \"born\" has TileDB type DATETIME_DAY, which SOMA dataframes don't have"
        );
    }
}
