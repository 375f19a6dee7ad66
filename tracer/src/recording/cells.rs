//! How values stand in columns: collected row by row, stored, and read back.
//!
//! A [`Cell`] is what a column holds; [`Put`] and [`Get`] carry a field of an event over into one
//! column or several.

use crate::events::{Cause, Function, KernelCounts, Named, RssCounter};
use crate::units::{Address, Bytes, Nanos, Pid};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, BooleanBufferBuilder, DictionaryArray,
    PrimitiveArray, RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Int8Type, Int32Type, UInt16Type, UInt32Type, UInt64Type};
use std::marker::PhantomData;
use std::sync::Arc;

/// A type that columns of events hold.
pub(super) trait Cell: Copy {
    /// Collects values.
    type Column: Column<Self>;
    /// Reads them.
    type Cells<'a>: Cells<'a, Self>;

    fn data_type() -> DataType;
}

/// Values of a column that most rows leave null.
pub(super) trait Column<T>: Default {
    /// Gives `row` a value; rows skipped since the last one become null.
    fn set(&mut self, row: usize, value: T);

    /// The column, `rows` long; nothing is left.
    fn take(&mut self, rows: usize) -> ArrayRef;
}

/// A column that was read; one that was not even asked for is null in all rows.
pub(super) trait Cells<'a, T>: Sized {
    fn new(batch: &'a RecordBatch, name: &'static str) -> Result<Self, String>;

    /// The value, where the row has one.
    fn find(&self, row: usize) -> Option<T>;

    fn name(&self) -> &'static str;

    fn get(&self, row: usize) -> Result<T, String> {
        self.find(row).ok_or_else(|| missing(self.name()))
    }
}

#[cold]
pub(super) fn missing(name: &str) -> String {
    format!("an event without {name}, or with an unknown one")
}

/// A column of a batch by its name, as the array that its type says.
pub(super) fn array<'a, T: 'static>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<Option<&'a T>, String> {
    let column = batch.column_by_name(name);
    column.map(|column| typed(column, name)).transpose()
}

/// A column as the array that its type says.
pub(super) fn typed<'a, T: 'static>(column: &'a ArrayRef, what: &str) -> Result<&'a T, String> {
    let array = column.as_any().downcast_ref();
    array.ok_or_else(|| format!("column {what} has another type"))
}

/// Numbers: only rows that have a value cost anything.
pub(super) struct Sparse<P: ArrowPrimitiveType> {
    values: Vec<P::Native>,
    valid: BooleanBufferBuilder,
}

impl<P: ArrowPrimitiveType> Default for Sparse<P> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            valid: BooleanBufferBuilder::new(0),
        }
    }
}

impl<P: ArrowPrimitiveType> Sparse<P> {
    fn push(&mut self, row: usize, value: P::Native) {
        self.pad(row);
        self.values.push(value);
        self.valid.append(true);
    }

    fn pad(&mut self, rows: usize) {
        self.valid.append_n(rows - self.values.len(), false);
        self.values.resize(rows, P::default_value());
    }

    fn finish(&mut self, rows: usize) -> PrimitiveArray<P> {
        if self.values.is_empty() {
            return PrimitiveArray::new_null(rows);
        }
        self.pad(rows);
        let nulls = NullBuffer::new(self.valid.finish());
        let next = Vec::with_capacity(self.values.len());
        let values = std::mem::replace(&mut self.values, next);
        PrimitiveArray::new(values.into(), Some(nulls))
    }
}

impl<P: ArrowPrimitiveType> Column<P::Native> for Sparse<P> {
    fn set(&mut self, row: usize, value: P::Native) {
        self.push(row, value);
    }

    fn take(&mut self, rows: usize) -> ArrayRef {
        Arc::new(self.finish(rows))
    }
}

/// Numbers that were read.
pub(super) struct Numbers<'a, P: ArrowPrimitiveType> {
    array: Option<&'a PrimitiveArray<P>>,
    name: &'static str,
}

impl<'a, P: ArrowPrimitiveType> Cells<'a, P::Native> for Numbers<'a, P> {
    fn new(batch: &'a RecordBatch, name: &'static str) -> Result<Self, String> {
        let array = array(batch, name)?;
        Ok(Self { array, name })
    }

    fn find(&self, row: usize) -> Option<P::Native> {
        let array = self.array.filter(|array| array.is_valid(row))?;
        Some(array.value(row))
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

macro_rules! numbers {
    ($($native:ty => $arrow:ty, $data_type:expr;)+) => {$(
        impl Cell for $native {
            type Column = Sparse<$arrow>;
            type Cells<'a> = Numbers<'a, $arrow>;

            fn data_type() -> DataType {
                $data_type
            }
        }
    )+};
}
numbers! {
    u16 => UInt16Type, DataType::UInt16;
    u32 => UInt32Type, DataType::UInt32;
    u64 => UInt64Type, DataType::UInt64;
    i32 => Int32Type, DataType::Int32;
}

/// Yes or no.
#[derive(Default)]
pub(super) struct SparseBools(Vec<Option<bool>>);

impl Column<bool> for SparseBools {
    fn set(&mut self, row: usize, value: bool) {
        self.0.resize(row, None);
        self.0.push(Some(value));
    }

    fn take(&mut self, rows: usize) -> ArrayRef {
        self.0.resize(rows, None);
        Arc::new(BooleanArray::from(std::mem::take(&mut self.0)))
    }
}

/// Yes or no, as it was read.
pub(super) struct Bools<'a> {
    array: Option<&'a BooleanArray>,
    name: &'static str,
}

impl<'a> Cells<'a, bool> for Bools<'a> {
    fn new(batch: &'a RecordBatch, name: &'static str) -> Result<Self, String> {
        let array = array(batch, name)?;
        Ok(Self { array, name })
    }

    fn find(&self, row: usize) -> Option<bool> {
        let array = self.array.filter(|array| array.is_valid(row))?;
        Some(array.value(row))
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

impl Cell for bool {
    type Column = SparseBools;
    type Cells<'a> = Bools<'a>;

    fn data_type() -> DataType {
        DataType::Boolean
    }
}

/// A column of few distinct names. The key is signed because pandas wants it so.
pub(super) fn names() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
}

/// The dictionary of a column of names. All batches share it, so that it is written once.
pub(super) struct Names<T>(ArrayRef, PhantomData<T>);

impl<T: Named> Default for Names<T> {
    fn default() -> Self {
        let names = T::ALL.iter().map(|one| one.name());
        Self(Arc::new(StringArray::from_iter_values(names)), PhantomData)
    }
}

impl<T: Named> Names<T> {
    /// The column of these keys, which are positions in [`Named::ALL`].
    pub(super) fn of(&self, keys: PrimitiveArray<Int8Type>) -> ArrayRef {
        Arc::new(DictionaryArray::new(keys, Arc::clone(&self.0)))
    }
}

/// Names.
pub(super) struct SparseNames<T> {
    keys: Sparse<Int8Type>,
    names: Names<T>,
}

impl<T: Named> Default for SparseNames<T> {
    fn default() -> Self {
        Self {
            keys: Sparse::default(),
            names: Names::default(),
        }
    }
}

impl<T: Named> Column<T> for SparseNames<T> {
    fn set(&mut self, row: usize, value: T) {
        self.keys.push(row, value.index() as i8);
    }

    fn take(&mut self, rows: usize) -> ArrayRef {
        self.names.of(self.keys.finish(rows))
    }
}

/// Names that were read, by the dictionary that their batch has.
pub(super) struct Meanings<'a, T> {
    keys: Option<&'a PrimitiveArray<Int8Type>>,
    meanings: Vec<Option<T>>,
    name: &'static str,
}

impl<'a, T: Named> Meanings<'a, T> {
    pub(super) fn of(
        array: Option<&'a DictionaryArray<Int8Type>>,
        name: &'static str,
    ) -> Result<Self, String> {
        let mut meanings = Vec::new();
        if let Some(array) = array {
            let values: &StringArray = typed(array.values(), "of a dictionary")?;
            let meaning = |text: Option<&str>| text.and_then(T::from_name);
            meanings.extend(values.iter().map(meaning));
        }
        Ok(Self {
            keys: array.map(DictionaryArray::keys),
            meanings,
            name,
        })
    }
}

impl<'a, T: Named> Cells<'a, T> for Meanings<'a, T> {
    fn new(batch: &'a RecordBatch, name: &'static str) -> Result<Self, String> {
        Self::of(array(batch, name)?, name)
    }

    fn find(&self, row: usize) -> Option<T> {
        let keys = self.keys.filter(|keys| keys.is_valid(row))?;
        let key = usize::try_from(keys.value(row)).ok()?;
        self.meanings.get(key).copied().flatten()
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

macro_rules! named_cells {
    ($($type:ty),+) => {$(
        impl Cell for $type {
            type Column = SparseNames<$type>;
            type Cells<'a> = Meanings<'a, $type>;

            fn data_type() -> DataType {
                names()
            }
        }
    )+};
}
named_cells!(Function, RssCounter, Cause);

/// A field that goes into columns.
pub(super) trait Put<Columns> {
    fn put(self, row: usize, columns: Columns);
}

/// A field that is read from columns; the error says what is wrong with the row.
pub(super) trait Get<Cells>: Sized {
    fn get(row: usize, cells: Cells) -> Result<Self, String>;
}

macro_rules! fields {
    ($($type:ty => $cell:ty: $to:expr, $from:expr;)+) => {$(
        impl Put<(&mut <$cell as Cell>::Column,)> for $type {
            fn put(self, row: usize, (column,): (&mut <$cell as Cell>::Column,)) {
                let to: fn($type) -> $cell = $to;
                column.set(row, to(self));
            }
        }

        impl Get<(&<$cell as Cell>::Cells<'_>,)> for $type {
            fn get(row: usize, (cells,): (&<$cell as Cell>::Cells<'_>,)) -> Result<Self, String> {
                let from: fn($cell) -> Result<$type, String> = $from;
                from(cells.get(row)?)
            }
        }
    )+};
}
fields! {
    u16 => u16: |value| value, Ok;
    u32 => u32: |value| value, Ok;
    u64 => u64: |value| value, Ok;
    i32 => i32: |value| value, Ok;
    bool => bool: |value| value, Ok;
    Function => Function: |value| value, Ok;
    RssCounter => RssCounter: |value| value, Ok;
    Cause => Cause: |value| value, Ok;
    Address => u64: |value| value.0, |value| Ok(Address(value));
    Bytes => u64: |value| value.0, |value| Ok(Bytes(value));
    Nanos => u64: |value| value.0, |value| Ok(Nanos(value));
    Pid => u32: |value| value.0, |value| Ok(Pid(value));
    u32 => u64: u64::from, |value| value.try_into().map_err(|_| format!("{value} is above 32 bits"));
}

type Sizes = Sparse<UInt64Type>;
type ReadSizes<'a> = Numbers<'a, UInt64Type>;

impl Put<(&mut Sizes,)> for Option<Nanos> {
    fn put(self, row: usize, (column,): (&mut Sizes,)) {
        if let Some(value) = self {
            column.set(row, value.0);
        }
    }
}

impl Get<(&ReadSizes<'_>,)> for Option<Nanos> {
    fn get(row: usize, (cells,): (&ReadSizes<'_>,)) -> Result<Self, String> {
        Ok(cells.find(row).map(Nanos))
    }
}

impl Put<(&mut Sizes, &mut Sizes, &mut Sizes)> for KernelCounts {
    fn put(self, row: usize, columns: (&mut Sizes, &mut Sizes, &mut Sizes)) {
        columns.0.set(row, self.resident_peak);
        columns.1.set(row, self.virtual_peak);
        columns.2.set(row, self.stack);
    }
}

impl Get<(&ReadSizes<'_>, &ReadSizes<'_>, &ReadSizes<'_>)> for KernelCounts {
    fn get(
        row: usize,
        cells: (&ReadSizes<'_>, &ReadSizes<'_>, &ReadSizes<'_>),
    ) -> Result<Self, String> {
        Ok(Self {
            resident_peak: cells.0.get(row)?,
            virtual_peak: cells.1.get(row)?,
            stack: cells.2.get(row)?,
        })
    }
}
