//! Budgets: how much a command may take, and whether it took more.

mod check;
mod file;
mod growth;
mod median;
mod spread;
mod told;

pub use check::{Check, Culprit, Found, Verdict};
pub use file::FileError;
pub use growth::{Baseline, Growth};
pub use spread::Spread;
pub(super) use told::spread;

use super::metric::Metric;

/// Who is limited.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All processes together.
    All,
    /// Each process that runs a program or script of this file name.
    Process(String),
    /// A location, by function and file name.
    Location(String),
}

/// The most that something may come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What.
    pub metric: Metric,
    /// Of whom.
    pub scope: Scope,
    /// The most, in bytes or allocations.
    pub most: u64,
    /// What an earlier run came to, where that set it.
    pub baseline: Option<u64>,
}

impl Limit {
    /// A limit from `64MiB`, or `python3=64MiB` for each process of that name.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn parse(metric: Metric, text: &str) -> Result<Self, String> {
        let (scope, most) = match text.rsplit_once('=') {
            Some(("", _)) => return Err(format!("`{text}` names no process before the `=`")),
            Some((name, most)) => (Scope::Process(name.to_owned()), most),
            None => (Scope::All, text),
        };
        Ok(Self {
            metric,
            scope,
            most: metric.parse(most.trim())?,
            baseline: None,
        })
    }
}

/// All limits of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Budget {
    /// The limits.
    pub limits: Vec<Limit>,
    /// An earlier run that limits each location too.
    pub baseline: Option<Baseline>,
    /// Whether it may be kept where events were lost: there might have been more.
    pub allow_lost: bool,
}

/// Why a budget can't be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// The baseline was traced otherwise.
    #[error("the baseline was traced with --trace {0}, and this run with --trace {1}")]
    Mode(String, String),
    /// The heap is not followed.
    #[error(
        "a budget of {0} counts blocks of the heap, which `--trace pages` does not follow: leave \
         one of them out"
    )]
    NoHeap(Metric),
    /// Resident memory is not followed.
    #[error(
        "a budget of resident memory can't be checked: this machine does not let it be followed \
         (`tracer doctor` says why)"
    )]
    NoPages,
}

impl Budget {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Puts other limits over these, each over the one of the same kind and process.
    pub fn override_by(&mut self, limits: Vec<Limit>) {
        let same =
            |one: &Limit, other: &Limit| one.metric == other.metric && one.scope == other.scope;
        self.limits
            .retain(|own| !limits.iter().any(|other| same(own, other)));
        self.limits.extend(limits);
    }

    /// Makes sure that a trace of this mode (`heap`, `pages`) counts all that is limited.
    ///
    /// # Errors
    /// [`BudgetError::NoHeap`] where it does not.
    pub fn fits(&self, mode: &str) -> Result<(), BudgetError> {
        let missed = |limit: &&Limit| !limit.metric.is_counted(mode);
        match self.limits.iter().find(missed) {
            Some(limit) => Err(BudgetError::NoHeap(limit.metric)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_parse_or_say_why_not() {
        let limit = |metric, text: &str| Limit::parse(metric, text);
        let whole = limit(Metric::Resident, "64MiB").unwrap();
        assert_eq!((whole.scope, whole.most), (Scope::All, 64 << 20));
        let one = limit(Metric::Allocs, "a=b=1_000").unwrap();
        let process = Scope::Process("a=b".to_owned());
        assert_eq!((one.scope, one.most), (process, 1000));
        for bad in ["", "x", "=1", "1MiB=", "-1", "1.5"] {
            assert!(limit(Metric::Allocs, bad).is_err(), "{bad}");
        }
        assert_eq!(limit(Metric::Leaked, "0").unwrap().most, 0);
    }

    #[test]
    fn a_limit_on_the_command_line_goes_before_the_same_of_a_file() {
        let limits = |texts: &[&str]| -> Vec<Limit> {
            let parse = |text: &&str| Limit::parse(Metric::Reserved, text).unwrap();
            texts.iter().map(parse).collect()
        };
        let mut budget = Budget {
            limits: limits(&["1G", "a=2G", "b=3G"]),
            ..Budget::default()
        };
        budget.override_by(limits(&["5G", "b=4G"]));
        assert_eq!(budget.limits, limits(&["a=2G", "5G", "b=4G"]));
    }

    #[test]
    fn what_is_not_followed_can_not_be_limited() {
        let budget = |metric| Budget {
            limits: vec![Limit::parse(metric, "1").unwrap()],
            ..Budget::default()
        };
        assert!(budget(Metric::Leaked).fits("heap").is_ok());
        assert!(budget(Metric::Reserved).fits("pages").is_ok());
        let error = budget(Metric::Allocs).fits("pages").unwrap_err();
        assert_eq!(error, BudgetError::NoHeap(Metric::Allocs));
    }
}
