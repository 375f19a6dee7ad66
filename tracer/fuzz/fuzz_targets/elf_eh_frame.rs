#![no_main]
//! See `elf_eh_frame` in `src/lib.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracer_fuzz::elf_eh_frame(data));
