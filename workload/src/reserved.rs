//! Memory that is asked for, and not touched until something is written to it.

use std::alloc::{self, Layout};
use std::panic::RefUnwindSafe;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, PrimitiveArray};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{ArrowDictionaryKeyType, ArrowNativeType};
use arrow::error::ArrowError;

/// A buffer of a fixed capacity whose bytes nobody has touched before TileDB writes results there:
/// what `std::vector::reserve` is to TileDB-SOMA. The kernel gives pages only to what is written,
/// so a reservation of 1 GiB costs address space, and hardly any memory.
pub struct Reserved {
    ptr: NonNull<u8>,
    layout: Layout,
    /// The bytes from the start that hold values.
    len: usize,
}

/// The allocator refused: an `ulimit -v`, or strict overcommit.
#[derive(Debug, thiserror::Error)]
#[error(
    "no {bytes} bytes of address space for a read buffer: the system refused the reservation \
     (see `ulimit -v`); ask for less with -B/--init-buffer-bytes, or for fewer columns with -c"
)]
pub struct Refused {
    /// What was asked for.
    pub bytes: usize,
}

// SAFETY: the memory is owned, as a Vec's is; shared access is read-only.
unsafe impl Send for Reserved {}
// SAFETY: as above.
unsafe impl Sync for Reserved {}

impl RefUnwindSafe for Reserved {}

impl Reserved {
    /// What the allocator gives at no extra cost, and enough for every column type.
    const ALIGN: usize = 16;

    /// Reserves `bytes` of address space. Every reservation of a fetch is made here, so that a
    /// profiler shows them at one place.
    #[inline(never)]
    pub fn with_capacity(bytes: usize) -> Result<Self, Refused> {
        Self::reserve(bytes)
    }

    /// The same for what is read beside the fetch, so that a profiler shows it elsewhere.
    #[inline(never)]
    pub fn aside(bytes: usize) -> Result<Self, Refused> {
        Self::reserve(bytes)
    }

    #[inline(always)]
    fn reserve(bytes: usize) -> Result<Self, Refused> {
        let layout =
            Layout::from_size_align(bytes.max(1), Self::ALIGN).map_err(|_| Refused { bytes })?;
        // SAFETY: the layout's size is at least one byte.
        let ptr = unsafe { alloc::alloc(layout) };
        NonNull::new(ptr)
            .map(|ptr| Self {
                ptr,
                layout,
                len: 0,
            })
            .ok_or(Refused { bytes })
    }

    /// The reserved bytes.
    pub fn capacity(&self) -> usize {
        self.layout.size()
    }

    /// The bytes that hold values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no byte holds a value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where a writer in another language may write, up to the capacity.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// Says how many bytes from the start now hold values.
    ///
    /// # Safety
    /// The first `len` bytes have been written, and `len` is at most the capacity.
    pub(crate) unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.capacity());
        self.len = len;
    }

    /// The bytes that hold values.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are initialised (`set_len`) and ours.
        unsafe { slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The bytes that hold values, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and the borrow is exclusive.
        unsafe { slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }

    /// Appends bytes behind the values. `false`, and nothing done, where they don't fit.
    pub fn extend(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= self.capacity() - self.len;
        if fits {
            // SAFETY: the room between `len` and the capacity is ours, and can't be `bytes`.
            unsafe {
                self.ptr
                    .as_ptr()
                    .add(self.len)
                    .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            }
            self.len += bytes.len();
        }
        fits
    }

    /// Shortens the values to their first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Packs a map of one byte a value (zero or not) into one bit a value, in place, as
    /// `ColumnBuffer::to_bitmap` does: no second buffer, and only touched pages are touched again.
    pub fn pack_bits(&mut self) {
        let bytes = self.as_mut_slice();
        let packed = bytes.len().div_ceil(8);
        for at in 0..packed {
            let end = (at * 8 + 8).min(bytes.len());
            bytes[at] =
                (at * 8..end).fold(0, |bits, i| bits | (u8::from(bytes[i] != 0) << (i % 8)));
        }
        self.truncate(packed);
    }

    /// Hands the values to Arrow without a copy. The whole reservation lives on until Arrow drops
    /// the last array that refers to it.
    pub fn into_arrow(self) -> Buffer {
        let (ptr, len) = (self.ptr, self.len);
        // SAFETY: the first `len` bytes are initialised; the owner frees them when it is dropped.
        unsafe { Buffer::from_custom_allocation(ptr, len, Arc::new(self)) }
    }

    /// Hands the values to Arrow as codes of a dictionary, without a copy. Arrow's own check of the
    /// codes takes them one by one, which was most of what a read cost outside libtiledb.
    pub fn into_dictionary<K: ArrowDictionaryKeyType>(
        self,
        values: &ArrayRef,
    ) -> Result<ArrayRef, ArrowError> {
        let codes = ScalarBuffer::<K::Native>::from(self.into_arrow());
        let has_values = all_below(&codes, values.len());
        let keys = PrimitiveArray::<K>::new(codes, None);
        Ok(Arc::new(if has_values {
            // SAFETY: no code is a null, negative, or as great as the number of values.
            unsafe { DictionaryArray::new_unchecked(keys, values.clone()) }
        } else {
            // Names the first code that has no value.
            DictionaryArray::try_new(keys, values.clone())?
        }))
    }
}

/// Whether all codes are at least 0 and below `count`.
fn all_below<T: ArrowNativeType>(codes: &[T], count: usize) -> bool {
    let Some((first, rest)) = codes.split_first() else {
        return true;
    };
    // Two plain comparisons a code, in its own width, become vector instructions.
    let (low, high) = rest.iter().fold((*first, *first), |(low, high), code| {
        (
            if *code < low { *code } else { low },
            if *code > high { *code } else { high },
        )
    });
    low >= T::default() && high.as_usize() < count
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: allocated in `with_capacity` with this layout.
        unsafe { alloc::dealloc(self.ptr.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, StringArray};
    use arrow::datatypes::Int8Type;

    use super::*;

    fn filled(bytes: &[u8], capacity: usize) -> Reserved {
        let mut buffer = Reserved::with_capacity(capacity).expect("a small reservation");
        assert!(buffer.extend(bytes));
        buffer
    }

    #[test]
    fn bits_are_packed_least_significant_first() {
        for len in 0..40usize {
            let flags: Vec<u8> = (0..len).map(|i| u8::from(i % 3 == 0) * 2).collect();
            let mut buffer = filled(&flags, 64);
            buffer.pack_bits();
            assert_eq!(buffer.len(), len.div_ceil(8));
            for (i, flag) in flags.iter().enumerate() {
                let bit = buffer.as_slice()[i / 8] >> (i % 8) & 1;
                assert_eq!(bit == 1, *flag != 0, "bit {i} of {len}");
            }
        }
    }

    #[test]
    fn nothing_is_written_past_the_capacity() {
        let mut buffer = filled(&[7; 10], 12);
        assert!(!buffer.extend(&[8; 3]));
        assert_eq!(buffer.as_slice(), [7; 10]);
        assert!(buffer.extend(&[8; 2]));
        assert_eq!(buffer.len(), 12);
    }

    #[test]
    fn arrow_sees_the_values_in_place() {
        let mut buffer = filled(&42u64.to_ne_bytes(), 1 << 20);
        let address = buffer.as_mut_ptr();
        let arrow = buffer.into_arrow();
        assert_eq!(arrow.as_ptr().cast_mut(), address);
        assert_eq!(arrow.typed_data::<u64>(), [42]);
    }

    #[test]
    fn codes_without_a_value_are_an_error() {
        let values: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
        for (codes, is_right) in [
            (&[0i8, 2, 1][..], true),
            (&[], true),
            (&[0, 3, 1], false),
            (&[0, 1, -1], false),
            (&[i8::MIN], false),
            (&[i8::MAX], false),
        ] {
            let bytes: Vec<u8> = codes.iter().map(|code| *code as u8).collect();
            let array = filled(&bytes, 16).into_dictionary::<Int8Type>(&values);
            assert_eq!(array.is_ok(), is_right, "{codes:?}");
            if let Ok(array) = array {
                assert_eq!(
                    array.as_dictionary::<Int8Type>().keys().values()[..],
                    *codes
                );
            }
        }
    }

    #[test]
    fn an_impossible_reservation_is_an_error() {
        for bytes in [usize::MAX, isize::MAX as usize - 4096] {
            assert_eq!(
                Reserved::with_capacity(bytes)
                    .err()
                    .map(|refused| refused.bytes),
                Some(bytes)
            );
        }
    }
}
