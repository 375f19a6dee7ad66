#![no_main]
//! See `ledger` in `src/lib.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracer_fuzz::ledger(data));
