//! From a recording to what all reports are made of: the one way, whether the run has just ended or
//! not.

use super::{Exit, Run, processes, text};
use crate::arch::PAGE;
use crate::events::{Captured, LossCause, Lost, Module};
use crate::ledger::Ledger;
use crate::ledger::account::Account;
use crate::recording::{Error, Recording, Symbol};
use crate::symbols::{SymbolTable, Symbolizer};
use std::path::Path;

/// What a recording says, concluded: everything that reports are made from, and that two
/// recordings are compared by.
#[derive(Clone, Debug)]
pub struct Concluded {
    /// What was run.
    pub run: Run,
    /// What the ledger concludes.
    pub account: Account,
    /// The names of its stacks.
    pub symbols: SymbolTable,
    /// What was lost on the way.
    pub lost: Vec<Lost>,
    /// Whether the recording is whole: it ended as it should and nothing that
    /// was written is missing. (What was lost before is in `lost`.)
    pub complete: bool,
    /// Why the events could not be read to their end: what is concluded is of those before.
    pub torn: Option<String>,
}

impl Concluded {
    /// Replays the recording in `dir`. One that is torn in the middle is concluded up to there.
    ///
    /// # Errors
    /// If there is no recording, or not enough of one to say what ran.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let recording = Recording::open(dir)?;
        let pages = recording.meta().page_size;
        if pages != PAGE {
            return Err(Error::NotARecording {
                path: dir.to_owned(),
                what: format!("it counts pages of {pages} bytes, and this tracer those of {PAGE}"),
            });
        }
        let mut lost = recording.losses()?;
        let (account, torn) = replay(&recording)?;
        if torn.is_some() {
            lost.push(Lost {
                cause: LossCause::Torn,
                probe: "recording".into(),
                count: 1,
            });
        }
        Ok(Self {
            run: run(&recording, &account)?,
            symbols: symbols(&recording)?,
            account,
            lost,
            complete: recording.complete() && torn.is_none(),
            torn,
        })
    }

    /// Events that were lost, all causes together.
    #[must_use]
    pub fn lost_total(&self) -> u64 {
        let counts = self.lost.iter().map(|lost| lost.count);
        counts.fold(0, u64::saturating_add)
    }

    /// The command as a shell would be given it.
    #[must_use]
    pub fn command_line(&self) -> String {
        text::command_line(&self.run.command)
    }
}

/// What the events add up to, and why they could not be read to their end.
fn replay(recording: &Recording) -> Result<(Account, Option<String>), Error> {
    let mut ledger = Ledger::new();
    let mut torn = None;
    for event in recording.events()? {
        match event {
            Ok(event) => ledger.apply(&event),
            Err(error) => torn = Some(error.to_string()),
        }
    }
    Ok((ledger.finish(), torn))
}

fn symbols(recording: &Recording) -> Result<SymbolTable, Error> {
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

fn run(recording: &Recording, account: &Account) -> Result<Run, Error> {
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
        commands: processes::commands(account, &executed, &meta.command),
        tracer_version: meta.tracer_version.clone(),
        kernel_release: meta.kernel_release.clone(),
        mode: meta.mode.clone(),
        degraded: meta.degraded.clone(),
        limits: meta.limits.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Meta, Writer};

    #[test]
    fn pages_of_another_size_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut meta = Meta::here("heap", vec!["true".into()], None);
        for (size, is_read) in [(4096, true), (16384, false)] {
            meta.page_size = size;
            let path = dir.path().join(size.to_string());
            let mut writer = Writer::create(&path, &meta).unwrap();
            writer.flush().unwrap();
            writer.finish(&[]).unwrap();
            let loaded = Concluded::load(&path);
            assert_eq!(loaded.is_ok(), is_read, "{:?}", loaded.err());
        }
    }
}
