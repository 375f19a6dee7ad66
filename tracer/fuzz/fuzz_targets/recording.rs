#![no_main]
//! See `recording` in `src/lib.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracer_fuzz::recording(data));
