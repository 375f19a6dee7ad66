//! A row of the tables.

use crate::symbols::Frame;
use crate::units::{Bytes, Nanos, StackId};

/// What the stacks of one location did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Location {
    /// The frame.
    pub frame: Frame,
    /// Blocks and direct mappings made, over the run.
    pub calls: u64,
    /// Their bytes, over the run.
    pub size: Bytes,
    /// Live at the reserved peak.
    pub reserved: Bytes,
    /// Resident at the resident peak, as reserver.
    pub resident: Bytes,
    /// Reserved at the resident peak: what `resident` is a part of.
    pub reserved_then: Bytes,
    /// Resident at the resident peak, as toucher.
    pub touched: Bytes,
    /// Never given back.
    pub leaked: Bytes,
    /// Memory system calls, over the run, and how long they took.
    pub mapping_calls: u64,
    /// See `mapping_calls`.
    pub mapping_time: Nanos,
    /// Page faults, over the run, and how long they took.
    pub faults: u64,
    /// See `faults`.
    pub fault_time: Nanos,
    /// Its largest stack.
    pub stack: StackId,
    /// Of the stacks that touched: the one with the most.
    pub touching: StackId,
    /// Who touched what it reserved, at the resident peak; the largest first.
    pub touchers: Vec<(String, Bytes)>,
}
