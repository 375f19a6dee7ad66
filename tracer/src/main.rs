//! The `tracer` command.

mod cli;
mod commands;
mod results;
mod terminal;

use clap::Parser;
use std::process::ExitCode;

/// musl's own gives memory back and asks for it again at each turn: reports take twice as long.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    give_back_what_is_free();
    match cli::Cli::try_parse() {
        Ok(cli) => commands::dispatch(cli),
        Err(error) => {
            // --help and --version arrive here too, and are no failure.
            let code = if error.use_stderr() {
                terminal::FAILED
            } else {
                0
            };
            // A closed stdout leaves nobody to tell.
            let _ = error.print();
            ExitCode::from(code)
        }
    }
}

/// Lets glibc give freed memory back to the kernel. It would keep what the start took for a
/// moment, a third of all that a trace of a small program takes: each time it frees a large
/// block it raises the limit from which it would.
fn give_back_what_is_free() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt changes numbers of the allocator, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20);
    }
}
