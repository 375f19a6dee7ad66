//! Unwind tables in the kernel: what the BPF programs walk stacks by.
//!
//! - [`tables`] gives tables to the programs;
//! - [`keeper`] follows what the target maps;
//! - `large` makes those of large files apart from the others.

pub mod keeper;
mod large;
pub mod tables;

pub use keeper::Keeper;
pub use tables::Tables;
