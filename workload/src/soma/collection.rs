use super::{Error, OBJECT_TYPE, Result};
use crate::tiledb::{Context, Group, Member, Mode, ObjectKind};

/// The SOMA types that are collections.
const COLLECTIONS: [&str; 4] = [
    "SOMACollection",
    "SOMAExperiment",
    "SOMAMeasurement",
    "SOMAScene",
];

/// An open SOMA collection, experiment or measurement.
pub struct Collection {
    ctx: Context,
    uri: String,
    members: Vec<Member>,
    encoding: Option<String>,
}

impl Collection {
    /// Opens the collection at `uri` and reads its members.
    pub fn open(ctx: &Context, uri: &str) -> Result<Self> {
        let expected = "a SOMA collection";
        let not_soma = |found: &str| Error::NotSoma {
            uri: uri.to_owned(),
            found: found.to_owned(),
            expected,
        };
        match ObjectKind::at(ctx, uri)? {
            ObjectKind::Group => {}
            ObjectKind::Array => return Err(not_soma("an array")),
            ObjectKind::Nothing => return Err(not_soma("no TileDB object")),
        }
        let group = Group::open(ctx, uri, Mode::Read)?;
        match group.metadata(OBJECT_TYPE)? {
            Some(kind) if COLLECTIONS.contains(&kind.as_str()) => {}
            Some(kind) => return Err(not_soma(&format!("a {kind}"))),
            None => return Err(not_soma("a TileDB group without a SOMA type")),
        }
        let encoding = group.metadata(super::ENCODING_VERSION)?;
        let members = group.members()?;
        group.close()?;
        Ok(Self {
            ctx: ctx.clone(),
            uri: uri.to_owned(),
            members,
            encoding,
        })
    }

    /// Its URI.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The version of its encoding.
    pub fn encoding(&self) -> Option<&str> {
        self.encoding.as_deref()
    }

    /// The names of its members.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .members
            .iter()
            .map(|member| member.name.clone())
            .collect();
        names.sort();
        names
    }

    /// The member of that name.
    pub fn member(&self, name: &str) -> Result<&Member> {
        self.members
            .iter()
            .find(|member| member.name == name)
            .ok_or_else(|| Error::NoMember {
                uri: self.uri.clone(),
                name: name.to_owned(),
                members: self.names(),
            })
    }

    /// Opens the member of that name, a collection too.
    pub fn collection(&self, name: &str) -> Result<Self> {
        Self::open(&self.ctx, &self.member(name)?.uri)
    }

    /// Opens the member of that name, a dataframe.
    pub fn dataframe(&self, name: &str) -> Result<super::DataFrame> {
        super::DataFrame::open(&self.ctx, &self.member(name)?.uri)
    }
}
