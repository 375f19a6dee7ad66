//! DWARF: from an address to functions, inlined ones included, files and lines.
//!
//! Units are found by their ranges and read when an address first falls into
//! one. See the DWARF 5 standard, sections 3.1, 3.3.8 and 6.2. Where the `.dwo`
//! file of a unit is not there, the symbol table answers, and no line is given:
//! it may be of a function that was inlined.

mod lines;
mod names;
mod scopes;
mod split;
mod units;

use crate::files::Elf;
use gimli::{AttributeValue, EndianSlice, LittleEndian};
use lines::{Lines, Program};
use rustc_hash::FxHashMap;
use scopes::{FileNumber, Scopes};
use std::borrow::Cow;
use std::collections::BTreeMap;
use units::{Budget, Units};

/// Bytes of a section.
pub(crate) type Bytes<'d> = EndianSlice<'d, LittleEndian>;
/// A unit and its sections.
pub(crate) type UnitRef<'u, 'd> = gimli::UnitRef<'u, Bytes<'d>>;

/// The debug sections of a file, decompressed.
#[derive(Debug)]
pub(crate) struct Sections {
    main: gimli::DwarfSections<Vec<u8>>,
    supplementary: Option<gimli::DwarfSections<Vec<u8>>>,
    split: split::Split,
}

impl Sections {
    /// Reads them; nothing where the file has none.
    /// `open` opens files that were split off.
    pub(crate) fn read(
        elf: &Elf,
        supplementary: Option<&Elf>,
        open: impl FnMut(&str) -> Option<Elf>,
    ) -> Option<Self> {
        let main = load(elf)?;
        Some(Self {
            split: split::read(&main, open),
            main,
            supplementary: supplementary.and_then(load),
        })
    }
}

fn load(elf: &Elf) -> Option<gimli::DwarfSections<Vec<u8>>> {
    use gimli::SectionId as Id;
    elf.section(Id::DebugInfo.name())?;
    let wanted = |id| {
        matches!(
            id,
            Id::DebugAbbrev
                | Id::DebugAddr
                | Id::DebugAranges
                | Id::DebugInfo
                | Id::DebugLine
                | Id::DebugLineStr
                | Id::DebugRanges
                | Id::DebugRngLists
                | Id::DebugStr
                | Id::DebugStrOffsets
        )
    };
    gimli::DwarfSections::load(|id| match elf.section(id.name()) {
        // One section that can't be had makes all of them worthless.
        Some(section) if wanted(id) => elf.data(section).map(Cow::into_owned).ok_or(()),
        _ => Ok(Vec::new()),
    })
    .ok()
}

/// A frame as DWARF knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DebugFrame {
    /// Name, the linkage name if there is one.
    pub function: Option<Vec<u8>>,
    /// Source file.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
}

/// Looks addresses up in the debug sections of one file.
#[derive(Debug)]
pub(crate) struct Lookup<'d> {
    units: Units<'d>,
    supplementary: Option<Units<'d>>,
    /// By the id that a skeleton has.
    split: BTreeMap<u64, Units<'d>>,
    ranges: Vec<UnitRange>,
    details: Vec<Option<Details<'d>>>,
    names: FxHashMap<(usize, u32), Option<Vec<u8>>>,
}

/// What is read of a unit once an address falls into it.
#[derive(Debug)]
struct Details<'d> {
    /// The id of the unit that was split off, whether its file is there or not.
    split: Option<u64>,
    scopes: Scopes,
    lines: Lines,
    program: Option<Program<'d>>,
    paths: FxHashMap<FileNumber, Option<String>>,
}

#[derive(Clone, Copy, Debug)]
struct UnitRange {
    begin: u64,
    end: u64,
    /// The highest `end` of this range and those before it.
    reach: u64,
    unit: usize,
}

impl<'d> Lookup<'d> {
    /// Finds the units and their ranges.
    pub(crate) fn new(sections: &'d Sections) -> Self {
        let slice = |section: &'d Vec<u8>| EndianSlice::new(section, LittleEndian);
        let budget = Budget::new();
        let supplementary = sections.supplementary.as_ref();
        // Strings of either file may stand in the supplementary one, and entries too.
        let main = sections.main.borrow_with_sup(supplementary, slice);
        let split = split::units(&sections.split, &main, &budget);
        let units = Units::new(main, budget.clone());
        let supplementary = supplementary.map(|s| Units::new(s.borrow(slice), budget));
        let mut lookup = Self {
            details: (0..units.len()).map(|_| None).collect(),
            units,
            supplementary,
            split,
            ranges: Vec::new(),
            names: FxHashMap::default(),
        };
        lookup.index();
        lookup
            .ranges
            .sort_unstable_by_key(|r| (r.begin, r.end, r.unit));
        let mut reach = 0;
        for range in &mut lookup.ranges {
            reach = reach.max(range.end);
            range.reach = reach;
        }
        lookup
    }

    fn index(&mut self) {
        let budget = &self.units.budget;
        for unit in 0..self.units.len() {
            let ranges = self
                .units
                .glance(unit, |unit| scopes::unit_ranges(unit, budget));
            let range = |(begin, end)| UnitRange {
                begin,
                end,
                reach: end,
                unit,
            };
            self.ranges
                .extend(ranges.unwrap_or_default().into_iter().map(range));
        }
    }

    /// Frames of an address, innermost first, all but the last inlined into the
    /// next; empty where DWARF says nothing of it.
    pub(crate) fn find(&mut self, address: u64) -> Vec<DebugFrame> {
        /// Units that cover one address: one, unless the file lies.
        const MOST: usize = 8;
        let after = self.ranges.partition_point(|r| r.begin <= address);
        let reaching = self.ranges[..after].iter().rev();
        let here = reaching
            .take_while(|r| r.reach > address)
            .take(1024)
            .filter(|r| r.end > address);
        let units: Vec<usize> = here.map(|r| r.unit).take(MOST).collect();
        let mut found = units.into_iter().map(|unit| self.find_in(unit, address));
        found.find(|frames| !frames.is_empty()).unwrap_or_default()
    }

    fn find_in(&mut self, number: usize, address: u64) -> Vec<DebugFrame> {
        let Some(unit) = self.units.get(number) else {
            return Vec::new();
        };
        let budget = &self.units.budget;
        let details = self.details[number].get_or_insert_with(|| {
            let program = self.units.line_program(&unit);
            let lines = program.as_ref().map(|program| Lines::read(program, budget));
            let split = split::id(&unit);
            let units = split.and_then(|id| self.split.get(&id));
            let split_unit = units.and_then(|units| units.split_unit(split::relocated(&unit)));
            let scopes = split_unit.as_ref().unwrap_or(&unit);
            Details {
                split,
                scopes: Scopes::read(scopes, budget),
                lines: lines.unwrap_or_default(),
                program,
                paths: FxHashMap::default(),
            }
        });
        let (mut file, mut line) = details.lines.find(address).unwrap_or_default();
        let (paths, program) = (&mut details.paths, details.program.as_ref());
        let mut path = |file: Option<FileNumber>| {
            let path = paths.entry(file?);
            let read = |&file: &FileNumber| lines::path(&unit, program?, file, budget);
            path.or_insert_with_key(read).clone()
        };
        let split = details.split.and_then(|id| self.split.get(&id));
        let mut frames = Vec::new();
        for scope in details.scopes.find(address) {
            let path = path(file);
            let key = (number, scope.entry);
            let name = self.names.entry(key).or_insert_with(|| {
                let (units, number) = match split {
                    Some(split) => (split, 0),
                    None => (&self.units, number),
                };
                let entry = scope.entry as usize;
                names::name(units, self.supplementary.as_ref(), number, entry)
            });
            frames.push(DebugFrame {
                function: name.clone(),
                file: path,
                line: (line != 0).then_some(line),
            });
            (file, line) = (scope.call_file, scope.call_line);
        }
        // A function that has lines but no entry (assembly, derived code).
        let unknown = details.split.is_some() && split.is_none();
        if frames.is_empty() && file.is_some() && !unknown {
            frames.push(DebugFrame {
                function: None,
                file: path(file),
                line: (line != 0).then_some(line),
            });
        }
        frames
    }
}

/// An unsigned attribute, whatever its form.
pub(crate) fn unsigned(value: AttributeValue<Bytes<'_>>) -> Option<u64> {
    match value {
        AttributeValue::FileIndex(index) => Some(index),
        other => other.udata_value(),
    }
}
