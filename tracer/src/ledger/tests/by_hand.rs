//! Every transition, with numbers that can be worked out by hand.

mod heap;
mod mappings;
mod pages;
mod processes;

use super::*;

const MIB: u64 = 1 << 20;
/// Somewhere below the first thread's stack.
const A: u64 = 0x7f00_0000_0000;
const B: u64 = 0x7f10_0000_0000;
const MAIN: By = By(1, 1, 10);

fn stack(stack: u64) -> By {
    By(1, 1, stack)
}
