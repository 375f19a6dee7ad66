//! Metadata of arrays and groups, which share one shape.

use std::ffi::c_void;
use std::slice;

use super::Datatype;

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
