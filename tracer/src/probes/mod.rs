//! Where BPF programs meet the target: what to load, what to probe, where, and
//! how; and what comes back.

pub mod attach;
pub mod bpf;
pub mod btf;
pub mod decode;
mod hugetlb;
pub mod kernel;
pub mod load;
pub mod losses;
pub mod machine;
pub mod modules;
mod namespace;
pub mod objects;
mod offsets;
pub mod pagemap;
pub mod placement;
pub mod ring;
pub mod table;
pub mod unwinding;
