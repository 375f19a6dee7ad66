//! Live tests: the real tracer, on the real kernel, over programs that know their own truth.
//! They need root, a C compiler and bpftool, and fail with the reason where one is missing.

mod action;
mod allocations;
mod bad_input;
mod budget;
mod containers;
mod dataset;
mod debuginfod;
mod diff;
mod endings;
mod files;
mod harness;
mod late;
mod losses;
mod machines;
mod marks;
mod memory;
mod output;
mod privileges;
mod push;
mod recording;
mod residency;
mod stacks;
