//! Budgets that an earlier run sets: neither the whole nor any one location may grow by more than a
//! part of what the whole came to.

use super::check::Culprit;
use super::{Budget, BudgetError, Check, Found, Limit, Metric, Scope};
use crate::reports::Concluded;
use crate::reports::diff::{Key, NOISE, Side, key};
use crate::reports::metric::by_stack;
use crate::units::StackId;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// How growths name locations, before a metric or alone.
const LOCATION: &str = "location";

/// By how much something may grow, as a part of what the whole was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// Of one metric; of all where none is named.
    metric: Option<Metric>,
    /// Of each location, rather than of all and of each location that has no growth of its own.
    of_locations: bool,
    percent: f64,
}

impl Growth {
    /// What is allowed where nothing is said.
    pub const DEFAULT: Self = Self {
        metric: None,
        of_locations: false,
        percent: 5.0,
    };

    /// `5%`, or `resident=10%` for one metric; `location=20%` or `location-resident=20%` for
    /// each location.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (of, percent) = match text.split_once('=') {
            None => ((None, false), text),
            Some((name, percent)) => (Self::parse_name(name)?, percent),
        };
        let number = percent.trim().strip_suffix('%').map(str::trim);
        let number = number.and_then(|number| number.parse::<f64>().ok());
        let fits = number.filter(|number| (0.0..=1e6).contains(number));
        let percent = fits.ok_or_else(|| format!("`{percent}` is not a growth such as 5%"))?;
        let (metric, of_locations) = of;
        Ok(Self {
            metric,
            of_locations,
            percent,
        })
    }

    fn parse_name(name: &str) -> Result<(Option<Metric>, bool), String> {
        let (of_locations, metric) = match name.strip_prefix(LOCATION) {
            Some("") => return Ok((None, true)),
            Some(rest) if rest.starts_with('-') => (true, &rest[1..]),
            _ => (false, name),
        };
        let known = Metric::ALL.into_iter().find(|known| known.name() == metric);
        let names = Metric::ALL.map(Metric::name).join(", ");
        let known = known.ok_or_else(|| format!("`{name}` is none of {names}, {LOCATION}"))?;
        Ok((Some(known), of_locations))
    }

    /// So much of what was `base`.
    fn part_of(self, base: u64) -> u64 {
        (base as f64 * self.percent / 100.0) as u64
    }
}

/// An earlier run, and what may have grown since.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    side: Side,
    growths: Vec<Growth>,
}

impl Budget {
    /// Limits everything that a trace of this mode counts to what an earlier run came to, and
    /// some growth: that of its metric, else the one of all, the last one given of each.
    ///
    /// # Errors
    /// [`BudgetError::Mode`] where the earlier run was traced otherwise.
    pub fn baseline(
        &mut self,
        base: Side,
        mode: &str,
        growths: &[Growth],
    ) -> Result<(), BudgetError> {
        if base.mode() != mode {
            return Err(BudgetError::Mode(base.mode().to_owned(), mode.to_owned()));
        }
        let baseline = Baseline {
            side: base,
            growths: growths.to_vec(),
        };
        self.limits.extend(baseline.limits(mode));
        self.baseline = Some(baseline);
        Ok(())
    }
}

impl Baseline {
    /// The limits of all processes together.
    fn limits(&self, mode: &str) -> Vec<Limit> {
        let counted = Metric::ALL.into_iter().filter(|m| m.is_counted(mode));
        let limit = |metric: Metric| {
            let base = metric.of(&self.side.all());
            Limit {
                metric,
                scope: Scope::All,
                most: base.saturating_add(self.growth(metric, false).part_of(base)),
                baseline: Some(base),
            }
        };
        counted.map(limit).collect()
    }

    /// The last one given for it; what is said of a metric goes before what is said of all.
    fn growth(&self, metric: Metric, of_locations: bool) -> Growth {
        let last = |metric: Option<Metric>, of_locations| {
            let mut growths = self.growths.iter().rev();
            let found = growths.find(|g| g.metric == metric && g.of_locations == of_locations);
            found.copied()
        };
        let own = match of_locations {
            true => last(Some(metric), true).or_else(|| last(None, true)),
            false => None,
        };
        let whole = || last(Some(metric), false).or_else(|| last(None, false));
        own.or_else(whole).unwrap_or(Growth::DEFAULT)
    }

    /// The locations that have grown by more than they may, of each metric the most first.
    pub(super) fn grown(&self, input: &Concluded) -> Vec<Check> {
        let head = Side::of(input);
        let metrics = Metric::ALL.into_iter();
        let counted = metrics.filter(|metric| metric.is_counted(&input.run.mode));
        counted
            .flat_map(|metric| self.grown_by(metric, &head, input))
            .collect()
    }

    fn grown_by(&self, metric: Metric, head: &Side, input: &Concluded) -> Vec<Check> {
        let allowed = self.allowed(metric);
        let mut grown: Vec<(u64, Check)> = Vec::new();
        for (key, figures) in head.locations() {
            let base = metric.of(&self.side.at_most(key));
            let (most, value) = (base.saturating_add(allowed), metric.of(figures));
            if value > most {
                let limit = Limit {
                    metric,
                    scope: Scope::Location(key.name()),
                    most,
                    baseline: Some(base),
                };
                let found = Found::Value(value);
                grown.push((value - base, Check::new(limit, found)));
            }
        }
        grown.sort_by(|(x, a), (y, b)| {
            (Reverse(x), &a.limit.scope).cmp(&(Reverse(y), &b.limit.scope))
        });
        let mut checks: Vec<Check> = grown.into_iter().map(|(_, check)| check).collect();
        if !checks.is_empty() {
            name_stacks(&mut checks, metric, input);
        }
        checks
    }

    /// Bytes or allocations that a location may have grown by. What of resident memory comes and
    /// goes with the allocator and the kernel is no growth.
    fn allowed(&self, metric: Metric) -> u64 {
        let part = self
            .growth(metric, true)
            .part_of(metric.of(&self.side.all()));
        match metric {
            Metric::Resident => part.max(NOISE),
            _ => part,
        }
    }
}

/// Gives each check of a location that location's largest stack.
fn name_stacks(checks: &mut [Check], metric: Metric, input: &Concluded) {
    let mut largest: FxHashMap<Key, (u64, Reverse<StackId>)> = FxHashMap::default();
    for (id, value) in by_stack(metric, &input.account) {
        let key = key(&input.symbols.location(id).to_string());
        let most = largest.entry(key).or_default();
        *most = (*most).max((value, Reverse(id)));
    }
    let named: FxHashMap<String, StackId> = largest
        .into_iter()
        .map(|(key, (_, Reverse(id)))| (key.name(), id))
        .collect();
    for check in checks {
        let (Scope::Location(name), Found::Value(value)) = (&check.limit.scope, check.found) else {
            continue;
        };
        if let Some(&id) = named.get(name) {
            check.by = vec![Culprit::new(value, id, input)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growths_parse_or_say_why_not() {
        let growth = Growth::parse("resident=10 %").unwrap();
        assert_eq!(
            (growth.metric, growth.part_of(200)),
            (Some(Metric::Resident), 20)
        );
        assert_eq!(Growth::parse("0%").unwrap().part_of(7), 0);
        let location = Growth::parse("location-leaked=1%").unwrap();
        assert!(location.of_locations && location.metric == Some(Metric::Leaked));
        for bad in [
            "",
            "5",
            "x%",
            "-1%",
            "nan%",
            "size=5%",
            "1e9%",
            "location-=1%",
            "locations=1%",
        ] {
            assert!(Growth::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_location_has_the_growth_that_is_said_of_it_and_else_that_of_the_whole() {
        let growths = |texts: &[&str]| Baseline {
            side: Side::from_stats(
                r#"{"schema_version": 1, "command": ["x"], "reserved": {"peak_bytes": 1000}}"#,
            )
            .unwrap(),
            growths: texts.iter().map(|t| Growth::parse(t).unwrap()).collect(),
        };
        let of = |texts: &[&str]| growths(texts).allowed(Metric::Reserved);
        assert_eq!(of(&[]), 50);
        assert_eq!(of(&["1%"]), 10);
        assert_eq!(of(&["location=30%", "1%", "reserved=2%"]), 300);
        assert_eq!(of(&["location=30%", "location-reserved=4%"]), 40);
        assert_eq!(of(&["resident=50%", "location-resident=60%"]), 50);
        assert_eq!(growths(&[]).allowed(Metric::Resident), NOISE);
        let all = growths(&["location=30%", "1%"]).limits("heap");
        assert_eq!(all[0].most, 1010);
    }
}
