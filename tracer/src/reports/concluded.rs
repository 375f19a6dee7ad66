//! From a recording to what all reports are made of: the one way, whether the run has just ended or
//! not.

use super::cut::{Between, Cut, NoMark};
use super::location::Location;
use super::{Exit, Run, processes, text};
use crate::arch::PAGE;
use crate::events::{Captured, LossCause, Lost, Mark, Module};
use crate::ledger::account::Account;
use crate::ledger::{Ledger, Window};
use crate::recording::{Error, Recording, ResolvedAddress};
use crate::symbols::{Naming, SymbolTable, Symbolizer};
use crate::units::Nanos;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::OnceLock;

/// Marks that are kept of a run.
const MOST_MARKS: usize = 10_000;

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
    /// The moments that its programs named, in time; the first of them where there are very many.
    pub marks: Vec<Mark>,
    /// How many there are.
    pub marks_total: u64,
    /// Where only a part of the run is concluded.
    pub cut: Option<Cut>,
    /// When the run began: its first event.
    pub began: Nanos,
    /// What was lost on the way.
    pub lost: Vec<Lost>,
    /// Whether the recording is whole: it ended as it should and nothing that
    /// was written is missing. (What was lost before is in `lost`.)
    pub complete: bool,
    /// The locations, once they were asked for.
    pub(super) locations: OnceLock<Vec<Location>>,
    /// Why the events could not be read to their end: what is concluded is of those before.
    pub torn: Option<String>,
}

/// What the events of a recording add up to.
#[derive(Clone, Debug)]
pub struct Counted {
    account: Account,
    marks: Vec<Mark>,
    marks_total: u64,
    cut: Option<Cut>,
    began: Nanos,
    /// Why they could not be read to their end.
    torn: Option<String>,
}

/// Why nothing can be concluded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no recording that can be read.
    #[error(transparent)]
    Recording(#[from] Error),
    /// The part that was asked for is not in it.
    #[error(transparent)]
    NoMark(#[from] NoMark),
}

impl Counted {
    /// Counts the events of the recording in `dir`, which need not have its end yet: all, or those
    /// between two marks.
    ///
    /// # Errors
    /// If there is no recording, or no such mark in it.
    pub fn load(dir: &Path, between: Option<&Between>) -> Result<Self, LoadError> {
        Self::of(&Recording::open(dir)?, dir, between)
    }

    fn of(recording: &Recording, dir: &Path, between: Option<&Between>) -> Result<Self, LoadError> {
        let pages = recording.meta().page_size;
        if pages != PAGE {
            return Err(LoadError::Recording(Error::NotARecording {
                path: dir.to_owned(),
                what: format!("it counts pages of {pages} bytes, and this tracer those of {PAGE}"),
            }));
        }
        let (marks, marks_total) = first_marks(recording)?;
        // They could be read to their end just now.
        let all = || recording.marks().into_iter().flatten().flatten();
        let cut = between.map(|between| between.find(all)).transpose()?;
        let mut ledger = Ledger::of(cut.as_ref().map_or(Window::WHOLE, Cut::window));
        let mut began = None;
        // One whose file can't be opened has no events at all, which is another matter.
        recording.events()?;
        let torn = recording.replay(|event| {
            began.get_or_insert(event.time);
            ledger.apply(event);
        });
        Ok(Self {
            account: ledger.finish(),
            marks,
            marks_total,
            cut,
            began: began.unwrap_or_default(),
            torn: torn.err().map(|error| error.to_string()),
        })
    }
}

impl Concluded {
    /// Replays the recording in `dir`, or what of it is between two marks. Where it was left without
    /// names, files are read for them as `naming` says. One that is torn in the middle is concluded
    /// up to there.
    ///
    /// # Errors
    /// If there is no recording, not enough of one to say what ran, or no such mark in it.
    pub fn load(dir: &Path, between: Option<&Between>, naming: &Naming) -> Result<Self, LoadError> {
        let recording = Recording::open(dir)?;
        // Neither needs the other: names are found for stacks while the ledger counts.
        let (counted, symbols) = std::thread::scope(|scope| {
            let names =
                std::thread::Builder::new().spawn_scoped(scope, || symbols(&recording, naming));
            let counted = Counted::of(&recording, dir, between);
            let symbols = match names {
                Ok(names) => names.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => self::symbols(&recording, naming),
            };
            (counted, symbols)
        });
        Ok(Self::of(&recording, counted?, symbols?)?)
    }

    /// Likewise, where its events were counted before.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_counted(dir: &Path, counted: Counted, naming: &Naming) -> Result<Self, Error> {
        let recording = Recording::open(dir)?;
        let symbols = symbols(&recording, naming)?;
        Self::of(&recording, counted, symbols)
    }

    fn of(recording: &Recording, counted: Counted, symbols: SymbolTable) -> Result<Self, Error> {
        let Counted {
            account,
            marks,
            marks_total,
            cut,
            began,
            torn,
        } = counted;
        let mut lost = recording.losses()?;
        if torn.is_some() {
            lost.push(Lost {
                cause: LossCause::Torn,
                probe: "recording".into(),
                count: 1,
            });
        }
        Ok(Self {
            run: run(recording, &account)?,
            symbols,
            account,
            marks,
            marks_total,
            cut,
            began,
            lost,
            complete: recording.complete() && torn.is_none(),
            torn,
            locations: OnceLock::new(),
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

/// The marks in time, as many as are kept, and how many there are: a program may make any number.
fn first_marks(recording: &Recording) -> Result<(Vec<Mark>, u64), Error> {
    let (mut marks, mut total) = (Vec::new(), 0);
    for mark in recording.marks()? {
        let mark = mark?;
        total += 1;
        if marks.len() < MOST_MARKS {
            marks.push(mark);
        }
    }
    marks.sort_by_key(|mark| mark.time);
    Ok((marks, total))
}

fn symbols(recording: &Recording, naming: &Naming) -> Result<SymbolTable, Error> {
    let stacks: Vec<_> = recording.stacks()?.collect::<Result<_, _>>()?;
    let modules: Vec<Module> = recording.modules()?.collect::<Result<_, _>>()?;
    let mut symbols: Vec<_> = recording.symbols()?.collect::<Result<_, _>>()?;
    if symbols.is_empty() && !recording.complete() {
        // The tracer was killed before it looked for names: the files may still be there.
        symbols = found_now(&stacks, &modules, naming);
    }
    Ok(SymbolTable::new(&stacks, &modules, symbols))
}

/// Names out of the files that are still those that were mapped.
fn found_now(stacks: &[Captured], modules: &[Module], naming: &Naming) -> Vec<ResolvedAddress> {
    let mut symbolizer = Symbolizer::reading(naming);
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
        host: meta.host.clone(),
        began_unix_ns: meta.started_unix_ns,
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
            let loaded = Concluded::load(&path, None, &Naming::Here);
            assert_eq!(loaded.is_ok(), is_read, "{:?}", loaded.err());
        }
    }
}
