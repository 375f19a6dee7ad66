//! Budgets: how much a command may take, and whether it took more.

mod check;
mod file;
mod told;

pub use check::{Check, Found, Verdict};
pub use file::FileError;

use super::diff::Side;
use crate::units::Bytes;
use std::fmt;

/// What is limited.
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
    /// All streams, in the order of a recording.
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

    /// Whether it counts blocks of the heap, and nothing where the heap is not followed.
    fn is_of_heap(self) -> bool {
        matches!(self, Self::Leaked | Self::Allocs)
    }

    /// A limit from `64MiB`, or `1000` where allocations are counted.
    fn parse(self, text: &str) -> Result<u64, String> {
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

/// The most that something may come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What.
    pub metric: Metric,
    /// Of each process that runs this program or script, by file name; of all together where
    /// none is named.
    pub process: Option<String>,
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
        let (process, most) = match text.rsplit_once('=') {
            Some(("", _)) => return Err(format!("`{text}` names no process before the `=`")),
            Some((name, most)) => (Some(name.to_owned()), most),
            None => (None, text),
        };
        Ok(Self {
            metric,
            process,
            most: metric.parse(most.trim())?,
            baseline: None,
        })
    }
}

/// By how much something may grow, as a part of what it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// Of one metric; of all where none is named.
    metric: Option<Metric>,
    percent: f64,
}

impl Growth {
    /// What is allowed where nothing is said.
    pub const DEFAULT: Self = Self {
        metric: None,
        percent: 5.0,
    };

    /// `5%`, or `resident=10%` for one metric.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (metric, percent) = match text.split_once('=') {
            None => (None, text),
            Some((name, percent)) => {
                let known = Metric::ALL.into_iter().find(|metric| metric.name() == name);
                let names = Metric::ALL.map(Metric::name).join(", ");
                let known = known.ok_or_else(|| format!("`{name}` is none of {names}"))?;
                (Some(known), percent)
            }
        };
        let number = percent.trim().strip_suffix('%').map(str::trim);
        let number = number.and_then(|number| number.parse::<f64>().ok());
        let fits = number.filter(|number| (0.0..=1e6).contains(number));
        let percent = fits.ok_or_else(|| format!("`{percent}` is not a growth such as 5%"))?;
        Ok(Self { metric, percent })
    }

    /// The most that what was `base` may have become.
    fn of(self, base: u64) -> u64 {
        base.saturating_add((base as f64 * self.percent / 100.0) as u64)
    }
}

impl Budget {
    /// Limits everything that a trace of this mode counts to what an earlier run came to, and
    /// some growth: that of its metric, else the one of all, the last one given of each.
    ///
    /// # Errors
    /// [`BudgetError::Mode`] where the earlier run was traced otherwise.
    pub fn baseline(
        &mut self,
        base: &Side,
        mode: &str,
        growths: &[Growth],
    ) -> Result<(), BudgetError> {
        if base.mode() != mode {
            return Err(BudgetError::Mode(base.mode().to_owned(), mode.to_owned()));
        }
        let growth = |metric| {
            let last = |of: Option<Metric>| growths.iter().rev().find(|g| g.metric == of);
            let found = last(Some(metric)).or_else(|| last(None));
            found.copied().unwrap_or(Growth::DEFAULT)
        };
        let figures = base.all();
        let all = [
            (Metric::Reserved, figures.reserved),
            (Metric::Resident, figures.resident),
            (Metric::Leaked, figures.leaked),
            (Metric::Allocs, figures.calls),
        ];
        let counted = all
            .into_iter()
            .filter(|(metric, _)| mode != "pages" || !metric.is_of_heap());
        let limits = counted.map(|(metric, base)| Limit {
            metric,
            process: None,
            most: growth(metric).of(base),
            baseline: Some(base),
        });
        self.limits.extend(limits);
        Ok(())
    }
}

/// All limits of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// The limits.
    pub limits: Vec<Limit>,
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
            |one: &Limit, other: &Limit| one.metric == other.metric && one.process == other.process;
        self.limits
            .retain(|own| !limits.iter().any(|other| same(own, other)));
        self.limits.extend(limits);
    }

    /// Makes sure that a trace of this mode (`heap`, `pages`) counts all that is limited.
    ///
    /// # Errors
    /// [`BudgetError::NoHeap`] where it does not.
    pub fn fits(&self, mode: &str) -> Result<(), BudgetError> {
        let of_heap = |limit: &&Limit| limit.metric.is_of_heap();
        match self.limits.iter().find(of_heap) {
            Some(limit) if mode == "pages" => Err(BudgetError::NoHeap(limit.metric)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_parse_or_say_why_not() {
        let limit = |metric, text: &str| Limit::parse(metric, text);
        let whole = limit(Metric::Resident, "64MiB").unwrap();
        assert_eq!((whole.process, whole.most), (None, 64 << 20));
        let one = limit(Metric::Allocs, "a=b=1_000").unwrap();
        assert_eq!((one.process.as_deref(), one.most), (Some("a=b"), 1000));
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
            allow_lost: false,
        };
        budget.override_by(limits(&["5G", "b=4G"]));
        assert_eq!(budget.limits, limits(&["a=2G", "5G", "b=4G"]));
    }

    #[test]
    fn growths_parse_or_say_why_not() {
        let growth = Growth::parse("resident=10 %").unwrap();
        assert_eq!(
            (growth.metric, growth.of(200)),
            (Some(Metric::Resident), 220)
        );
        assert_eq!(Growth::parse("0%").unwrap().of(7), 7);
        assert_eq!(Growth::DEFAULT.of(u64::MAX), u64::MAX);
        for bad in ["", "5", "x%", "-1%", "nan%", "size=5%", "1e9%"] {
            assert!(Growth::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_followed_can_not_be_limited() {
        let budget = |metric| Budget {
            limits: vec![Limit::parse(metric, "1").unwrap()],
            allow_lost: false,
        };
        assert!(budget(Metric::Leaked).fits("heap").is_ok());
        assert!(budget(Metric::Reserved).fits("pages").is_ok());
        let error = budget(Metric::Allocs).fits("pages").unwrap_err();
        assert_eq!(error, BudgetError::NoHeap(Metric::Allocs));
    }
}
