use std::ptr;

use super::context::{c_string, call, handle};
use super::object::object;
use super::{Context, Enumeration, Result, Schema, SchemaBuilder};

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
}

object! {
    Array: array_alloc, array_open, array_get_metadata, array_put_metadata, array_close
}
