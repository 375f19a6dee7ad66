use std::ptr;

use super::context::{c_string, call, handle};
use super::{Context, Enumeration, Result, Schema, SchemaBuilder, metadata};

/// What an array or group is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Reading, as of the moment of opening.
    Read = 0,
    /// Writing a new fragment or new metadata.
    Write = 1,
}

handle!(
    /// An open TileDB array.
    pub Array, array_free
);

impl Array {
    /// Creates an empty array.
    pub fn create(ctx: &Context, uri: &str, schema: &SchemaBuilder) -> Result<()> {
        let uri = c_string(uri)?;
        call!(ctx, array_create, uri.as_ptr(), schema.finish()?)
    }

    /// Opens the array at `uri`.
    pub fn open(ctx: &Context, uri: &str, mode: Mode) -> Result<Self> {
        let (uri, mut ptr) = (c_string(uri)?, ptr::null_mut());
        call!(ctx, array_alloc, uri.as_ptr(), &mut ptr)?;
        let array = Self::adopt(ctx, ptr);
        call!(ctx, array_open, array.ptr, mode as u32)?;
        Ok(array)
    }

    /// The context it was opened with.
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// Its schema.
    pub fn schema(&self) -> Result<Schema> {
        let mut ptr = ptr::null_mut();
        call!(self.ctx, array_get_schema, self.ptr, &mut ptr)?;
        Schema::read(&self.ctx, ptr)
    }

    /// The enumeration of that name, with its values.
    pub fn enumeration(&self, name: &str) -> Result<Enumeration> {
        let (name, mut ptr) = (c_string(name)?, ptr::null_mut());
        call!(
            self.ctx,
            array_get_enumeration,
            self.ptr,
            name.as_ptr(),
            &mut ptr
        )?;
        Ok(Enumeration::adopt(&self.ctx, ptr))
    }

    /// The text under a metadata key.
    pub fn metadata(&self, key: &str) -> Result<Option<String>> {
        let key = c_string(key)?;
        let (mut kind, mut count, mut value) = (u32::MAX, 0, ptr::null());
        call!(
            self.ctx,
            array_get_metadata,
            self.ptr,
            key.as_ptr(),
            &mut kind,
            &mut count,
            &mut value
        )?;
        Ok(metadata::text(kind, count, value))
    }

    /// Sets a metadata key to a text.
    pub fn set_metadata(&self, key: &str, value: &str) -> Result<()> {
        let (key, (kind, count, data)) = (c_string(key)?, metadata::parts(value));
        call!(
            self.ctx,
            array_put_metadata,
            self.ptr,
            key.as_ptr(),
            kind,
            count,
            data
        )
    }

    /// Closes the array; written metadata is on disk only after this.
    pub fn close(self) -> Result<()> {
        call!(self.ctx, array_close, self.ptr)
    }
}
