use std::ffi::c_void;
use std::ptr;

use super::context::{c_string, call, handle};
use super::schema::{ArrayKind, ArraySchema, Attribute, Dimension, Domain, VARIABLE};
use super::{Context, Datatype, Enumeration, Result, ffi};

/// A step of the pipeline that tiles pass through on their way to storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Zstandard at a level.
    Zstd(i32),
    /// The first byte of every value, then the second, …
    ByteShuffle,
    /// Differences of differences.
    DoubleDelta,
}

/// `TILEDB_COMPRESSION_LEVEL`.
const COMPRESSION_LEVEL: u32 = 0;

/// A dimension to be created, of 64-bit integers.
#[derive(Debug, Clone)]
pub struct DimensionSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its least and greatest coordinate.
    pub domain: [i64; 2],
    /// The extent of a tile.
    pub extent: i64,
    /// Its filters.
    pub filters: &'a [Filter],
}

/// An attribute to be created.
#[derive(Debug, Clone)]
pub struct AttributeSpec<'a> {
    /// Its name, and its enumeration's.
    pub name: &'a str,
    /// The stored type.
    pub datatype: Datatype,
    /// Whether cells have a variable number of values.
    pub is_variable: bool,
    /// The values that its codes stand for.
    pub values: Option<&'a [String]>,
    /// Its filters.
    pub filters: &'a [Filter],
}

handle!(FilterList, filter_list_free);

mod single {
    use crate::tiledb::context::handle;
    handle!(pub(super) Filter, filter_free);
}

/// A schema under construction: sparse, one dimension, duplicates allowed, as SOMA dataframes are.
pub struct SchemaBuilder {
    schema: ArraySchema,
}

impl SchemaBuilder {
    /// A schema with `capacity` cells in a tile.
    pub fn new(ctx: &Context, capacity: u64, offsets: &[Filter]) -> Result<Self> {
        let mut ptr = ptr::null_mut();
        call!(ctx, array_schema_alloc, ArrayKind::Sparse as u32, &mut ptr)?;
        let schema = ArraySchema::adopt(ctx, ptr);
        call!(ctx, array_schema_set_allows_dups, schema.ptr, 1)?;
        call!(ctx, array_schema_set_capacity, schema.ptr, capacity)?;
        let offsets = filter_list(ctx, offsets)?;
        call!(
            ctx,
            array_schema_set_offsets_filter_list,
            schema.ptr,
            offsets.ptr
        )?;
        Ok(Self { schema })
    }

    /// Sets the only dimension.
    pub fn dimension(self, spec: &DimensionSpec<'_>) -> Result<Self> {
        let (ctx, name) = (&self.schema.ctx, c_string(spec.name)?);
        let (mut dimension, mut domain) = (ptr::null_mut(), ptr::null_mut());
        let bounds: *const c_void = spec.domain.as_ptr().cast();
        let extent: *const c_void = (&raw const spec.extent).cast();
        let kind = Datatype::Int64 as u32;
        call!(
            ctx,
            dimension_alloc,
            name.as_ptr(),
            kind,
            bounds,
            extent,
            &mut dimension
        )?;
        let dimension = Dimension::adopt(ctx, dimension);
        let filters = filter_list(ctx, spec.filters)?;
        call!(ctx, dimension_set_filter_list, dimension.ptr, filters.ptr)?;
        call!(ctx, domain_alloc, &mut domain)?;
        let domain = Domain::adopt(ctx, domain);
        call!(ctx, domain_add_dimension, domain.ptr, dimension.ptr)?;
        call!(ctx, array_schema_set_domain, self.schema.ptr, domain.ptr)?;
        Ok(self)
    }

    /// Adds an attribute.
    pub fn attribute(self, spec: &AttributeSpec<'_>) -> Result<Self> {
        let (ctx, name) = (&self.schema.ctx, c_string(spec.name)?);
        let mut ptr = ptr::null_mut();
        call!(
            ctx,
            attribute_alloc,
            name.as_ptr(),
            spec.datatype as u32,
            &mut ptr
        )?;
        let attribute = Attribute::adopt(ctx, ptr);
        if spec.is_variable {
            call!(ctx, attribute_set_cell_val_num, attribute.ptr, VARIABLE)?;
        }
        let filters = filter_list(ctx, spec.filters)?;
        call!(ctx, attribute_set_filter_list, attribute.ptr, filters.ptr)?;
        if let Some(values) = spec.values {
            let enumeration = Enumeration::of_strings(ctx, spec.name, values)?;
            call!(
                ctx,
                array_schema_add_enumeration,
                self.schema.ptr,
                enumeration.ptr
            )?;
            call!(
                ctx,
                attribute_set_enumeration_name,
                attribute.ptr,
                name.as_ptr()
            )?;
        }
        call!(
            ctx,
            array_schema_add_attribute,
            self.schema.ptr,
            attribute.ptr
        )?;
        Ok(self)
    }

    /// The handle, once TileDB has found the schema sound.
    pub(super) fn finish(&self) -> Result<*const ffi::ArraySchema> {
        call!(self.schema.ctx, array_schema_check, self.schema.ptr)?;
        Ok(self.schema.ptr)
    }
}

fn filter_list(ctx: &Context, filters: &[Filter]) -> Result<FilterList> {
    let mut ptr = ptr::null_mut();
    call!(ctx, filter_list_alloc, &mut ptr)?;
    let list = FilterList::adopt(ctx, ptr);
    for filter in filters {
        let (kind, level) = match filter {
            Filter::Zstd(level) => (2, Some(level)),
            Filter::DoubleDelta => (6, None),
            Filter::ByteShuffle => (9, None),
        };
        let mut ptr = ptr::null_mut();
        call!(ctx, filter_alloc, kind, &mut ptr)?;
        let filter = single::Filter::adopt(ctx, ptr);
        if let Some(level) = level {
            let value: *const c_void = (&raw const *level).cast();
            call!(ctx, filter_set_option, filter.ptr, COMPRESSION_LEVEL, value)?;
        }
        call!(ctx, filter_list_add_filter, list.ptr, filter.ptr)?;
    }
    Ok(list)
}
