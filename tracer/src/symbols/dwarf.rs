//! DWARF: from an address to functions, inlined ones included, files and lines.
//!
//! Units are found by their ranges and read when an address first falls into
//! one. See the DWARF 5 standard, sections 3.1, 3.3.8 and 6.2. Debug
//! information split into `.dwo` files is not read: such units give no frames
//! and the symbol table answers instead.

use super::elf::Elf;
use super::lines::{self, Lines};
use super::names::{self, Units};
use super::scopes::{self, Scopes};
use gimli::{AttributeValue, EndianSlice, LittleEndian};
use rustc_hash::FxHashMap;

/// Bytes of a section.
pub(crate) type Bytes<'d> = EndianSlice<'d, LittleEndian>;
/// A unit and its sections.
pub(crate) type UnitRef<'u, 'd> = gimli::UnitRef<'u, Bytes<'d>>;

/// Work that may be done for one file: entries, ranges and rows that are read.
/// The largest real files (browsers with full debug information) stay below;
/// a file made to repeat itself does not.
const WORK: u64 = 200_000_000;

/// What is left of the work that may be done for a file.
#[derive(Debug)]
pub(crate) struct Budget(u64);

impl Budget {
    /// Takes some; nothing once it is used up.
    pub(crate) fn spend(&mut self, work: u64) -> Option<()> {
        self.0 = self.0.checked_sub(work)?;
        Some(())
    }
}

/// The debug sections of a file, decompressed.
#[derive(Debug)]
pub(crate) struct Sections {
    main: gimli::DwarfSections<Vec<u8>>,
    supplementary: Option<gimli::DwarfSections<Vec<u8>>>,
}

impl Sections {
    /// Reads them; nothing where the file has none.
    pub(crate) fn read(elf: &Elf, supplementary: Option<&Elf>) -> Option<Self> {
        Some(Self {
            main: load(elf)?,
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
        Some(section) if wanted(id) => elf.data(section).ok_or(()),
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
    ranges: Vec<UnitRange>,
    details: Vec<Option<Details>>,
    names: FxHashMap<(usize, usize), Option<Vec<u8>>>,
    budget: Budget,
}

/// What is read of a unit once an address falls into it.
#[derive(Debug)]
struct Details {
    scopes: Scopes,
    lines: Lines,
    paths: FxHashMap<u64, Option<String>>,
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
        let units = Units::read(sections.main.borrow(slice));
        let supplementary = sections.supplementary.as_ref();
        let mut lookup = Self {
            details: (0..units.len()).map(|_| None).collect(),
            units,
            supplementary: supplementary.map(|s| Units::read(s.borrow(slice))),
            ranges: Vec::new(),
            names: FxHashMap::default(),
            budget: Budget(WORK),
        };
        let _ = lookup.index();
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

    fn index(&mut self) -> Option<()> {
        for unit in 0..self.units.len() {
            let ranges = scopes::unit_ranges(&self.units.get(unit), &mut self.budget)?;
            let range = |(begin, end)| UnitRange {
                begin,
                end,
                reach: end,
                unit,
            };
            self.ranges.extend(ranges.into_iter().map(range));
        }
        Some(())
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
        let unit = self.units.get(number);
        let details = self.details[number].get_or_insert_with(|| Details {
            scopes: Scopes::read(&unit, &mut self.budget),
            lines: Lines::read(&unit, &mut self.budget),
            paths: FxHashMap::default(),
        });
        let (mut file, mut line) = details.lines.find(address).unzip();
        let mut frames = Vec::new();
        for scope in details.scopes.find(address) {
            let path = file.and_then(|file| {
                let path = details.paths.entry(file);
                path.or_insert_with(|| lines::path(&unit, file)).clone()
            });
            let key = (number, scope.entry);
            let name = self.names.entry(key).or_insert_with(|| {
                names::name(
                    &self.units,
                    self.supplementary.as_ref(),
                    number,
                    scope.entry,
                )
            });
            frames.push(DebugFrame {
                function: name.clone(),
                file: path,
                line: line.filter(|&line| line != 0),
            });
            (file, line) = (scope.call_file, scope.call_line);
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
