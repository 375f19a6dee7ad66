//! Functions of a DWARF unit and what was inlined into them.

use super::units::{Budget, KEPT};
use super::{Bytes, UnitRef, unsigned};
use gimli::{AttributeValue, DwAt};

/// Deepest nesting of inlined functions that is kept.
const MAX_DEPTH: u32 = 256;

/// A function, or one inlined into another, at one range of its addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    begin: u64,
    end: u64,
    /// How many functions it is inlined into, one within the other.
    depth: u32,
    /// Offset of its entry in the unit.
    pub entry: u32,
    /// File and line of the call, where it is inlined.
    pub call_file: Option<FileNumber>,
    /// See `call_file`; 0 where it is not known.
    pub call_line: u32,
}

/// All of a unit, sorted by depth and address.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    scopes: Vec<Scope>,
}

impl Scopes {
    /// Reads a unit's entries, without recursion. Where the unit breaks off or
    /// the budget ends, what was read is kept.
    pub(crate) fn read(unit: &UnitRef<'_, '_>, budget: &Budget) -> Self {
        let mut scopes = Self::default();
        let _ = scopes.walk(unit, budget);
        scopes
            .scopes
            .sort_unstable_by_key(|s| (s.depth, s.begin, s.end, s.entry));
        scopes
    }

    fn walk(&mut self, unit: &UnitRef<'_, '_>, budget: &Budget) -> Option<()> {
        let mut entries = unit.entries_raw(None).ok()?;
        // The functions around the entry: how deep DWARF nests them, and how
        // many functions each is inlined into.
        let mut around: Vec<(isize, u32)> = Vec::new();
        while !entries.is_empty() {
            let depth = entries.next_depth();
            // Units of more than 4 GiB are beyond every budget.
            let entry = u32::try_from(entries.next_offset().0).ok()?;
            let Some(abbreviation) = entries.read_abbreviation().ok()? else {
                budget.spend(1)?;
                continue;
            };
            budget.spend(1 + abbreviation.attributes().len())?;
            while around
                .last()
                .is_some_and(|&(function, _)| function >= depth)
            {
                around.pop();
            }
            let tag = abbreviation.tag();
            let inlined = tag == gimli::DW_TAG_inlined_subroutine;
            if !inlined && tag != gimli::DW_TAG_subprogram {
                entries.skip_attributes(abbreviation.attributes()).ok()?;
                continue;
            }
            let mut attributes = Attributes::default();
            for &spec in abbreviation.attributes() {
                let attribute = entries.read_attribute(spec).ok()?;
                attributes.take(unit, attribute.name(), attribute.value());
            }
            // A function within a function is not inlined into it.
            let inside = around.last().map_or(0, |&(_, inside)| inside + 1);
            let inside = if inlined { inside } else { 0 };
            if inside < MAX_DEPTH {
                self.add(unit, budget, &attributes, inside, entry)?;
                around.push((depth, inside));
            }
        }
        Some(())
    }

    fn add<'d>(
        &mut self,
        unit: &UnitRef<'_, 'd>,
        budget: &Budget,
        attributes: &Attributes<'d>,
        depth: u32,
        entry: u32,
    ) -> Option<()> {
        attributes.for_each_range(unit, budget, |begin, end| {
            self.scopes.push(Scope {
                depth,
                begin,
                end,
                entry,
                call_file: attributes.call_file,
                call_line: attributes.call_line,
            });
        })
    }

    /// The functions around an address, innermost first.
    pub(crate) fn find(&self, address: u64) -> Vec<Scope> {
        let mut found = Vec::new();
        for depth in 0..=MAX_DEPTH {
            let after = self
                .scopes
                .partition_point(|s| (s.depth, s.begin) <= (depth, address));
            match after.checked_sub(1).map(|index| self.scopes[index]) {
                Some(scope) if scope.depth == depth && address < scope.end => found.push(scope),
                _ => break,
            }
        }
        found.reverse();
        found
    }
}

/// Number of a file in a line table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileNumber(std::num::NonZeroU32);

impl FileNumber {
    /// Nothing where no table can be as long.
    pub(crate) fn new(number: u64) -> Option<Self> {
        let number = u32::try_from(number.checked_add(1)?).ok()?;
        std::num::NonZeroU32::new(number).map(Self)
    }

    /// The number.
    pub(crate) fn get(self) -> u64 {
        u64::from(self.0.get() - 1)
    }
}

/// What is read of an entry.
#[derive(Debug, Default)]
struct Attributes<'d> {
    low: Option<u64>,
    high: Option<AttributeValue<Bytes<'d>>>,
    ranges: Option<AttributeValue<Bytes<'d>>>,
    call_file: Option<FileNumber>,
    call_line: u32,
}

impl<'d> Attributes<'d> {
    fn take(&mut self, unit: &UnitRef<'_, 'd>, name: DwAt, value: AttributeValue<Bytes<'d>>) {
        match name {
            gimli::DW_AT_low_pc => self.low = unit.attr_address(value).ok().flatten(),
            gimli::DW_AT_high_pc => self.high = Some(value),
            gimli::DW_AT_ranges => self.ranges = Some(value),
            gimli::DW_AT_call_file => {
                // Before version 5, file 0 means none.
                let version = unit.header.version();
                let file = unsigned(value).filter(|&file| file > 0 || version >= 5);
                self.call_file = file.and_then(FileNumber::new);
            }
            gimli::DW_AT_call_line => {
                let line = unsigned(value).and_then(|line| u32::try_from(line).ok());
                self.call_line = line.unwrap_or(0);
            }
            _ => {}
        }
    }

    /// Calls back for each range of addresses that is not empty.
    fn for_each_range(
        &self,
        unit: &UnitRef<'_, 'd>,
        budget: &Budget,
        mut each: impl FnMut(u64, u64),
    ) -> Option<()> {
        let mut add = |begin: u64, end: u64| {
            // The linker leaves functions that it dropped at 0 (or near it).
            if begin < end && begin != 0 {
                each(begin, end);
            }
        };
        if let Some(ranges) = self.ranges {
            let Ok(Some(mut ranges)) = unit.attr_ranges(ranges) else {
                return Some(());
            };
            // One by one: whole lists may hold nothing but what is passed over.
            while let Ok(Some(raw)) = ranges.next_raw() {
                budget.spend(KEPT)?;
                if let Ok(Some(range)) = ranges.convert_raw(raw) {
                    add(range.begin, range.end);
                }
            }
        } else if let (Some(low), Some(high)) = (self.low, self.high) {
            let end = match unit.attr_address(high) {
                Ok(Some(end)) => end,
                _ => low.saturating_add(high.udata_value().unwrap_or(0)),
            };
            add(low, end);
        }
        Some(())
    }
}

/// Ranges of addresses of a unit, as its root entry has them; nothing once the
/// budget is used up.
pub(crate) fn unit_ranges(unit: &UnitRef<'_, '_>, budget: &Budget) -> Option<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    budget.spend(1)?;
    let mut attributes = Attributes::default();
    let mut read = || -> gimli::Result<()> {
        let mut entries = unit.entries_raw(None)?;
        if let Some(abbreviation) = entries.read_abbreviation()? {
            for &spec in abbreviation.attributes() {
                let attribute = entries.read_attribute(spec)?;
                attributes.take(unit, attribute.name(), attribute.value());
            }
        }
        Ok(())
    };
    if read().is_ok() {
        attributes.for_each_range(unit, budget, |begin, end| found.push((begin, end)))?;
    }
    Some(found)
}
