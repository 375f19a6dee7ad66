#![no_main]
//! See `debug_files` in `src/lib.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracer_fuzz::debug_files(data));
