//! The tracer's BPF programs: they follow the processes of the map `TARGETS`
//! and send what they see through one ring buffer, in the ABI of `lib.rs`.
//!
//! - `alloc`: uprobes on the malloc family;
//! - `mapping`: the system calls that make, move and release mappings;
//! - `mark`: moments that the program names;
//! - `fault`: page faults and the kernel's counters of resident memory;
//! - `untold`: what threads of older kernels count by themselves;
//! - `touch`: who touches memory, and the event that says so;
//! - `process`: fork, exec and exit;
//! - `stack`: the one place where a stack is captured;
//! - `unwind`: the walk itself, by tables made of `.eh_frame`;
//! - `state`, `ring`, `kernel`, `registers`, `ids`, `atomic`: the maps, the way out, how to read the
//!   kernel and a thread's registers, which thread it is, and the atomic operations that Rust's
//!   `core` lacks here.
#![no_std]
#![no_main]
// `core`'s atomic read-modify-write operations are off for this target.
#![feature(asm_experimental_arch)]

mod alloc;
mod atomic;
mod fault;
mod ids;
mod kernel;
mod mapping;
mod mark;
mod process;
mod registers;
mod ring;
mod stack;
mod state;
mod touch;
mod untold;
mod unwind;

/// Several helpers exist for programs that declare a GPL-compatible licence
/// only; these are MIT or Apache-2.0, and may be used under the GPL as well.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
