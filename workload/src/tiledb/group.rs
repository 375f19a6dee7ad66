use std::ptr;

use super::context::{c_string, call, handle};
use super::object::object;
use super::{Context, Error, Result};

/// What lies at a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// Neither of the other two: nothing, or something that isn't TileDB's.
    Nothing,
    /// A group, which names other objects.
    Group,
    /// An array.
    Array,
}

impl ObjectKind {
    fn from_raw(number: u32) -> Self {
        match number {
            1 => Self::Group,
            2 => Self::Array,
            _ => Self::Nothing,
        }
    }

    /// Asks the storage what lies at `uri`.
    pub fn at(ctx: &Context, uri: &str) -> Result<Self> {
        let (uri, mut kind) = (c_string(uri)?, 0);
        call!(ctx, object_type, uri.as_ptr(), &mut kind)?;
        Ok(Self::from_raw(kind))
    }
}

/// An entry of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name within the group.
    pub name: String,
    /// The absolute URI.
    pub uri: String,
    /// Group or array.
    pub kind: ObjectKind,
}

handle!(
    /// An open TileDB group.
    pub Group, group_free
);

impl Group {
    /// Creates an empty group.
    pub fn create(ctx: &Context, uri: &str) -> Result<()> {
        let uri = c_string(uri)?;
        call!(ctx, group_create, uri.as_ptr())
    }

    /// Adds the object at `path`, relative to the group, under `name`.
    pub fn add_member(&self, path: &str, name: &str) -> Result<()> {
        let (path, name) = (c_string(path)?, c_string(name)?);
        call!(
            self.ctx,
            group_add_member,
            self.ptr,
            path.as_ptr(),
            1,
            name.as_ptr()
        )
    }

    /// All members, in TileDB's order.
    pub fn members(&self) -> Result<Vec<Member>> {
        let mut count = 0;
        call!(self.ctx, group_get_member_count, self.ptr, &mut count)?;
        (0..count).map(|index| self.member(index)).collect()
    }

    fn member(&self, index: u64) -> Result<Member> {
        let (mut uri, mut kind, mut name) = (ptr::null_mut(), 0, ptr::null_mut());
        call!(
            self.ctx,
            group_get_member_by_index_v2,
            self.ptr,
            index,
            &mut uri,
            &mut kind,
            &mut name
        )?;
        let (uri, name) = (self.ctx.take_string(uri)?, self.ctx.take_string(name)?);
        let uri = uri.ok_or_else(|| Error::Unexpected("a group member without a URI".into()))?;
        Ok(Member {
            name: name.unwrap_or_default(),
            uri,
            kind: ObjectKind::from_raw(kind),
        })
    }
}

object! {
    Group: group_alloc, group_open, group_get_metadata, group_put_metadata, group_close
}
