//! Where the kernel's time went: memory system calls and page faults, by stack.
//!
//! What is known is how long a thread was inside: of a call from its entry to its return,
//! of a fault from the exception to the moment at which the kernel counted the page (the
//! end of a fault has no tracepoint). Waiting is part of both, for a lock or a disk.

use super::account::{CallTotals, FaultTotals, StackTotals};
use crate::events::{Body, Cause};
use crate::units::Nanos;
use std::collections::BTreeMap;

/// Totals over the run, all processes together.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: BTreeMap<u16, CallTotals>,
    faults: FaultTotals,
}

impl Calls {
    /// Adds what an event says, to the totals and to its stack's.
    pub(super) fn count(&mut self, body: &Body, stack: &mut StackTotals) {
        match *body {
            Body::Returned {
                syscall,
                errno,
                took,
            } => {
                let call = self.calls.entry(syscall).or_default();
                call.calls += 1;
                call.failed += u64::from(errno != 0);
                add(&mut call.time, took);
                stack.mapping_calls += 1;
                add(&mut stack.mapping_time, took);
            }
            // One fault may move two counters; the first has its time.
            Body::Resident {
                cause,
                took: Some(took),
                ..
            } => {
                match cause {
                    Cause::UserFault => self.faults.user += 1,
                    _ => self.faults.kernel += 1,
                }
                add(&mut self.faults.time, took);
                stack.faults += 1;
                add(&mut stack.fault_time, took);
            }
            _ => {}
        }
    }

    /// By number of the system call, and of faults.
    pub(super) fn finish(self) -> (Vec<(u16, CallTotals)>, FaultTotals) {
        (self.calls.into_iter().collect(), self.faults)
    }
}

fn add(sum: &mut Nanos, more: Nanos) {
    sum.0 = sum.0.saturating_add(more.0);
}
