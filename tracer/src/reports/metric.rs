//! What runs, locations and stacks are measured by: what budgets limit and diffs compare.

use crate::ledger::account::{Account, Reserver};
use crate::units::{Bytes, StackId};
use std::fmt;

/// What is counted, limited and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// The reserved peak, in bytes.
    Reserved,
    /// The resident peak, in bytes.
    Resident,
    /// Bytes of blocks that were never freed.
    Leaked,
    /// Number of allocations.
    Allocs,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reserved, Self::Resident, Self::Leaked, Self::Allocs];

    /// How it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Resident => "resident",
            Self::Leaked => "leaked",
            Self::Allocs => "allocs",
        }
    }

    /// The one of that name.
    ///
    /// # Errors
    /// Which names there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|metric| metric.name() == name);
        let names = Self::ALL.map(Self::name).join(", ");
        known.ok_or_else(|| format!("`{name}` is none of {names}"))
    }

    /// This one among the figures of a run or of a location.
    #[must_use]
    pub fn of(self, figures: &Figures) -> u64 {
        match self {
            Self::Reserved => figures.reserved,
            Self::Resident => figures.resident,
            Self::Leaked => figures.leaked,
            Self::Allocs => figures.calls,
        }
    }

    /// The same, to be written to.
    pub(super) fn of_mut(self, figures: &mut Figures) -> &mut u64 {
        match self {
            Self::Reserved => &mut figures.reserved,
            Self::Resident => &mut figures.resident,
            Self::Leaked => &mut figures.leaked,
            Self::Allocs => &mut figures.calls,
        }
    }

    /// Whether a trace of this mode (`heap`, `pages`) counts it.
    pub(super) fn is_counted(self, mode: &str) -> bool {
        mode != "pages" || !self.is_of_heap()
    }

    /// Whether it counts blocks of the heap, and nothing where the heap is not followed.
    fn is_of_heap(self) -> bool {
        matches!(self, Self::Leaked | Self::Allocs)
    }

    /// A limit from `64MiB`, or `1000` where allocations are counted.
    pub(super) fn parse(self, text: &str) -> Result<u64, String> {
        match self {
            Self::Allocs => {
                let digits = text.replace('_', "");
                let number = digits.parse();
                number.map_err(|_| format!("`{text}` is not a number such as 100000"))
            }
            _ => text.parse::<Bytes>().map(|bytes| bytes.0),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a run or a location came to, by metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes at the reserved peak.
    pub reserved: u64,
    /// Bytes at the resident peak.
    pub resident: u64,
    /// Bytes that were never freed.
    pub leaked: u64,
    /// Blocks and direct mappings made.
    pub calls: u64,
}

impl Figures {
    /// The median of each; of an even number the upper of the two in the middle.
    pub(super) fn median(runs: impl Iterator<Item = Self> + Clone) -> Self {
        let of = |figure: fn(&Self) -> u64| {
            let mut values: Vec<u64> = runs.clone().map(|run| figure(&run)).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        Self {
            reserved: of(|f| f.reserved),
            resident: of(|f| f.resident),
            leaked: of(|f| f.leaked),
            calls: of(|f| f.calls),
        }
    }
}

/// What each stack came to: of peaks, at the peak of all processes together.
pub(super) fn by_stack(metric: Metric, account: &Account) -> Vec<(StackId, u64)> {
    let stacks = account.stacks.iter();
    match metric {
        Metric::Reserved => {
            let by = account.reserved_peak.by_reserver.iter();
            by.map(|&(id, bytes)| (id, bytes.0)).collect()
        }
        Metric::Resident => {
            let by = account.resident_peak.resident_by_reserver.iter();
            by.filter_map(|&(reserver, bytes)| match reserver {
                Reserver::Stack(id) => Some((id, bytes.0)),
                _ => None,
            })
            .collect()
        }
        Metric::Leaked => stacks.map(|&(id, totals)| (id, totals.leaked.0)).collect(),
        Metric::Allocs => stacks.map(|&(id, totals)| (id, totals.calls)).collect(),
    }
}
