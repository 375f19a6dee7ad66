//! What this machine allows a tracer: found by asking the kernel, never by who asks.
//!
//! [`Facts`] are what remedies depend on, [`Lack`] is what is missing with its remedy (the one
//! place of these texts), [`Degradation`] is what is less exact where the rest works,
//! [`Capability`] is one line of `tracer doctor`.

mod ask;
mod capability;
mod degradation;
mod explain;
mod facts;
mod lack;
mod limit;

pub use ask::{
    early, load_empty, needs_admin, of_pages, pagemap_scan, reads_kernel, reads_map_files,
};
pub use capability::{Answer, Capability, Verdict, verdict};
pub use degradation::Degradation;
pub use explain::{attaching, loading, uprobes, wants_memory};
pub use facts::{Cap, Caps, Container, FLOOR, Facts, Lockdown, TESTED, Version};
pub use lack::{Kind, Lack, Name};
pub use limit::{DEFAULT_RING, LEAST_MEMORY, SMALLEST_RING, ring_that_fits};
