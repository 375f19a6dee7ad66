//! A run as a pprof profile: what profile databases store.
//!
//! The format is `profile.proto` of github.com/google/pprof; the numbers of its fields are in
//! [`proto`].

mod proto;
#[cfg(test)]
pub(super) mod tests;

use super::Concluded;
use super::metric::{Metric, by_stack};
use crate::ledger::account::Reserver;
use crate::symbols::Frame;
use crate::units::StackId;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use proto::{Function, Line, Location, Mapping, Profile, Sample, ValueType};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write as _};

/// The profile, compressed: a sample for each stack, with what it came to by each metric that the
/// trace counted. Memory that is no stack's has a frame in brackets, so that the samples of
/// `resident` add up to what the kernel counted.
///
/// # Errors
/// Never: what is compressed is in memory.
pub(super) fn pprof(input: &Concluded) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&profile(input).encode_to_vec())?;
    gzip.finish()
}

/// Whose a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Whose {
    /// What it is, where it is no stack's alone.
    category: Option<&'static str>,
    stack: Option<StackId>,
}

impl Whose {
    fn of(reserver: Reserver) -> Self {
        let (category, stack) = match reserver {
            Reserver::Stack(id) => (None, Some(id)),
            Reserver::Slack(id) => (Some("[slack]"), Some(id)),
            Reserver::Image => (Some("[image]"), None),
            Reserver::ThreadStack => (Some("[stack]"), None),
            Reserver::Unknown => (Some("[unexplained]"), None),
        };
        Self { category, stack }
    }
}

fn profile(input: &Concluded) -> Profile {
    let metrics = Metric::ALL.into_iter();
    let metrics: Vec<Metric> = metrics
        .filter(|metric| metric.is_counted(&input.run.mode))
        .collect();
    let mut table = Table::default();
    let sample_type = metrics.iter().map(|&metric| {
        let unit = match metric {
            Metric::Allocs => "count",
            _ => "bytes",
        };
        table.value_type(metric.name(), unit)
    });
    let sample_type = sample_type.collect();
    let samples = values(input, &metrics).into_iter().map(|(whose, value)| {
        let frames = whose.stack.map(|id| input.symbols.frames(id));
        let mut location_id: Vec<u64> = frames
            .into_iter()
            .flatten()
            .map(|frame| table.location(frame))
            .collect();
        // The outermost comes last.
        location_id.extend(whose.category.map(|name| table.category(name)));
        Sample { location_id, value }
    });
    let sample = samples.collect();
    let account = &input.account;
    Profile {
        sample_type,
        sample,
        time_nanos: input.run.began_unix_ns.cast_signed(),
        duration_nanos: account
            .ended
            .0
            .saturating_sub(account.began.0)
            .cast_signed(),
        period_type: Some(table.value_type("space", "bytes")),
        period: 1,
        mapping: table.mappings,
        location: table.locations,
        function: table.functions,
        string_table: table.strings.list,
    }
}

/// What each came to, by metric.
fn values(input: &Concluded, metrics: &[Metric]) -> BTreeMap<Whose, Vec<i64>> {
    let mut all: BTreeMap<Whose, Vec<i64>> = BTreeMap::new();
    for (at, &metric) in metrics.iter().enumerate() {
        let mut add = |whose: Whose, value: u64| {
            if value > 0 {
                let values = all.entry(whose).or_insert_with(|| vec![0; metrics.len()]);
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                values[at] = values[at].saturating_add(value);
            }
        };
        match metric {
            Metric::Resident => {
                for &(reserver, bytes) in &input.account.resident_peak.resident_by_reserver {
                    add(Whose::of(reserver), bytes.0);
                }
            }
            _ => {
                for (id, value) in by_stack(metric, &input.account) {
                    add(Whose::of(Reserver::Stack(id)), value);
                }
            }
        }
    }
    all
}

/// Everything that samples refer to, each once.
#[derive(Default)]
struct Table {
    strings: Strings,
    mappings: Vec<Mapping>,
    by_module: HashMap<String, u64>,
    functions: Vec<Function>,
    by_function: HashMap<(i64, i64), u64>,
    locations: Vec<Location>,
    by_frame: HashMap<Frame, u64>,
}

impl Table {
    fn value_type(&mut self, name: &str, unit: &str) -> ValueType {
        ValueType {
            r#type: self.strings.number(name),
            unit: self.strings.number(unit),
        }
    }

    fn location(&mut self, frame: &Frame) -> u64 {
        if let Some(&id) = self.by_frame.get(frame) {
            return id;
        }
        let name = match &frame.function {
            Some(name) => name.clone(),
            None => frame.to_string(),
        };
        let function_id = self.function(&name, frame.file.as_deref().unwrap_or_default());
        let mapping_id = frame.module.as_deref().map_or(0, |name| self.mapping(name));
        let line = i64::from(frame.line.unwrap_or_default());
        let id = self.locations.len() as u64 + 1;
        self.locations.push(Location {
            id,
            mapping_id,
            address: frame.offset,
            line: vec![Line { function_id, line }],
        });
        self.by_frame.insert(frame.clone(), id);
        id
    }

    fn category(&mut self, name: &str) -> u64 {
        self.location(&Frame {
            function: Some(name.to_owned()),
            ..Frame::default()
        })
    }

    fn function(&mut self, name: &str, file: &str) -> u64 {
        let (name, filename) = (self.strings.number(name), self.strings.number(file));
        let functions = &mut self.functions;
        *self.by_function.entry((name, filename)).or_insert_with(|| {
            let id = functions.len() as u64 + 1;
            functions.push(Function {
                id,
                name,
                system_name: name,
                filename,
            });
            id
        })
    }

    fn mapping(&mut self, module: &str) -> u64 {
        if let Some(&id) = self.by_module.get(module) {
            return id;
        }
        let id = self.mappings.len() as u64 + 1;
        self.mappings.push(Mapping {
            id,
            filename: self.strings.number(module),
            // Nothing is left to be looked up.
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
        });
        self.by_module.insert(module.to_owned(), id);
        id
    }
}

/// The table of strings, whose first is empty.
struct Strings {
    list: Vec<String>,
    numbers: HashMap<String, i64>,
}

impl Default for Strings {
    fn default() -> Self {
        Self {
            list: vec![String::new()],
            numbers: HashMap::from([(String::new(), 0)]),
        }
    }
}

impl Strings {
    fn number(&mut self, text: &str) -> i64 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.list.len() as i64;
        self.list.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}
