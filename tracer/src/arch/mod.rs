//! What is known of the processor, beside what the BPF programs know too
//! ([`tracer_ebpf::arch`]). x86-64 is the only one so far: another is a file beside it.
//!
//! Two rooms read instructions and belong to a processor as well: `probes::placement` and
//! `unwind::derive`.

mod x86_64;

pub use tracer_ebpf::arch::{fault, syscall};
pub use x86_64::{
    ADDRESSES, ELF_MACHINE, ELF_MACHINE_32, HUGE_PAGE, LIBRARY_FOLDER, MUSL_PATH_FILE, PAGE,
    PLATFORM, VARIANTS,
};
