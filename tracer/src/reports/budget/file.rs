//! Budgets in a committed file, `tracer.toml`.

use super::{Budget, Limit, Metric, Scope};
use toml::{Table, Value};

/// What is wrong with a budget file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FileError(String);

impl Budget {
    /// Reads the text of a budget file:
    ///
    /// ```toml
    /// [budget]
    /// max-reserved = "31GiB"
    /// max-allocs = 500_000
    ///
    /// [budget.process.python3]
    /// max-resident = "200MiB"
    /// ```
    ///
    /// # Errors
    /// The first thing that is wrong with it, and where.
    pub fn from_toml(text: &str) -> Result<Self, FileError> {
        let mut file: Table = text.parse().map_err(|error| no_toml(text, &error))?;
        let mut budget = Self::default();
        if let Some(found) = file.remove("budget") {
            for (key, value) in table("budget", found)? {
                budget.read(&key, value)?;
            }
        }
        match file.keys().next() {
            None => Ok(budget),
            Some(key) => Err(FileError(format!(
                "`{key}` is no table of this file: [budget] is"
            ))),
        }
    }

    fn read(&mut self, key: &str, value: Value) -> Result<(), FileError> {
        match (key, value) {
            ("allow-lost", Value::Boolean(allow)) => self.allow_lost = allow,
            ("allow-lost", other) => {
                return Err(FileError(format!(
                    "budget.allow-lost: {other} is not true or false"
                )));
            }
            ("process", value) => {
                for (name, limits) in table("budget.process", value)? {
                    let place = format!("budget.process.{name}");
                    for (key, value) in table(&place, limits)? {
                        self.limits.push(limit(&place, &key, value, Some(&name))?);
                    }
                }
            }
            (key, value) => self.limits.push(limit("budget", key, value, None)?),
        }
        Ok(())
    }
}

fn no_toml(text: &str, error: &toml::de::Error) -> FileError {
    let line = error.span().map_or(String::new(), |span| {
        let before = text.get(..span.start).unwrap_or_default();
        format!("line {}: ", before.matches('\n').count() + 1)
    });
    let what = error.message().lines().collect::<Vec<_>>().join(", ");
    FileError(format!("{line}{what}"))
}

fn table(place: &str, value: Value) -> Result<Table, FileError> {
    match value {
        Value::Table(table) => Ok(table),
        other => Err(FileError(format!("{place}: {other} is no table"))),
    }
}

/// `max-resident = "64MiB"`, or a plain number.
fn limit(place: &str, key: &str, value: Value, process: Option<&str>) -> Result<Limit, FileError> {
    let of_key = |metric: &Metric| key.strip_prefix("max-") == Some(metric.name());
    let Some(metric) = Metric::ALL.into_iter().find(of_key) else {
        let known = Metric::ALL.map(|metric| format!("max-{metric}")).join(", ");
        return Err(FileError(format!(
            "{place}: `{key}` is no limit: {known} are"
        )));
    };
    let most = match &value {
        Value::String(text) => metric.parse(text),
        Value::Integer(number) => {
            u64::try_from(*number).map_err(|_| format!("{number} is less than nothing"))
        }
        other => Err(format!(
            "{other} is neither a number nor a size such as \"64MiB\""
        )),
    };
    Ok(Limit {
        metric,
        scope: process.map_or(Scope::All, |name| Scope::Process(name.to_owned())),
        most: most.map_err(|why| FileError(format!("{place}.{key}: {why}")))?,
        baseline: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_the_command_line_can() {
        let text = "[budget]\nmax-reserved = \"31 GiB\"\nmax-allocs = 500_000\nallow-lost = true\n\
                    [budget.process.python3]\nmax-resident = \"200MiB\"\n";
        let budget = Budget::from_toml(text).unwrap();
        let told: Vec<_> = budget
            .limits
            .iter()
            .map(|limit| (limit.metric, limit.scope.clone(), limit.most))
            .collect();
        assert_eq!(
            told,
            [
                (Metric::Allocs, Scope::All, 500_000),
                (Metric::Reserved, Scope::All, 31 << 30),
                (
                    Metric::Resident,
                    Scope::Process("python3".to_owned()),
                    200 << 20
                ),
            ]
        );
        assert!(budget.allow_lost);
        assert_eq!(Budget::from_toml("").unwrap(), Budget::default());
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (text, said) in [
            (
                "[budget]\nmax-resident = \"much\"\n",
                "budget.max-resident: ",
            ),
            ("[budget]\nmax-residnet = 1\n", "`max-residnet` is no limit"),
            ("[budgets]\n", "`budgets` is no table of this file"),
            ("a = 1\n[budget\n", "line 2: "),
            ("[budget]\nmax-allocs = -1\n", "budget.max-allocs: "),
            (
                "[budget.process]\npython3 = 1\n",
                "budget.process.python3: 1 is no table",
            ),
            (
                "[budget]\nmax-leaked = 1.5\n",
                "budget.max-leaked: 1.5 is neither",
            ),
            ("budget = 1\n", "budget: 1 is no table"),
            ("[budget]\nallow-lost = 1\n", "budget.allow-lost: 1 is not"),
        ] {
            let error = Budget::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
