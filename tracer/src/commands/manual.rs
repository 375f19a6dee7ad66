//! What a shell and `man` are told of the command line.

use crate::cli::Cli;
use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::io;
use std::path::Path;

/// Prints what completes the command line in a shell.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tracer", &mut script);
    io::Write::write_all(&mut io::stdout(), &script).context("can't write to standard output")?;
    Ok(0)
}

/// Writes the manual's pages, `tracer.1` and one for each job, into a folder that is there.
pub(crate) fn man_pages(dir: &Path) -> anyhow::Result<u8> {
    clap_mangen::generate_to(Cli::command(), dir)
        .with_context(|| format!("can't write the manual's pages into {}", dir.display()))?;
    Ok(0)
}
