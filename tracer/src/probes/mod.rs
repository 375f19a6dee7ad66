//! Where BPF programs meet the target: what to probe, where, and how.

pub mod attach;
pub mod modules;
pub mod objects;
pub mod placement;
pub mod table;
