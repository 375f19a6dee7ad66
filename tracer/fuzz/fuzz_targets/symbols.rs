#![no_main]
//! See `symbols` in `src/lib.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracer_fuzz::symbols(data));
