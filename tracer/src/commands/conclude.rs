//! From a recording to every report: the one way, whether the run has just ended or not.

use super::summary::Summary;
use anyhow::{Context, Result};
use std::path::Path;
use tracer::events::{Captured, LossCause, Lost, Module};
use tracer::ledger::Ledger;
use tracer::ledger::account::Account;
use tracer::recording::{Recording, Symbol};
use tracer::reports::{self, Exit, Input, OutDir, Run};
use tracer::symbols::{SymbolTable, Symbolizer};

/// Replays the recording in `dir`, writes its reports to `out`, and the summary.
pub(crate) fn conclude(dir: &Path, out: &OutDir, summary: &mut Summary) -> Result<()> {
    let recording =
        Recording::open(dir).with_context(|| format!("{}: no recording", dir.display()))?;
    let mut lost = recording.losses()?;
    let (account, whole) = replay(&recording)?;
    if !whole {
        lost.push(Lost {
            cause: LossCause::Torn,
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
    if summary.is_wanted() {
        let text = reports::summary(&input, &files, summary.style());
        summary.write(&text)?;
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
    let mut symbols: Vec<_> = recording.symbols()?.collect::<Result<_, _>>()?;
    if symbols.is_empty() && !recording.complete() {
        // The tracer was killed before it looked for names: the files may still be there.
        symbols = found_now(&stacks, &modules);
    }
    Ok(SymbolTable::new(&stacks, &modules, symbols))
}

/// Names out of the files that are still those that were mapped.
fn found_now(stacks: &[Captured], modules: &[Module]) -> Vec<Symbol> {
    let mut symbolizer = Symbolizer::new();
    for module in modules {
        symbolizer.open(module);
    }
    symbolizer.resolve(stacks, modules)
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
        degraded: meta.degraded.clone(),
        limits: meta.limits.clone(),
    })
}
