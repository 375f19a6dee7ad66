//! One run, as far as it is compared.

use super::DiffError;
use crate::reports::cut::{Between, Cut};
use crate::reports::location::Location;
use crate::reports::locations::locations;
use crate::reports::metric::{Figures, Metric, by_stack};
use crate::reports::{Concluded, text};
use crate::symbols::short_name;
use crate::units::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One run, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    pub(super) command: String,
    pub(super) mode: String,
    /// The marks between which it was counted, where it is a part of a run.
    pub(super) between: Option<Between>,
    pub(super) all: Figures,
    pub(super) locations: BTreeMap<Key, Figures>,
    /// Whether it may have come to more.
    pub(super) incomplete: bool,
    /// Whether only the largest locations are known.
    pub(super) largest_only: bool,
}

/// What is the same in two runs, wherever it has moved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::reports) enum Key {
    /// A location.
    Location(Place),
    /// A stack from its location outwards.
    Stack(Vec<Place>),
}

/// A function and the name of its file; of code without names its module and offset.
type Place = (String, String);

impl Key {
    /// As it is told: `function  file.c`, of a stack `inner < caller < main`.
    pub(in crate::reports) fn name(&self) -> String {
        match self {
            Self::Location((function, file)) => match (short_name(function), file.as_str()) {
                (function, "") => function.to_string(),
                (function, file) => format!("{function}  {file}"),
            },
            Self::Stack(places) => {
                let names = places.iter().map(|(function, _)| short_name(function));
                names.collect::<Vec<_>>().join(" < ")
            }
        }
    }
}

impl Side {
    /// A recording.
    #[must_use]
    pub fn of(input: &Concluded) -> Self {
        let account = &input.account;
        let leaked = account.stacks.iter().map(|(_, totals)| totals.leaked);
        let mut side = Self {
            command: input.command_line(),
            mode: input.run.mode.clone(),
            between: input.cut.as_ref().map(Cut::between),
            all: Figures {
                reserved: account.reserved_peak.reserved.0,
                resident: account.resident_peak.resident.0,
                leaked: leaked.sum::<Bytes>().0,
                calls: account.allocs,
            },
            locations: BTreeMap::new(),
            incomplete: input.lost_total() > 0 || !input.complete,
            largest_only: false,
        };
        for location in locations(input) {
            side.add(&location.frame.to_string(), figures(location));
        }
        side
    }

    /// A recording, stack by stack rather than by locations.
    #[must_use]
    pub fn of_stacks(input: &Concluded) -> Self {
        let mut side = Self::of(input);
        side.locations.clear();
        for metric in Metric::ALL {
            for (id, value) in by_stack(metric, &input.account) {
                // What the allocator does below its caller is no difference between two runs.
                let frames = input.symbols.frames(id);
                let location = input.symbols.location(id);
                let above = frames.iter().skip_while(|frame| **frame != location);
                let places = above.map(|frame| place(&frame.to_string()));
                let sum = side.locations.entry(Key::Stack(places.collect()));
                let figure = metric.of_mut(sum.or_default());
                *figure = figure.saturating_add(value);
            }
        }
        side.locations
            .retain(|_, figures| *figures != Figures::default());
        side
    }

    /// A `stats.json`, which has the largest locations alone where there are many.
    ///
    /// # Errors
    /// [`DiffError::Stats`] where it is something else.
    pub fn from_stats(text: &str) -> Result<Self, DiffError> {
        let no = |what: &str| DiffError::Stats(what.to_owned());
        let stats: Value = serde_json::from_str(text).map_err(|e| no(&e.to_string()))?;
        if stats["schema_version"] != 1 {
            return Err(DiffError::Stats(format!(
                "its schema_version is {}, and this tracer reads 1",
                stats["schema_version"]
            )));
        }
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let words = stats["command"]
            .as_array()
            .ok_or_else(|| no("it has no command"))?;
        let words: Vec<String> = words
            .iter()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect();
        let mut side = Self {
            command: text::command_line(&words),
            mode: stats["mode"].as_str().unwrap_or("heap").to_owned(),
            between: between(&stats["between"]),
            all: Figures {
                reserved: number(&stats["reserved"]["peak_bytes"]),
                resident: number(&stats["resident"]["peak_bytes"]),
                leaked: number(&stats["leaked"]["bytes"]),
                calls: number(&stats["tracked_allocs"]),
            },
            locations: BTreeMap::new(),
            incomplete: stats["complete"] != true
                || stats["lost"]
                    .as_object()
                    .is_some_and(|lost| lost.values().any(|count| number(count) > 0)),
            largest_only: false,
        };
        for entry in stats["top_allocs"].as_array().into_iter().flatten() {
            let figures = Figures {
                reserved: number(&entry["reserved_at_peak_bytes"]),
                resident: number(&entry["resident_at_peak_bytes"]),
                leaked: number(&entry["leaked_bytes"]),
                calls: number(&entry["calls"]),
            };
            side.add(entry["location"].as_str().unwrap_or_default(), figures);
        }
        let listed = side.locations.values().map(|figures| figures.calls);
        side.largest_only = listed.fold(0, u64::saturating_add) != side.all.calls;
        Ok(side)
    }

    /// `heap` or `pages`.
    #[must_use]
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// The marks between which it was counted, where it is a part of a run.
    #[must_use]
    pub fn between(&self) -> Option<&Between> {
        self.between.as_ref()
    }

    /// What all of it came to.
    #[must_use]
    pub fn all(&self) -> Figures {
        self.all
    }

    /// What each location came to.
    pub(in crate::reports) fn locations(&self) -> impl Iterator<Item = (&Key, &Figures)> {
        self.locations.iter()
    }

    /// Whether events of it are missing: it may have come to more.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// What a location came to; of one that is not listed, the most that it can have come to.
    pub(in crate::reports) fn at_most(&self, key: &Key) -> Figures {
        match self.locations.get(key) {
            Some(figures) => *figures,
            None if self.largest_only => self.unlisted(),
            None => Figures::default(),
        }
    }

    /// What the whole came to without the locations that are listed.
    fn unlisted(&self) -> Figures {
        let rest = |figure: fn(&Figures) -> u64| {
            let listed = self.locations.values().map(figure);
            figure(&self.all).saturating_sub(listed.fold(0, u64::saturating_add))
        };
        Figures {
            reserved: rest(|f| f.reserved),
            resident: rest(|f| f.resident),
            leaked: rest(|f| f.leaked),
            calls: rest(|f| f.calls),
        }
    }

    /// Several runs of one command as one: the median of each figure, of an even number the upper
    /// of the two in the middle. Nothing where there are none.
    #[must_use]
    pub fn median(runs: &[Self]) -> Option<Self> {
        let mut whole = runs.first()?.clone();
        whole.all = Figures::median(runs.iter().map(|run| run.all));
        let keys: BTreeSet<&Key> = runs.iter().flat_map(|run| run.locations.keys()).collect();
        let of = |key: &Key| {
            let figures = |run: &Self| run.locations.get(key).copied().unwrap_or_default();
            Figures::median(runs.iter().map(figures))
        };
        whole.locations = keys.into_iter().map(|key| (key.clone(), of(key))).collect();
        whole.incomplete = runs.iter().any(|run| run.incomplete);
        whole.largest_only = runs.iter().any(|run| run.largest_only);
        Some(whole)
    }

    pub(super) fn add(&mut self, location: &str, figures: Figures) {
        let sum = self.locations.entry(key(location)).or_default();
        sum.reserved = sum.reserved.saturating_add(figures.reserved);
        sum.resident = sum.resident.saturating_add(figures.resident);
        sum.leaked = sum.leaked.saturating_add(figures.leaked);
        sum.calls = sum.calls.saturating_add(figures.calls);
    }
}

fn between(stats: &Value) -> Option<Between> {
    let name = |mark: &Value| mark["name"].as_str().map(str::to_owned);
    stats.is_object().then(|| Between {
        from: name(&stats["from"]),
        to: name(&stats["to"]),
    })
}

fn figures(location: &Location) -> Figures {
    Figures {
        reserved: location.reserved.0,
        resident: location.resident.0,
        leaked: location.leaked.0,
        calls: location.calls,
    }
}

/// A location by its text.
pub(in crate::reports) fn key(location: &str) -> Key {
    Key::Location(place(location))
}

/// `function:/path/file.rs:12` without its line and its folder.
fn place(location: &str) -> Place {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let without_line = match location.rsplit_once(':') {
        Some((rest, line)) if is_number(line) => rest,
        _ => location,
    };
    match without_line.rsplit_once(':') {
        // A path of names, not of files.
        Some((function, file)) if !function.ends_with(':') && !file.is_empty() => {
            let file = file.rsplit('/').next().unwrap_or(file);
            (function.to_owned(), file.to_owned())
        }
        _ => (without_line.to_owned(), String::new()),
    }
}
