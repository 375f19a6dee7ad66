//! The `workload` command.

fn main() {}
