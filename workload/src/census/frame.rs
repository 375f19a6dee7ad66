//! Small dataframes, written in one go.

use arrow::datatypes::ToByteSlice;

use super::obs::{CAPACITY, DIMENSION, NUMBERS, OFFSETS};
use crate::soma::{ENCODING_VERSION, JOINID, OBJECT_TYPE};
use crate::tiledb::{
    Array, AttributeSpec, Context, Datatype, Filter, Input, Mode, Result, SchemaBuilder, WriteQuery,
};

/// A column of a small dataframe.
pub(super) enum Values {
    /// 64-bit integers.
    Int64(Vec<i64>),
    /// Strings.
    Utf8(Vec<String>),
}

/// Its name and its values.
pub(super) type Column = (&'static str, Values);

/// Filters of text.
const TEXT: &[Filter] = &[Filter::Zstd(19)];

/// Writes a SOMADataFrame whose `soma_joinid` counts its rows, with these columns.
pub(super) fn write(ctx: &Context, uri: &str, columns: &[Column]) -> Result<()> {
    let specs: Vec<_> = columns
        .iter()
        .map(|(name, values)| values.spec(name))
        .collect();
    create(ctx, uri, &specs)?;
    let rows = columns.first().map_or(0, |(_, values)| values.len());
    let joinids: Vec<i64> = (0..rows as i64).collect();
    let blocks: Vec<_> = columns.iter().map(|(_, values)| values.block()).collect();
    let mut inputs = vec![Input {
        data: joinids.to_byte_slice(),
        offsets: None,
    }];
    inputs.extend(
        columns
            .iter()
            .zip(&blocks)
            .map(|((_, values), block)| values.input(block)),
    );
    let array = Array::open(ctx, uri, Mode::Write)?;
    if rows > 0 {
        let mut query = WriteQuery::new(&array, &names(&specs))?;
        query.submit(&inputs)?;
        query.finish()?;
    }
    finish(array)
}

/// Creates an empty array with `soma_joinid` and these attributes.
pub(super) fn create(ctx: &Context, uri: &str, specs: &[AttributeSpec<'_>]) -> Result<()> {
    let mut schema = SchemaBuilder::new(ctx, CAPACITY, OFFSETS)?.dimension(&DIMENSION)?;
    for spec in specs {
        schema = schema.attribute(spec)?;
    }
    Array::create(ctx, uri, &schema)
}

/// The columns of a write: the dimension, then the attributes.
pub(super) fn names<'a>(specs: &[AttributeSpec<'a>]) -> Vec<&'a str> {
    [JOINID]
        .into_iter()
        .chain(specs.iter().map(|spec| spec.name))
        .collect()
}

/// Says what the array is, and closes it.
pub(super) fn finish(array: Array) -> Result<()> {
    array.set_metadata(OBJECT_TYPE, "SOMADataFrame")?;
    array.set_metadata(ENCODING_VERSION, "1")?;
    array.close()
}

/// Strings one behind the other, and where each begins.
struct Block {
    text: String,
    offsets: Vec<u64>,
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Int64(values) => values.len(),
            Self::Utf8(values) => values.len(),
        }
    }

    fn spec<'a>(&self, name: &'a str) -> AttributeSpec<'a> {
        let (datatype, filters) = match self {
            Self::Int64(_) => (Datatype::Int64, NUMBERS),
            Self::Utf8(_) => (Datatype::StringUtf8, TEXT),
        };
        let is_variable = datatype == Datatype::StringUtf8;
        AttributeSpec {
            name,
            datatype,
            is_variable,
            values: None,
            filters,
        }
    }

    fn block(&self) -> Option<Block> {
        let Self::Utf8(values) = self else {
            return None;
        };
        let mut block = Block {
            text: String::new(),
            offsets: Vec::with_capacity(values.len()),
        };
        for value in values {
            block.offsets.push(block.text.len() as u64);
            block.text.push_str(value);
        }
        Some(block)
    }

    fn input<'a>(&'a self, block: &'a Option<Block>) -> Input<'a> {
        match (self, block) {
            (Self::Utf8(_), Some(block)) => Input {
                data: block.text.as_bytes(),
                offsets: Some(&block.offsets),
            },
            (Self::Int64(values), _) => Input {
                data: values.to_byte_slice(),
                offsets: None,
            },
            (Self::Utf8(_), None) => Input {
                data: &[],
                offsets: Some(&[]),
            },
        }
    }
}
