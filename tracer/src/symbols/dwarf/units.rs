//! Units of DWARF, read one by one and within a budget.
//!
//! Units may share tables: a thousand units that name one abbreviation table,
//! range list or line program cost its reader a thousand times its size, and
//! the file next to nothing. So every table is paid for each time it is read,
//! and gimli's own `Unit::new`, which reads a unit's file table at once, is not
//! used.

use super::{Bytes, UnitRef};
use gimli::{AttributeValue, DebugInfoOffset, Reader as _, UnitHeader, UnitOffset};
use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;

/// Work that may be done for one file, in entries, attributes, ranges and rows
/// that are read. The largest real files (browsers with full debug information)
/// stay below; a file made to repeat itself does not.
const WORK: usize = 40_000_000;

/// Work that counts for something that is kept: it bounds memory, to some ten
/// million such things of at most 32 bytes.
pub(crate) const KEPT: usize = 4;

/// What is left of the work that may be done for a file.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Rc<Cell<usize>>);

impl Budget {
    /// A budget of which nothing is spent yet.
    pub(crate) fn new() -> Self {
        Self(Rc::new(Cell::new(WORK)))
    }

    /// Takes some; nothing once it is used up.
    pub(crate) fn spend(&self, work: usize) -> Option<()> {
        let left = self.0.get().checked_sub(work);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ())
    }

    /// Pays for the search of a string's end.
    pub(crate) fn spend_on_string(&self, string: Bytes<'_>) -> Option<()> {
        self.spend(1 + string.len() / 64)
    }
}

/// Units of a file, by their offset in `.debug_info`.
#[derive(Debug)]
pub(crate) struct Units<'d> {
    dwarf: gimli::Dwarf<Bytes<'d>>,
    headers: Vec<UnitHeader<Bytes<'d>>>,
    units: Vec<OnceCell<Option<gimli::Unit<Bytes<'d>>>>>,
    /// What units of a split file take from their skeleton.
    relocated: OnceCell<Relocated>,
    /// Shared by the files of one lookup.
    pub budget: Budget,
}

/// What the linker has placed, which stands in the skeleton of a split unit alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relocated {
    pub(super) low_pc: u64,
    pub(super) addresses: gimli::DebugAddrBase,
    /// Before version 5 alone.
    pub(super) ranges: gimli::DebugRngListsBase,
}

impl<'d> Units<'d> {
    /// Finds the units; those after a damaged header are not found.
    pub(crate) fn new(dwarf: gimli::Dwarf<Bytes<'d>>, budget: Budget) -> Self {
        let mut found = Vec::new();
        let mut headers = dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            use gimli::UnitType::{Compilation, Partial, Skeleton, SplitCompilation};
            if budget.spend(1).is_none() {
                break;
            }
            if matches!(
                header.type_(),
                Compilation | Partial | Skeleton(_) | SplitCompilation(_)
            ) {
                found.push(header);
            }
        }
        Self {
            units: found.iter().map(|_| OnceCell::new()).collect(),
            headers: found,
            dwarf,
            relocated: OnceCell::new(),
            budget,
        }
    }

    /// The unit of a split file, given its skeleton's part.
    pub(super) fn split_unit(&self, relocated: Relocated) -> Option<UnitRef<'_, 'd>> {
        self.relocated.get_or_init(|| relocated);
        if self.units.is_empty() {
            return None;
        }
        self.get(0)
    }

    /// Number of units.
    pub(crate) fn len(&self) -> usize {
        self.headers.len()
    }

    /// A unit by its number, read now if it was not; nothing where it is
    /// damaged or the budget is used up.
    pub(crate) fn get(&self, number: usize) -> Option<UnitRef<'_, 'd>> {
        let unit = self.units[number].get_or_init(|| self.read(number));
        Some(unit.as_ref()?.unit_ref(&self.dwarf))
    }

    /// Lets a callback see a unit that is not kept.
    pub(crate) fn glance<T>(
        &self,
        number: usize,
        see: impl FnOnce(&UnitRef<'_, 'd>) -> Option<T>,
    ) -> Option<T> {
        let unit = self.read(number)?;
        see(&unit.unit_ref(&self.dwarf))
    }

    /// The unit that holds an offset, and the offset within it.
    pub(crate) fn at(&self, offset: DebugInfoOffset) -> Option<(UnitRef<'_, 'd>, UnitOffset)> {
        let begins = |header: &UnitHeader<_>| header.debug_info_offset();
        let after = self.headers.partition_point(|h| begins(h) <= Some(offset));
        let unit = self.get(after.checked_sub(1)?)?;
        Some((unit, offset.to_unit_offset(&unit.header)?))
    }

    /// What of a unit's root entry its other entries depend on.
    fn read(&self, number: usize) -> Option<gimli::Unit<Bytes<'d>>> {
        let header = *self.headers.get(number)?;
        let abbreviations = self.abbreviations(&header)?;
        let (encoding, file) = (header.encoding(), self.dwarf.file_type);
        let mut unit = gimli::Unit {
            abbreviations: Arc::new(abbreviations),
            name: None,
            comp_dir: None,
            low_pc: 0,
            str_offsets_base: gimli::DebugStrOffsetsBase::default_for_encoding_and_file(
                encoding, file,
            ),
            addr_base: gimli::DebugAddrBase(0),
            loclists_base: gimli::DebugLocListsBase::default_for_encoding_and_file(encoding, file),
            rnglists_base: gimli::DebugRngListsBase::default_for_encoding_and_file(encoding, file),
            line_program: None,
            dwo_id: None,
            header,
        };
        let (mut low, mut directory) = (None, None);
        let mut entries = header.entries_raw(&unit.abbreviations, None).ok()?;
        let root = entries.read_abbreviation().ok()??;
        self.budget.spend(1 + root.attributes().len())?;
        for &spec in root.attributes() {
            let attribute = entries.read_attribute(spec).ok()?;
            match (attribute.name(), attribute.value()) {
                (gimli::DW_AT_comp_dir, value) => directory = Some(value),
                (gimli::DW_AT_low_pc, value) => low = Some(value),
                (_, AttributeValue::DebugStrOffsetsBase(base)) => unit.str_offsets_base = base,
                (_, AttributeValue::DebugAddrBase(base)) => unit.addr_base = base,
                (_, AttributeValue::DebugRngListsBase(base)) => unit.rnglists_base = base,
                _ => {}
            }
        }
        let text = |value| self.dwarf.attr_string(&unit, value).ok();
        unit.comp_dir = directory.and_then(text);
        let address = |value| self.dwarf.attr_address(&unit, value).ok().flatten();
        unit.low_pc = low.and_then(address).unwrap_or(0);
        if let Some(relocated) = self.relocated.get() {
            unit.low_pc = relocated.low_pc;
            unit.addr_base = relocated.addresses;
            if header.version() < 5 {
                unit.rnglists_base = relocated.ranges;
            }
        }
        Some(unit)
    }

    /// A unit's abbreviations, once they are paid for.
    fn abbreviations(&self, header: &UnitHeader<Bytes<'d>>) -> Option<gimli::Abbreviations> {
        let offset = header.debug_abbrev_offset();
        let mut table = *gimli::Section::reader(&self.dwarf.debug_abbrev);
        table.skip(offset.0).ok()?;
        self.pay_for_abbreviations(table)?;
        self.dwarf.debug_abbrev.abbreviations(offset).ok()
    }

    fn pay_for_abbreviations(&self, mut table: Bytes<'d>) -> Option<()> {
        /// An abbreviation goes into a map; its attributes are read at a glance.
        const ENTRY: usize = 2;
        let mut attributes = 0;
        // Code 0 ends the table; name and form 0 end an abbreviation.
        while table.read_uleb128().ok()? != 0 {
            self.budget.spend(ENTRY + attributes / 4)?;
            attributes = 0;
            table.read_uleb128().ok()?;
            table.read_u8().ok()?;
            loop {
                let (name, form) = (table.read_uleb128().ok()?, table.read_uleb128().ok()?);
                if form == u64::from(gimli::DW_FORM_implicit_const.0) {
                    table.read_sleb128().ok()?;
                }
                if (name, form) == (0, 0) {
                    break;
                }
                attributes += 1;
            }
        }
        self.budget.spend(attributes / 4)
    }

    /// A unit's line program, once its header is paid for; `None` where it has
    /// none.
    pub(crate) fn line_program(
        &self,
        unit: &UnitRef<'_, 'd>,
    ) -> Option<gimli::IncompleteLineProgram<Bytes<'d>>> {
        /// A file entry takes a byte or more in the file, and some 130 here.
        const ENTRY: usize = 4;
        let mut entries = unit.entries_raw(None).ok()?;
        let root = entries.read_abbreviation().ok()??;
        let mut offset = None;
        for &spec in root.attributes() {
            let attribute = entries.read_attribute(spec).ok()?;
            if let AttributeValue::DebugLineRef(found) = attribute.value() {
                offset = Some(found);
            }
        }
        let offset = offset?;
        let mut header = *gimli::Section::reader(&self.dwarf.debug_line);
        header.skip(offset.0).ok()?;
        let (_, format) = header.read_initial_length().ok()?;
        if header.read_u16().ok()? >= 5 {
            header.skip(2).ok()?;
        }
        let length = header.read_length(format).ok()?;
        self.budget
            .spend(length.min(header.len()).checked_mul(ENTRY)?)?;
        let size = unit.header.address_size();
        let program = self
            .dwarf
            .debug_line
            .program(offset, size, unit.comp_dir, None)
            .ok()?;
        self.budget
            .spend(program.header().raw_program_buf().len() / 2)?;
        Some(program)
    }
}
