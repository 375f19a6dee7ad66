//! What a run came to, held against its budget.

use super::{Budget, BudgetError, Limit, Metric, Scope, Spread};
use crate::ledger::account::{Account, ProcessAccount};
use crate::recording::Frame;
use crate::reports::metric::by_stack;
use crate::reports::processes::Lives;
use crate::reports::{Concluded, Run};
use crate::units::{Bytes, Pid, StackId};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// Locations that are named where a limit is exceeded.
const NAMED: usize = 5;

/// What is less than this part of all is not named.
const LEAST: u64 = 100;

/// What came of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Each limit.
    pub checks: Vec<Check>,
    /// Why the numbers may be too low for it to be kept.
    pub incomplete: Option<String>,
}

/// What came of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The limit.
    pub limit: Limit,
    /// What was found; of several runs the median.
    pub found: Found,
    /// How far several runs were apart.
    pub spread: Option<Spread>,
    /// Of a limit that was exceeded: who took most.
    pub by: Vec<Culprit>,
}

/// A location that took much of what was limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// How much, in bytes or allocations.
    pub value: u64,
    /// The frame that answers for it.
    pub location: Frame,
    /// Its largest stack, innermost first.
    pub stack: Vec<Frame>,
}

impl Culprit {
    /// The location of a stack, which is its largest.
    pub(super) fn new(value: u64, id: StackId, input: &Concluded) -> Self {
        let stack = input.symbols.frames(id).into_iter().cloned();
        Self {
            value,
            location: input.symbols.location(id).clone(),
            stack: stack.collect(),
        }
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// All processes together, or a location.
    Value(u64),
    /// Of the processes of that name the one that came to most.
    Process(u64, Pid),
    /// No process of that name ran.
    Nobody,
}

impl Found {
    /// What it came to; nothing where nobody did.
    pub(super) fn value(self) -> Option<u64> {
        match self {
            Self::Value(value) | Self::Process(value, _) => Some(value),
            Self::Nobody => None,
        }
    }
}

impl Check {
    /// Of one run.
    pub(super) fn new(limit: Limit, found: Found) -> Self {
        Self {
            limit,
            found,
            spread: None,
            by: Vec::new(),
        }
    }

    /// Whether the limit was kept. One of a process that never was is not: its name may be
    /// misspelt.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.found
            .value()
            .is_some_and(|value| value <= self.limit.most)
    }
}

impl Verdict {
    /// Whether all limits were kept, as far as it is known.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.incomplete.is_none() && self.checks.iter().all(Check::is_kept)
    }
}

impl Budget {
    /// Holds a run against it.
    ///
    /// # Errors
    /// If the recording does not say what is limited.
    pub fn check(&self, input: &Concluded) -> Result<Verdict, BudgetError> {
        self.fits(&input.run.mode)?;
        let of_pages = |limit: &Limit| limit.metric == Metric::Resident;
        if !input.run.counts_pages() && self.limits.iter().any(of_pages) {
            return Err(BudgetError::NoPages);
        }
        let limits = self.limits.iter().map(|limit| check(limit, input));
        let grown = self.baseline.iter().flat_map(|base| base.grown(input));
        Ok(Verdict {
            checks: limits.chain(grown).collect(),
            incomplete: incomplete(input).filter(|_| !self.allow_lost),
        })
    }
}

fn incomplete(input: &Concluded) -> Option<String> {
    match (input.lost_total(), input.complete) {
        (0, true) => None,
        (0, false) => Some("the recording is incomplete".to_owned()),
        (1, _) => Some("an event was lost".to_owned()),
        (lost, _) => Some(format!("{lost} events were lost")),
    }
}

fn check(limit: &Limit, input: &Concluded) -> Check {
    let found = match &limit.scope {
        Scope::Process(name) => of_process(limit.metric, name, input),
        _ => Found::Value(of_all(limit.metric, &input.account)),
    };
    let mut check = Check::new(limit.clone(), found);
    if !check.is_kept() && found != Found::Nobody {
        check.by = largest(limit, input);
    }
    check
}

fn of_all(metric: Metric, account: &Account) -> u64 {
    match metric {
        Metric::Reserved => account.reserved_peak.reserved.0,
        Metric::Resident => account.resident_peak.resident.0,
        Metric::Leaked => {
            let leaked = account.stacks.iter().map(|(_, totals)| totals.leaked);
            leaked.sum::<Bytes>().0
        }
        Metric::Allocs => account.allocs,
    }
}

/// The most that one of the processes of that name came to.
fn of_process(metric: Metric, name: &str, input: &Concluded) -> Found {
    let leaked = leaked_by_process(input);
    let value = |(index, process): (usize, &ProcessAccount)| match metric {
        Metric::Reserved => process.reserved_peak.0,
        Metric::Resident => process.resident_peak.0,
        Metric::Allocs => process.allocs,
        Metric::Leaked => leaked.get(&index).copied().unwrap_or_default().0,
    };
    let processes = input.account.processes.iter().enumerate();
    let named = processes.filter(|&(index, _)| is_called(&input.run, index, name));
    let most = named.max_by_key(|&process| (value(process), Reverse(process.0)));
    most.map_or(Found::Nobody, |process| {
        Found::Process(value(process), process.1.pid)
    })
}

/// Whether a process runs a program of that name, or a script as the program's first argument.
fn is_called(run: &Run, index: usize, name: &str) -> bool {
    let words = run.commands.get(index).map_or(&[][..], Vec::as_slice);
    let file = |word: &String| word.rsplit('/').next() == Some(name);
    words.iter().take(2).any(file)
}

fn leaked_by_process(input: &Concluded) -> FxHashMap<usize, Bytes> {
    let lives = Lives::new(&input.account.processes);
    let mut leaked: FxHashMap<usize, Bytes> = FxHashMap::default();
    for &(id, totals) in &input.account.stacks {
        let process = input.symbols.process(id);
        if let Some(index) = process.and_then(|(pid, time)| lives.find(pid, time)) {
            *leaked.entry(index).or_default() += totals.leaked;
        }
    }
    leaked
}

/// The locations that came to most of what is limited, each with its largest stack: of peaks, at
/// the peak of all processes together.
fn largest(limit: &Limit, input: &Concluded) -> Vec<Culprit> {
    let lives = Lives::new(&input.account.processes);
    let counts = |id: StackId| match &limit.scope {
        Scope::All | Scope::Location(_) => true,
        Scope::Process(name) => {
            let process = input.symbols.process(id);
            let index = process.and_then(|(pid, time)| lives.find(pid, time));
            index.is_some_and(|index| is_called(&input.run, index, name))
        }
    };
    // By location: all of it, the largest stack and its part.
    let mut sums: FxHashMap<String, (u64, StackId, u64)> = FxHashMap::default();
    for (id, value) in by_stack(limit.metric, &input.account) {
        if value > 0 && counts(id) {
            let location = input.symbols.location(id).to_string();
            let sum = sums.entry(location).or_insert((0, id, 0));
            sum.0 = sum.0.saturating_add(value);
            if value > sum.2 {
                (sum.1, sum.2) = (id, value);
            }
        }
    }
    let values = sums.values().map(|sum| sum.0);
    let whole = values.fold(0, u64::saturating_add);
    let mut all: Vec<_> = sums.into_iter().collect();
    all.retain(|(_, sum)| sum.0 >= whole / LEAST);
    all.sort_by(|(a, x), (b, y)| (Reverse(x.0), a).cmp(&(Reverse(y.0), b)));
    let named = all.into_iter().take(NAMED);
    named
        .map(|(_, (value, id, _))| Culprit::new(value, id, input))
        .collect()
}
