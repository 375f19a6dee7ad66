//! From a recording to every report: the one way, whether the run has just ended or not.

use anyhow::{Context, Result};
use std::path::Path;
use tracer::events::{Lost, Module};
use tracer::ledger::Ledger;
use tracer::ledger::account::Account;
use tracer::recording::Recording;
use tracer::reports::{self, Exit, Input, OutDir, Run, Style};
use tracer::symbols::SymbolTable;

/// Replays the recording in `dir`, writes its reports to `out`, and prints the summary.
pub(crate) fn conclude(dir: &Path, out: &OutDir, quiet: bool) -> Result<()> {
    let recording =
        Recording::open(dir).with_context(|| format!("{}: no recording", dir.display()))?;
    let mut lost = recording.losses()?;
    let (account, whole) = replay(&recording)?;
    if !whole {
        lost.push(Lost {
            cause: "torn".into(),
            probe: "recording".into(),
            count: 1,
        });
    }
    let symbols = symbols(&recording)?;
    let run = run(&recording, &account)?;
    let input = Input {
        run: &run,
        account: &account,
        symbols: &symbols,
        lost: &lost,
        complete: recording.complete() && whole,
    };
    let files = reports::write_all(out, &input)?;
    if !quiet {
        print(&reports::summary(&input, &files, Style::of_stdout()));
    }
    Ok(())
}

/// What the events add up to, and whether they could be read to their end: a recording that
/// is torn in the middle is reported up to there.
fn replay(recording: &Recording) -> Result<(Account, bool)> {
    let mut ledger = Ledger::new();
    let mut whole = true;
    for event in recording.events()? {
        match event {
            Ok(event) => ledger.apply(&event),
            Err(error) => {
                super::warn(format_args!(
                    "the recording can be read in part only: {error}"
                ));
                whole = false;
            }
        }
    }
    Ok((ledger.finish(), whole))
}

fn symbols(recording: &Recording) -> Result<SymbolTable> {
    let stacks: Vec<_> = recording.stacks()?.collect::<Result<_, _>>()?;
    let modules: Vec<Module> = recording.modules()?.collect::<Result<_, _>>()?;
    let symbols: Vec<_> = recording.symbols()?.collect::<Result<_, _>>()?;
    Ok(SymbolTable::new(&stacks, &modules, symbols))
}

fn run(recording: &Recording, account: &Account) -> Result<Run> {
    let meta = recording.meta();
    let root = account
        .processes
        .iter()
        .find(|process| Some(process.pid) == meta.root);
    let executed: Vec<_> = recording.commands()?.collect::<Result<_, _>>()?;
    Ok(Run {
        command: meta.command.clone(),
        exit: root
            .and_then(|root| root.status)
            .map(Exit::from_status)
            .unwrap_or_default(),
        commands: reports::commands(account, &executed, &meta.command),
        tracer_version: meta.tracer_version.clone(),
        kernel_release: meta.kernel_release.clone(),
        mode: meta.mode.clone(),
    })
}

/// Results go to stdout; a reader who has seen enough and closed it is no failure.
fn print(summary: &str) {
    use std::io::Write;
    let _ = std::io::stdout().lock().write_all(summary.as_bytes());
}
