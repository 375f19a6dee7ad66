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
