#![no_main]
//! See `table_cache` in `src/lib.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracer_fuzz::table_cache(data));
