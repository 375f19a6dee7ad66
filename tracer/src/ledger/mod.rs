//! Replays events into totals, peaks and snapshots. Does no I/O and knows no symbols.

pub mod account;
