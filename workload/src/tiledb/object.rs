//! What arrays and groups have in common: opening, metadata of one shape, closing.

use std::ffi::c_void;
use std::slice;

use super::Datatype;

/// What an array or group is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Reading, as of the moment of opening.
    Read = 0,
    /// Writing a new fragment or new metadata.
    Write = 1,
}

/// Gives a handle type what arrays and groups have in common, by the functions that each has of its
/// own: allocating, opening, getting and putting metadata, closing.
macro_rules! object {
    ($name:ident: $alloc:ident, $open:ident, $get:ident, $put:ident, $close:ident) => {
        impl $name {
            /// Opens the one at `uri`.
            pub fn open(
                ctx: &$crate::tiledb::Context,
                uri: &str,
                mode: $crate::tiledb::Mode,
            ) -> $crate::tiledb::Result<Self> {
                let (uri, mut ptr) = (c_string(uri)?, std::ptr::null_mut());
                call!(ctx, $alloc, uri.as_ptr(), &mut ptr)?;
                let object = Self::adopt(ctx, ptr);
                call!(ctx, $open, object.ptr, mode as u32)?;
                Ok(object)
            }

            /// The text under a metadata key.
            pub fn metadata(&self, key: &str) -> $crate::tiledb::Result<Option<String>> {
                let key = c_string(key)?;
                let (mut kind, mut count, mut value) = (u32::MAX, 0, std::ptr::null());
                call!(
                    self.ctx,
                    $get,
                    self.ptr,
                    key.as_ptr(),
                    &mut kind,
                    &mut count,
                    &mut value
                )?;
                Ok($crate::tiledb::object::text(kind, count, value))
            }

            /// Sets a metadata key to a text.
            pub fn set_metadata(&self, key: &str, value: &str) -> $crate::tiledb::Result<()> {
                let key = c_string(key)?;
                let (kind, count, data) = $crate::tiledb::object::parts(value);
                call!(self.ctx, $put, self.ptr, key.as_ptr(), kind, count, data)
            }

            /// Closes it; what was written is on disk only after this.
            pub fn close(self) -> $crate::tiledb::Result<()> {
                call!(self.ctx, $close, self.ptr)
            }
        }
    };
}
pub(super) use object;

/// Reads a metadata value as text. TileDB-SOMA writes its own keys as strings; anything else,
/// and an absent key (no value, or the datatype `ANY`), is `None`.
pub(super) fn text(kind: u32, count: u32, value: *const c_void) -> Option<String> {
    let kind = Datatype::from_raw(kind).ok()?;
    if !matches!(
        kind,
        Datatype::StringUtf8 | Datatype::StringAscii | Datatype::Char
    ) {
        return None;
    }
    if value.is_null() {
        return (count == 0).then(String::new);
    }
    // SAFETY: libtiledb gives `count` values of one byte each, which live as long as the array or
    // group is open; they are copied here, before the caller can close it.
    let bytes = unsafe { slice::from_raw_parts(value.cast::<u8>(), count as usize) };
    Some(
        String::from_utf8_lossy(bytes)
            .trim_end_matches('\0')
            .to_owned(),
    )
}

/// How a text is written: as UTF-8, without a NUL.
pub(super) fn parts(value: &str) -> (u32, u32, *const c_void) {
    (
        Datatype::StringUtf8 as u32,
        value.len() as u32,
        value.as_ptr().cast(),
    )
}
