//! A CELLxGENE Census client on libtiledb.
//!
//! - [`tiledb`] binds the part of libtiledb's C API that is needed, loaded at run time;
//! - [`reserved`] is the buffer that reads go to: reserved, and not touched;
//! - [`soma`] reads SOMA collections and dataframes into Arrow, doing to memory exactly what
//!   TileDB-SOMA does;
//! - [`census`] knows where a Census lies and how it is laid out, and writes synthetic ones;
//! - [`size`] parses sizes such as `1GiB`.

pub mod beside;
pub mod census;
pub mod reserved;
pub mod size;
pub mod soma;
pub mod tiledb;

/// Has cargo build a copied tree's own crate: `.cargo/config.toml` says why.
const _: Option<&str> = option_env!("TRACER_TREE");
