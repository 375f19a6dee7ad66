//! A thin, safe binding to the part of libtiledb's C API that a SOMA client needs, loaded at run
//! time: wheels, conda and system packages name the library differently, and none brings headers.
//!
//! All `unsafe` of this crate stands here and in the buffer type ([`crate::reserved`]).

mod array;
mod condition;
mod context;
mod datatype;
mod enumeration;
mod error;
mod ffi;
mod group;
mod library;
mod object;
mod query;
mod schema;
mod schema_builder;

pub use array::Array;
pub use condition::{Combine, Compare, Condition};
pub use context::Context;
pub use datatype::Datatype;
pub use enumeration::Enumeration;
pub use error::{Error, Result};
pub use group::{Group, Member, ObjectKind};
pub use library::Library;
pub use object::Mode;
pub use query::{Field, Input, Outcome, ReadQuery, WriteQuery};
pub use schema::{ArrayKind, Column, Schema};
pub use schema_builder::{AttributeSpec, DimensionSpec, Filter, SchemaBuilder};
