//! Several runs of one command, held against their budget by the median.

use super::{Check, Found, Metric, Scope, Spread, Verdict};
use std::collections::BTreeMap;

impl Verdict {
    /// Of each limit the run in the middle, of an even number the upper of the two in the middle:
    /// a limit is exceeded where that one exceeds it. What is missing in one run is missing.
    ///
    /// A location is checked in the runs in which it has grown too much; in the others it came to
    /// less.
    #[must_use]
    pub fn median(runs: Vec<Self>) -> Self {
        let count = runs.len();
        let incomplete = runs.iter().find_map(|run| run.incomplete.clone());
        // In the order of the runs' own checks, so that the log has the order of one run.
        let mut order: Vec<(Metric, Scope, u64)> = Vec::new();
        let mut checks: BTreeMap<(Metric, Scope, u64), Vec<Check>> = BTreeMap::new();
        for check in runs.into_iter().flat_map(|run| run.checks) {
            let limit = &check.limit;
            let key = (limit.metric, limit.scope.clone(), limit.most);
            let same = checks.entry(key.clone()).or_default();
            if same.is_empty() {
                order.push(key);
            }
            same.push(check);
        }
        let mut middle = |key| of_one(checks.remove(&key).unwrap_or_default(), count);
        Self {
            checks: order.into_iter().filter_map(&mut middle).collect(),
            incomplete,
        }
    }
}

/// The check in the middle of `count` runs; those in which it is not there came to less. Nothing
/// where the middle is one of these.
fn of_one(mut checks: Vec<Check>, count: usize) -> Option<Check> {
    // Where a process never was, the limit is broken, and by more than any value.
    checks.sort_by_key(|check| (check.found == Found::Nobody, check.found.value()));
    let values: Vec<u64> = checks.iter().filter_map(|c| c.found.value()).collect();
    let below = count - checks.len();
    let index = (count / 2).checked_sub(below)?;
    let mut middle = checks.into_iter().nth(index)?;
    middle.spread = Spread::of(&values).filter(|_| below == 0 && values.len() == count);
    Some(middle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::budget::Limit;

    fn verdict(value: u64, location: Option<u64>) -> Verdict {
        let limit = |scope| Limit {
            metric: Metric::Reserved,
            scope,
            most: 10,
            baseline: None,
        };
        let whole = Check::new(limit(Scope::All), Found::Value(value));
        let location = location.map(|value| {
            let scope = Scope::Location("f  a.c".to_owned());
            Check::new(limit(scope), Found::Value(value))
        });
        Verdict {
            checks: [whole].into_iter().chain(location).collect(),
            incomplete: None,
        }
    }

    #[test]
    fn the_run_in_the_middle_decides() {
        for (values, middle) in [
            (&[9, 12, 9][..], 9),
            (&[12, 9, 11], 11),
            (&[9, 11], 11),
            (&[7], 7),
        ] {
            let runs = values.iter().map(|&value| verdict(value, None)).collect();
            let median = Verdict::median(runs);
            assert_eq!(median.checks[0].found, Found::Value(middle));
            assert_eq!(median.is_kept(), middle <= 10);
            assert_eq!(median.checks[0].spread, Spread::of(values));
        }
    }

    #[test]
    fn a_location_that_grew_in_fewer_than_half_of_the_runs_did_not_grow() {
        let of = |grown: [Option<u64>; 3]| {
            let runs = grown.map(|value| verdict(1, value)).to_vec();
            let checks = Verdict::median(runs).checks;
            checks.get(1).map(|check| check.found.value())
        };
        assert_eq!(of([None, Some(20), None]), None);
        assert_eq!(of([Some(30), None, Some(20)]), Some(Some(20)));
        assert_eq!(of([Some(30), Some(50), Some(20)]), Some(Some(30)));
    }

    #[test]
    fn what_one_run_lost_is_lost() {
        let mut lost = verdict(1, None);
        lost.incomplete = Some("an event was lost".to_owned());
        let median = Verdict::median(vec![verdict(1, None), lost, verdict(1, None)]);
        assert!(!median.is_kept());
    }
}
