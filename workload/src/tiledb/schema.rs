use std::ptr;

use super::context::{call, copy_c_string, handle};
use super::{Context, Datatype, Error, Result, ffi};

/// `TILEDB_VAR_NUM`: the number of values in a cell of variable length.
pub(super) const VARIABLE: u32 = u32::MAX;

/// Dense or sparse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayKind {
    /// Every coordinate has a cell.
    Dense = 0,
    /// Cells are where they were written; SOMA dataframes are sparse.
    Sparse = 1,
}

/// A dimension or an attribute, as far as a reader needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The stored type; of a dictionary column, that of the codes.
    pub datatype: Datatype,
    /// Whether cells have a variable number of values.
    pub is_variable: bool,
    /// Whether cells can be null.
    pub is_nullable: bool,
    /// The name of the enumeration that its codes refer to.
    pub enumeration: Option<String>,
    /// A dimension, or else an attribute.
    pub is_dimension: bool,
}

/// What an array holds: dimensions first, then attributes, both in the schema's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Dense or sparse.
    pub kind: ArrayKind,
    /// All columns.
    pub columns: Vec<Column>,
}

handle!(pub(super) ArraySchema, array_schema_free);
handle!(pub(super) Domain, domain_free);
handle!(pub(super) Dimension, dimension_free);
handle!(pub(super) Attribute, attribute_free);

impl Schema {
    /// Reads out a schema handle, and frees it.
    pub(super) fn read(ctx: &Context, schema: *mut ffi::ArraySchema) -> Result<Self> {
        let schema = ArraySchema::adopt(ctx, schema);
        let mut kind = 0;
        call!(ctx, array_schema_get_array_type, schema.ptr, &mut kind)?;
        let kind = if kind == ArrayKind::Dense as u32 {
            ArrayKind::Dense
        } else {
            ArrayKind::Sparse
        };
        let mut columns = schema.dimensions()?;
        columns.extend(schema.attributes()?);
        Ok(Self { kind, columns })
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl ArraySchema {
    fn dimensions(&self) -> Result<Vec<Column>> {
        let (mut domain, mut count) = (ptr::null_mut(), 0);
        call!(self.ctx, array_schema_get_domain, self.ptr, &mut domain)?;
        let domain = Domain::adopt(&self.ctx, domain);
        call!(self.ctx, domain_get_ndim, domain.ptr, &mut count)?;
        (0..count)
            .map(|index| {
                let mut dimension = ptr::null_mut();
                call!(
                    self.ctx,
                    domain_get_dimension_from_index,
                    domain.ptr,
                    index,
                    &mut dimension
                )?;
                Dimension::adopt(&self.ctx, dimension).column()
            })
            .collect()
    }

    fn attributes(&self) -> Result<Vec<Column>> {
        let mut count = 0;
        call!(
            self.ctx,
            array_schema_get_attribute_num,
            self.ptr,
            &mut count
        )?;
        (0..count)
            .map(|index| {
                let mut attribute = ptr::null_mut();
                call!(
                    self.ctx,
                    array_schema_get_attribute_from_index,
                    self.ptr,
                    index,
                    &mut attribute
                )?;
                Attribute::adopt(&self.ctx, attribute).column()
            })
            .collect()
    }
}

impl Dimension {
    fn column(&self) -> Result<Column> {
        let (mut name, mut kind, mut values) = (ptr::null(), 0, 0);
        call!(self.ctx, dimension_get_name, self.ptr, &mut name)?;
        call!(self.ctx, dimension_get_type, self.ptr, &mut kind)?;
        call!(self.ctx, dimension_get_cell_val_num, self.ptr, &mut values)?;
        let (name, datatype) = (copy_c_string(name), Datatype::from_raw(kind)?);
        Ok(Column {
            is_variable: is_variable(&name, values)?,
            name,
            datatype,
            is_nullable: false,
            enumeration: None,
            is_dimension: true,
        })
    }
}

impl Attribute {
    fn column(&self) -> Result<Column> {
        let (mut name, mut kind, mut values) = (ptr::null(), 0, 0);
        let (mut nullable, mut enumeration) = (0, ptr::null_mut());
        call!(self.ctx, attribute_get_name, self.ptr, &mut name)?;
        call!(self.ctx, attribute_get_type, self.ptr, &mut kind)?;
        call!(self.ctx, attribute_get_cell_val_num, self.ptr, &mut values)?;
        call!(self.ctx, attribute_get_nullable, self.ptr, &mut nullable)?;
        call!(
            self.ctx,
            attribute_get_enumeration_name,
            self.ptr,
            &mut enumeration
        )?;
        let (name, datatype) = (copy_c_string(name), Datatype::from_raw(kind)?);
        Ok(Column {
            is_variable: is_variable(&name, values)?,
            name,
            datatype,
            is_nullable: nullable != 0,
            enumeration: self.ctx.take_string(enumeration)?,
            is_dimension: false,
        })
    }
}

/// One value a cell, or a variable number; SOMA has no other, nor has this crate.
fn is_variable(name: &str, values: u32) -> Result<bool> {
    match values {
        1 => Ok(false),
        VARIABLE => Ok(true),
        fixed => Err(Error::Unexpected(format!(
            "column {name:?} has {fixed} values in each cell: TileDB-SOMA has no such columns"
        ))),
    }
}
