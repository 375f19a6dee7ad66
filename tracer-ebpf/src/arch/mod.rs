//! What both sides know of the processor. x86-64 is the only one so far: another is a file beside
//! it. How programs read registers is in `registers.rs`.

mod x86_64;

pub use x86_64::{compat, fault, syscall};
