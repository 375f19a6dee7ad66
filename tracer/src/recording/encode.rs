//! Events into record batches.

use super::schema::{self, event};
use crate::events::{Body, Event};
use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, BooleanBufferBuilder, DictionaryArray,
    PrimitiveArray, RecordBatch, StringArray, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Int8Type, Int32Type, SchemaRef, UInt16Type, UInt32Type, UInt64Type};
use std::sync::Arc;

/// A column that most rows leave null: only rows that have a value cost anything.
struct Sparse<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    valid: BooleanBufferBuilder,
}

impl<T: ArrowPrimitiveType> Sparse<T> {
    fn new() -> Self {
        Self {
            values: Vec::new(),
            valid: BooleanBufferBuilder::new(0),
        }
    }

    /// Gives `row` a value; rows skipped since the last one become null.
    fn set(&mut self, row: usize, value: T::Native) {
        self.pad(row);
        self.values.push(value);
        self.valid.append(true);
    }

    fn pad(&mut self, rows: usize) {
        self.valid.append_n(rows - self.values.len(), false);
        self.values.resize(rows, T::default_value());
    }

    fn take(&mut self, rows: usize) -> PrimitiveArray<T> {
        if self.values.is_empty() {
            return PrimitiveArray::new_null(rows);
        }
        self.pad(rows);
        let nulls = NullBuffer::new(self.valid.finish());
        let next = Vec::with_capacity(self.values.len());
        PrimitiveArray::new(
            std::mem::replace(&mut self.values, next).into(),
            Some(nulls),
        )
    }
}

/// A column of few names. All batches share one dictionary, so that it is written once.
struct Named {
    keys: Sparse<Int8Type>,
    names: ArrayRef,
}

impl Named {
    fn new<T>(names: &[(&str, T)]) -> Self {
        Self {
            keys: Sparse::new(),
            names: dictionary(names),
        }
    }

    fn take(&mut self, rows: usize) -> ArrayRef {
        named(self.keys.take(rows), &self.names)
    }
}

/// The values of a dictionary of names.
pub(super) fn dictionary<T>(names: &[(&str, T)]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(
        names.iter().map(|&(name, _)| name),
    ))
}

/// A dictionary column.
///
/// # Panics
/// If a key is not in the dictionary: keys come from the enums that the tables of
/// names mirror, which a test of `schema` asserts.
pub(super) fn named(keys: PrimitiveArray<Int8Type>, names: &ArrayRef) -> ArrayRef {
    Arc::new(DictionaryArray::new(keys, Arc::clone(names)))
}

/// Columns of events that are not yet a batch.
pub(super) struct Encoder {
    schema: SchemaRef,
    time: Vec<u64>,
    pid: Vec<u32>,
    tid: Vec<u32>,
    kind: Vec<i8>,
    kinds: ArrayRef,
    stack: Vec<u64>,
    in_allocator: BooleanBufferBuilder,
    function: Named,
    address: Sparse<UInt64Type>,
    size: Sparse<UInt64Type>,
    new_size: Sparse<UInt64Type>,
    offset: Sparse<UInt64Type>,
    prot: Sparse<UInt32Type>,
    flags: Sparse<UInt64Type>,
    fd: Sparse<Int32Type>,
    advice: Sparse<UInt32Type>,
    segment: Sparse<UInt64Type>,
    errno: Sparse<Int32Type>,
    member: Named,
    cause: Named,
    error_code: Sparse<UInt16Type>,
    syscall: Sparse<UInt16Type>,
    child: Sparse<UInt32Type>,
    shares_memory: Vec<Option<bool>>,
    status: Sparse<UInt32Type>,
    resident_peak: Sparse<UInt64Type>,
    virtual_peak: Sparse<UInt64Type>,
    stack_size: Sparse<UInt64Type>,
    took: Sparse<UInt64Type>,
    user: Sparse<UInt64Type>,
    system: Sparse<UInt64Type>,
}

impl Encoder {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            time: Vec::new(),
            pid: Vec::new(),
            tid: Vec::new(),
            kind: Vec::new(),
            kinds: dictionary(&schema::KINDS),
            stack: Vec::new(),
            in_allocator: BooleanBufferBuilder::new(0),
            function: Named::new(&schema::FUNCTIONS),
            address: Sparse::new(),
            size: Sparse::new(),
            new_size: Sparse::new(),
            offset: Sparse::new(),
            prot: Sparse::new(),
            flags: Sparse::new(),
            fd: Sparse::new(),
            advice: Sparse::new(),
            segment: Sparse::new(),
            errno: Sparse::new(),
            member: Named::new(&schema::MEMBERS),
            cause: Named::new(&schema::CAUSES),
            error_code: Sparse::new(),
            syscall: Sparse::new(),
            child: Sparse::new(),
            shares_memory: Vec::new(),
            status: Sparse::new(),
            resident_peak: Sparse::new(),
            virtual_peak: Sparse::new(),
            stack_size: Sparse::new(),
            took: Sparse::new(),
            user: Sparse::new(),
            system: Sparse::new(),
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
        let kind = self.body(row, &event.body);
        // `KINDS` begins with Kind::Alloc.
        self.kind
            .push((kind as u16 - tracer_ebpf::Kind::Alloc as u16) as i8);
    }

    /// The columns that depend on the kind.
    fn body(&mut self, row: usize, body: &Body) -> tracer_ebpf::Kind {
        use tracer_ebpf::Kind;
        match *body {
            Body::Alloc {
                function,
                address,
                size,
            } => {
                self.function.keys.set(row, function as i8 - 1);
                self.range(row, address.0, size.0);
                Kind::Alloc
            }
            Body::Free { address } => {
                self.address.set(row, address.0);
                Kind::Free
            }
            Body::ReallocEnter { address, size } => {
                self.range(row, address.0, size.0);
                Kind::ReallocEnter
            }
            Body::ReallocExit {
                function,
                address,
                size,
            } => {
                self.function.keys.set(row, function as i8 - 1);
                self.range(row, address.0, size.0);
                Kind::ReallocExit
            }
            Body::Resident {
                member,
                size,
                cause,
                address,
                took,
                error_code,
                syscall,
            } => {
                self.member.keys.set(row, member as i8);
                self.cause.keys.set(row, cause as i8 - 1);
                self.range(row, address.0, size.0);
                self.error_code.set(row, error_code);
                self.syscall.set(row, syscall);
                if took.0 > 0 {
                    self.took.set(row, took.0);
                }
                Kind::Resident
            }
            Body::Map {
                address,
                length,
                offset,
                prot,
                flags,
                fd,
            } => {
                self.range(row, address.0, length.0);
                self.offset.set(row, offset);
                self.prot.set(row, prot);
                self.flags.set(row, u64::from(flags));
                self.fd.set(row, fd);
                Kind::Map
            }
            Body::Unmap { address, length } => {
                self.range(row, address.0, length.0);
                Kind::Unmap
            }
            Body::RemapEnter {
                address,
                length,
                new_length,
                flags,
            } => {
                self.range(row, address.0, length.0);
                self.new_size.set(row, new_length.0);
                self.flags.set(row, flags);
                Kind::RemapEnter
            }
            Body::RemapExit { address, length } => {
                self.range(row, address.0, length.0);
                Kind::RemapExit
            }
            Body::Break { address } => {
                self.address.set(row, address.0);
                Kind::Break
            }
            Body::Advise {
                address,
                length,
                advice,
            } => {
                self.range(row, address.0, length.0);
                self.advice.set(row, advice);
                Kind::Advise
            }
            Body::ShmAttach {
                address,
                segment,
                length,
            } => {
                self.range(row, address.0, length.0);
                self.segment.set(row, segment);
                Kind::ShmAttach
            }
            Body::ShmDetach { address } => {
                self.address.set(row, address.0);
                Kind::ShmDetach
            }
            Body::Returned {
                syscall,
                errno,
                took,
            } => {
                self.syscall.set(row, syscall);
                self.errno.set(row, errno);
                self.took.set(row, took.0);
                Kind::Returned
            }
            Body::Fork {
                child,
                shares_memory,
            } => {
                self.child.set(row, child.0);
                self.shares_memory.resize(row, None);
                self.shares_memory.push(Some(shares_memory));
                Kind::Fork
            }
            Body::Exec { counts } => {
                self.counts(row, counts);
                Kind::Exec
            }
            Body::Exit { status, counts } => {
                self.counts(row, counts);
                self.status.set(row, status);
                Kind::Exit
            }
            Body::Began { mapped, stack } => {
                self.size.set(row, mapped.0);
                self.stack_size.set(row, stack.0);
                Kind::Began
            }
            Body::CheckBegin => Kind::CheckBegin,
            Body::Present {
                address,
                length,
                member,
            } => {
                self.range(row, address.0, length.0);
                self.member.keys.set(row, member as i8);
                Kind::Present
            }
            Body::CheckEnd => Kind::CheckEnd,
            Body::Written { address } => {
                self.address.set(row, address.0);
                Kind::Written
            }
            Body::Usage { user, system } => {
                self.user.set(row, user.0);
                self.system.set(row, system.0);
                Kind::Usage
            }
        }
    }

    fn range(&mut self, row: usize, address: u64, size: u64) {
        self.address.set(row, address);
        self.size.set(row, size);
    }

    fn counts(&mut self, row: usize, counts: crate::events::KernelCounts) {
        self.resident_peak.set(row, counts.resident_peak);
        self.virtual_peak.set(row, counts.virtual_peak);
        self.stack_size.set(row, counts.stack);
    }

    /// The rows as a batch; none are left.
    ///
    /// # Panics
    /// Never: columns are built to the schema, and every column has all rows.
    pub(super) fn take(&mut self) -> RecordBatch {
        let rows = self.rows();
        fn dense<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>) -> ArrayRef {
            let next = Vec::with_capacity(values.len());
            let values = std::mem::replace(values, next);
            Arc::new(PrimitiveArray::<T>::new(values.into(), None))
        }
        let kind = PrimitiveArray::<Int8Type>::from(std::mem::take(&mut self.kind));
        let mut columns: Vec<ArrayRef> = self
            .schema
            .fields()
            .iter()
            .map(|field| new_null_array(field.data_type(), 0))
            .collect();
        columns[event::TIME] = dense::<UInt64Type>(&mut self.time);
        columns[event::PID] = dense::<UInt32Type>(&mut self.pid);
        columns[event::TID] = dense::<UInt32Type>(&mut self.tid);
        columns[event::KIND] = named(kind, &self.kinds);
        columns[event::STACK] = dense::<UInt64Type>(&mut self.stack);
        columns[event::IN_ALLOCATOR] =
            Arc::new(BooleanArray::new(self.in_allocator.finish(), None));
        columns[event::FUNCTION] = self.function.take(rows);
        columns[event::ADDRESS] = Arc::new(self.address.take(rows));
        columns[event::SIZE] = Arc::new(self.size.take(rows));
        columns[event::NEW_SIZE] = Arc::new(self.new_size.take(rows));
        columns[event::OFFSET] = Arc::new(self.offset.take(rows));
        columns[event::PROT] = Arc::new(self.prot.take(rows));
        columns[event::FLAGS] = Arc::new(self.flags.take(rows));
        columns[event::FD] = Arc::new(self.fd.take(rows));
        columns[event::ADVICE] = Arc::new(self.advice.take(rows));
        columns[event::SEGMENT] = Arc::new(self.segment.take(rows));
        columns[event::ERRNO] = Arc::new(self.errno.take(rows));
        columns[event::MEMBER] = self.member.take(rows);
        columns[event::CAUSE] = self.cause.take(rows);
        columns[event::ERROR_CODE] = Arc::new(self.error_code.take(rows));
        columns[event::SYSCALL] = Arc::new(self.syscall.take(rows));
        columns[event::CHILD] = Arc::new(self.child.take(rows));
        self.shares_memory.resize(rows, None);
        columns[event::SHARES_MEMORY] =
            Arc::new(BooleanArray::from(std::mem::take(&mut self.shares_memory)));
        columns[event::STATUS] = Arc::new(self.status.take(rows));
        columns[event::RESIDENT_PEAK] = Arc::new(self.resident_peak.take(rows));
        columns[event::VIRTUAL_PEAK] = Arc::new(self.virtual_peak.take(rows));
        columns[event::STACK_SIZE] = Arc::new(self.stack_size.take(rows));
        columns[event::TOOK] = Arc::new(self.took.take(rows));
        columns[event::USER] = Arc::new(self.user.take(rows));
        columns[event::SYSTEM] = Arc::new(self.system.take(rows));
        RecordBatch::try_new(Arc::clone(&self.schema), columns).expect("columns match the schema")
    }
}
