//! Functions of a DWARF unit and what was inlined into them.

use super::dwarf::{Budget, Bytes, UnitRef, unsigned};
use gimli::{AttributeValue, DwAt};

/// Deepest nesting of inlined functions that is kept.
const MAX_DEPTH: usize = 256;

/// A function, or one inlined into another, at one range of its addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// How many functions it is inlined into, one within the other.
    depth: usize,
    begin: u64,
    end: u64,
    /// Offset of its entry in the unit.
    pub entry: usize,
    /// File and line of the call, where it is inlined.
    pub call_file: Option<u64>,
    /// See `call_file`.
    pub call_line: Option<u32>,
}

/// All of a unit, sorted by depth and address.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    scopes: Vec<Scope>,
}

impl Scopes {
    /// Reads a unit's entries, without recursion. Where the unit breaks off or
    /// the budget ends, what was read is kept.
    pub(crate) fn read(unit: &UnitRef<'_, '_>, budget: &mut Budget) -> Self {
        let mut scopes = Self::default();
        let _ = scopes.walk(unit, budget);
        scopes
            .scopes
            .sort_unstable_by_key(|s| (s.depth, s.begin, s.end, s.entry));
        scopes
    }

    fn walk(&mut self, unit: &UnitRef<'_, '_>, budget: &mut Budget) -> Option<()> {
        let mut entries = unit.entries_raw(None).ok()?;
        // Depths (as DWARF nests entries) of the functions around the entry.
        let mut around: Vec<isize> = Vec::new();
        while !entries.is_empty() {
            budget.spend(1)?;
            let depth = entries.next_depth();
            let entry = entries.next_offset().0;
            let Some(abbreviation) = entries.read_abbreviation().ok()? else {
                continue;
            };
            while around.last().is_some_and(|&function| function >= depth) {
                around.pop();
            }
            let tag = abbreviation.tag();
            let inlined = tag == gimli::DW_TAG_inlined_subroutine;
            if !inlined && tag != gimli::DW_TAG_subprogram {
                entries.skip_attributes(abbreviation.attributes()).ok()?;
                continue;
            }
            // A function within a function is not inlined into it.
            if !inlined {
                around.clear();
            }
            let mut attributes = Attributes::default();
            for &spec in abbreviation.attributes() {
                let attribute = entries.read_attribute(spec).ok()?;
                attributes.take(unit, attribute.name(), attribute.value());
            }
            if around.len() < MAX_DEPTH {
                self.add(unit, budget, &attributes, around.len(), entry)?;
                around.push(depth);
            }
        }
        Some(())
    }

    fn add<'d>(
        &mut self,
        unit: &UnitRef<'_, 'd>,
        budget: &mut Budget,
        attributes: &Attributes<'d>,
        depth: usize,
        entry: usize,
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

/// What is read of an entry.
#[derive(Debug, Default)]
struct Attributes<'d> {
    low: Option<u64>,
    high: Option<AttributeValue<Bytes<'d>>>,
    ranges: Option<AttributeValue<Bytes<'d>>>,
    call_file: Option<u64>,
    call_line: Option<u32>,
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
                self.call_file = unsigned(value).filter(|&file| file > 0 || version >= 5);
            }
            gimli::DW_AT_call_line => {
                self.call_line = unsigned(value).and_then(|line| u32::try_from(line).ok());
            }
            _ => {}
        }
    }

    /// Calls back for each range of addresses that is not empty.
    fn for_each_range(
        &self,
        unit: &UnitRef<'_, 'd>,
        budget: &mut Budget,
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
            while let Ok(Some(range)) = ranges.next() {
                budget.spend(1)?;
                add(range.begin, range.end);
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
pub(crate) fn unit_ranges(unit: &UnitRef<'_, '_>, budget: &mut Budget) -> Option<Vec<(u64, u64)>> {
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
