use std::ffi::{c_int, c_void};
use std::{ptr, slice};

use super::context::{c_string, call, handle};
use super::schema::VARIABLE;
use super::{Context, Datatype, Error, Result};

handle!(
    /// The values that the codes of a dictionary column stand for.
    pub Enumeration, enumeration_free
);

impl Enumeration {
    /// Makes an unordered enumeration of strings, to be added to a schema.
    pub(super) fn of_strings(ctx: &Context, name: &str, values: &[String]) -> Result<Self> {
        let name = c_string(name)?;
        let data = values.concat();
        let mut end = 0u64;
        let offsets: Vec<u64> = values
            .iter()
            .map(|value| {
                let start = end;
                end += value.len() as u64;
                start
            })
            .collect();
        let mut ptr = ptr::null_mut();
        call!(
            ctx,
            enumeration_alloc,
            name.as_ptr(),
            Datatype::StringUtf8 as u32,
            VARIABLE,
            0,
            data.as_ptr().cast(),
            data.len() as u64,
            offsets.as_ptr().cast(),
            size_of_val(offsets.as_slice()) as u64,
            &mut ptr
        )?;
        Ok(Self::adopt(ctx, ptr))
    }

    /// The type of one value.
    pub fn datatype(&self) -> Result<Datatype> {
        let mut kind = 0;
        call!(self.ctx, enumeration_get_type, self.ptr, &mut kind)?;
        Datatype::from_raw(kind)
    }

    /// Whether the values have a variable length.
    pub fn is_variable(&self) -> Result<bool> {
        let mut count = 0;
        call!(self.ctx, enumeration_get_cell_val_num, self.ptr, &mut count)?;
        Ok(count == VARIABLE)
    }

    /// Whether the order of the values means something.
    pub fn is_ordered(&self) -> Result<bool> {
        let mut ordered: c_int = 0;
        call!(self.ctx, enumeration_get_ordered, self.ptr, &mut ordered)?;
        Ok(ordered != 0)
    }

    /// All values one behind the other, as bytes.
    pub fn data(&self) -> Result<&[u8]> {
        let (mut data, mut bytes) = (ptr::null(), 0);
        call!(
            self.ctx,
            enumeration_get_data,
            self.ptr,
            &mut data,
            &mut bytes
        )?;
        // SAFETY: libtiledb gives a pointer to `bytes` bytes that live as long as this handle.
        Ok(unsafe { view(data, bytes as usize) })
    }

    /// Where each variable-length value begins in [`Self::data`].
    pub fn offsets(&self) -> Result<Vec<u64>> {
        let (mut data, mut bytes) = (ptr::null(), 0);
        call!(
            self.ctx,
            enumeration_get_offsets,
            self.ptr,
            &mut data,
            &mut bytes
        )?;
        // SAFETY: as in `data`; read as bytes, so that alignment doesn't matter.
        let raw = unsafe { view(data, bytes as usize) };
        Ok(raw
            .as_chunks()
            .0
            .iter()
            .map(|chunk| u64::from_ne_bytes(*chunk))
            .collect())
    }

    /// The values as text, of an enumeration of strings.
    pub fn strings(&self) -> Result<Vec<String>> {
        let (data, offsets) = (self.data()?, self.offsets()?);
        let ends = offsets.iter().skip(1).copied().chain([data.len() as u64]);
        offsets
            .iter()
            .zip(ends)
            .map(|(&start, end)| {
                data.get(start as usize..end as usize)
                    .and_then(|bytes| std::str::from_utf8(bytes).ok())
                    .map(str::to_owned)
                    .ok_or_else(|| Error::Unexpected("an enumeration that isn't text".into()))
            })
            .collect()
    }
}

/// # Safety
/// `data` is null, or points to `bytes` bytes that live for `'a`.
unsafe fn view<'a>(data: *const c_void, bytes: usize) -> &'a [u8] {
    if data.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(data.cast(), bytes) }
}
