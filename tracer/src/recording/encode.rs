//! Events into record batches.

use super::cells::{Column as _, Names, Put as _};
use super::schema::event_columns;
use crate::events::{Body, Event, Kind, Named as _, event_table};
use arrow::array::BooleanBufferBuilder;
use arrow::array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{Int8Type, SchemaRef, UInt32Type, UInt64Type};
use std::sync::Arc;

/// Makes of the columns of events what collects their values.
macro_rules! columns {
    ($($column:ident: $type:ty = $name:literal,)+) => {
        /// Columns that only some kinds of events have.
        #[derive(Default)]
        struct Columns {
            $($column: <$type as super::cells::Cell>::Column,)+
        }

        impl Columns {
            /// All of them in the order of the schema, `rows` long; they are empty then.
            fn take(&mut self, rows: usize) -> impl Iterator<Item = ArrayRef> {
                [$(self.$column.take(rows),)+].into_iter()
            }
        }
    };
}
use crate::events::{Cause, Function, RssCounter};
event_columns!(columns);

/// Makes of the table of events what writes the fields of each into its columns.
macro_rules! put_body {
    ($(
        $(#[$doc:meta])*
        $kind:ident $name:literal ($($record:ident)?) $({$(
            $(#[$of:meta])*
            $field:ident: $type:ty as ($($column:ident),+),
        )*})?
    )+) => {
        impl Columns {
            fn put(&mut self, row: usize, body: &Body) -> Kind {
                match *body {
                    $(Body::$kind $({ $($field),* })? => {
                        $($($field.put(row, ($(&mut self.$column,)+));)*)?
                        Kind::$kind
                    })+
                }
            }
        }
    };
}
event_table!(put_body);

/// Events that are not yet a batch.
pub(super) struct Encoder {
    schema: SchemaRef,
    time: Vec<u64>,
    pid: Vec<u32>,
    tid: Vec<u32>,
    kind: Vec<i8>,
    kinds: Names<Kind>,
    stack: Vec<u64>,
    in_allocator: BooleanBufferBuilder,
    columns: Columns,
}

impl Encoder {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            time: Vec::new(),
            pid: Vec::new(),
            tid: Vec::new(),
            kind: Vec::new(),
            kinds: Names::default(),
            stack: Vec::new(),
            in_allocator: BooleanBufferBuilder::new(0),
            columns: Columns::default(),
        }
    }

    /// Rows waiting.
    pub(super) fn rows(&self) -> usize {
        self.time.len()
    }

    /// Time of the first row waiting.
    pub(super) fn since(&self) -> Option<u64> {
        self.time.first().copied()
    }

    pub(super) fn push(&mut self, event: &Event) {
        let row = self.rows();
        self.time.push(event.time.0);
        self.pid.push(event.pid.0);
        self.tid.push(event.tid.0);
        self.stack.push(event.stack.0);
        self.in_allocator.append(event.in_allocator);
        self.kind
            .push(self.columns.put(row, &event.body).index() as i8);
    }

    /// The rows as a batch; none are left.
    ///
    /// # Panics
    /// Never: columns are built to the schema, and every column has all rows.
    pub(super) fn take(&mut self) -> RecordBatch {
        let rows = self.rows();
        let kind = PrimitiveArray::<Int8Type>::from(std::mem::take(&mut self.kind));
        let mut columns: Vec<ArrayRef> = vec![
            dense::<UInt64Type>(&mut self.time),
            dense::<UInt32Type>(&mut self.pid),
            dense::<UInt32Type>(&mut self.tid),
            self.kinds.of(kind),
            dense::<UInt64Type>(&mut self.stack),
            Arc::new(BooleanArray::new(self.in_allocator.finish(), None)),
        ];
        columns.extend(self.columns.take(rows));
        RecordBatch::try_new(Arc::clone(&self.schema), columns).expect("columns match the schema")
    }
}

fn dense<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>) -> ArrayRef {
    let next = Vec::with_capacity(values.len());
    let values = std::mem::replace(values, next);
    Arc::new(PrimitiveArray::<T>::new(values.into(), None))
}
