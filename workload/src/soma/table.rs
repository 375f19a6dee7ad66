use std::time::Duration;

use arrow::array::{ArrayData, MutableArrayData, RecordBatch, RecordBatchOptions, make_array};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

/// What a read returned: the batches, in the memory that TileDB wrote them to.
#[derive(Debug, Clone)]
pub struct Table {
    /// The schema of all batches.
    pub schema: SchemaRef,
    /// One or more, the first of which may have no rows.
    pub batches: Vec<RecordBatch>,
    /// How much of the read's time passed inside libtiledb.
    pub submitting: Duration,
}

impl Table {
    /// The rows of all batches.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Copies everything into one contiguous record batch, in memory of exactly the needed size,
    /// that no longer refers to the read buffers. Dictionary columns stay codes and share their
    /// values; strings are copied as one block a column, not made into objects.
    pub fn materialize(&self) -> Result<RecordBatch, ArrowError> {
        let rows = self.rows();
        let columns = (0..self.schema.fields().len())
            .map(|index| {
                let parts: Vec<ArrayData> = self
                    .batches
                    .iter()
                    .map(|batch| batch.column(index).to_data())
                    .collect();
                let mut whole = MutableArrayData::new(parts.iter().collect(), false, rows);
                for (at, part) in parts.iter().enumerate() {
                    whole.try_extend(at, 0, part.len())?;
                }
                Ok(make_array(whole.freeze()))
            })
            .collect::<Result<_, ArrowError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}
