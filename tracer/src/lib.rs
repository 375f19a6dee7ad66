//! Memory tracer: reserved and resident bytes by call stack, from outside the process.
//!
//! Data flows one way, and each step knows only the one before it:
//!
//! ```text
//! target ─ probes ─(ring buffer)─ events ─ recording ─ ledger ─ symbols ─ reports
//! ```

pub mod events;
pub mod ledger;
pub mod probes;
pub mod recording;
pub mod reports;
pub mod symbols;
pub mod target;
pub mod trace;
pub mod units;
pub mod unwind;

/// Has cargo build a copied tree's own crate: `.cargo/config.toml` says why.
const _: Option<&str> = option_env!("TRACER_TREE");
