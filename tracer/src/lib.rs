//! Memory tracer: reserved and resident bytes by call stack, from outside the process.
//!
//! Data flows one way, and each step knows only those before it:
//!
//! ```text
//! tracee, unwind ─ probes ─(ring buffer)─ events ─ recording ─ ledger ─ symbols ─ reports
//! ```
//!
//! `units`, `arch` and `files` are the ground that all stand on. [`trace`] is the engine that lets
//! data flow while a program runs, from its probes into a recording; [`reports`] starts from the
//! recording.

pub mod arch;
pub mod events;
pub mod files;
pub mod ledger;
pub mod probes;
pub mod recording;
pub mod reports;
pub mod symbols;
pub mod trace;
pub mod tracee;
pub mod units;
pub mod unwind;

/// Has cargo build a copied tree's own crate: `.cargo/config.toml` says why.
const _: Option<&str> = option_env!("TRACER_TREE");
