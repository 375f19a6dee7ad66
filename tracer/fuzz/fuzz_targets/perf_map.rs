#![no_main]
//! See `perf_map` in `src/lib.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracer_fuzz::perf_map(data));
