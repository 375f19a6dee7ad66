use std::ptr;

use super::context::{c_string, call, handle};
use super::{Context, Result};

/// How a column's value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the operators' usual names")]
pub enum Compare {
    Less = 0,
    LessOrEqual = 1,
    Greater = 2,
    GreaterOrEqual = 3,
    Equal = 4,
    NotEqual = 5,
}

impl Compare {
    /// The operator with its sides exchanged: `5 < x` is `x > 5`.
    pub fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Equal | Self::NotEqual => self,
        }
    }
}

/// How two conditions become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the operators' usual names")]
pub enum Combine {
    And = 0,
    Or = 1,
}

/// `TILEDB_IN` and `TILEDB_NOT_IN`.
const IN: u32 = 6;
const NOT_IN: u32 = 7;

handle!(
    /// Which cells a query returns. Of a dictionary column the condition names values, and
    /// libtiledb translates them to codes.
    pub QueryCondition, query_condition_free
);

/// Which cells a query returns.
pub type Condition = QueryCondition;

impl QueryCondition {
    /// `name operator value`, the value in the bytes of the column's (or its enumeration's) type;
    /// `None` is null.
    pub fn compare(
        ctx: &Context,
        name: &str,
        operator: Compare,
        value: Option<&[u8]>,
    ) -> Result<Self> {
        let (name, mut ptr) = (c_string(name)?, ptr::null_mut());
        let data = value.map_or(ptr::null(), |value| value.as_ptr().cast());
        call!(ctx, query_condition_alloc, &mut ptr)?;
        let condition = Self::adopt(ctx, ptr);
        call!(
            ctx,
            query_condition_init,
            condition.ptr,
            name.as_ptr(),
            data,
            value.map_or(0, <[u8]>::len) as u64,
            operator as u32
        )?;
        Ok(condition)
    }

    /// `name in values`, or `name not in values` if `negated`.
    pub fn member(ctx: &Context, name: &str, values: &[Vec<u8>], negated: bool) -> Result<Self> {
        let (name, mut ptr) = (c_string(name)?, ptr::null_mut());
        let data = values.concat();
        let mut end = 0u64;
        let mut offsets = Vec::with_capacity(values.len());
        for value in values {
            offsets.push(end);
            end += value.len() as u64;
        }
        call!(
            ctx,
            query_condition_alloc_set_membership,
            name.as_ptr(),
            data.as_ptr().cast(),
            data.len() as u64,
            offsets.as_ptr().cast(),
            size_of_val(offsets.as_slice()) as u64,
            if negated { NOT_IN } else { IN },
            &mut ptr
        )?;
        Ok(Self::adopt(ctx, ptr))
    }

    /// Both, or either.
    pub fn combine(&self, operator: Combine, other: &Self) -> Result<Self> {
        let mut ptr = ptr::null_mut();
        let (left, right) = (self.ptr, other.ptr);
        call!(
            self.ctx,
            query_condition_combine,
            left,
            right,
            operator as u32,
            &mut ptr
        )?;
        Ok(Self::adopt(&self.ctx, ptr))
    }
}
