//! Names of functions in DWARF, which may stand in another entry, another unit
//! or another file (DWZ).

use super::dwarf::{Bytes, UnitRef};
use gimli::{AttributeValue, DebugInfoOffset, UnitOffset};

/// Longest chain of abstract origins and specifications that is followed.
const MAX_ORIGINS: usize = 16;
/// Bytes of a name that are kept.
const MAX_NAME: usize = 16 << 10;

/// Units of a file, by their offset in `.debug_info`.
#[derive(Debug)]
pub(crate) struct Units<'d> {
    dwarf: gimli::Dwarf<Bytes<'d>>,
    units: Vec<gimli::Unit<Bytes<'d>>>,
}

impl<'d> Units<'d> {
    /// Reads the roots of all units; those that do not parse are left out.
    pub(crate) fn read(mut dwarf: gimli::Dwarf<Bytes<'d>>) -> Self {
        // Units may share their abbreviations: parse those once.
        dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
        let mut units = Vec::new();
        let mut headers = dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            use gimli::UnitType::{Compilation, Partial, Skeleton};
            if matches!(header.type_(), Compilation | Partial | Skeleton(_)) {
                units.extend(dwarf.unit(header));
            }
        }
        Self { dwarf, units }
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.units.len()
    }

    /// A unit by its number.
    pub(crate) fn get(&self, number: usize) -> UnitRef<'_, 'd> {
        self.units[number].unit_ref(&self.dwarf)
    }

    /// The unit that holds an offset, and the offset within it.
    fn at(&self, offset: DebugInfoOffset) -> Option<(UnitRef<'_, 'd>, UnitOffset)> {
        let begins = |unit: &gimli::Unit<_>| unit.header.debug_info_offset();
        let after = self
            .units
            .partition_point(|unit| begins(unit) <= Some(offset));
        let unit = self.get(after.checked_sub(1)?);
        Some((unit, offset.to_unit_offset(&unit.header)?))
    }
}

/// Name of a function's entry: the linkage name if there is one, else the plain
/// name, its own or that of the entry it is a copy of. `supplementary` is the
/// file that DWZ moved shared entries to.
pub(crate) fn name<'d>(
    units: &Units<'d>,
    supplementary: Option<&Units<'d>>,
    unit: usize,
    entry: usize,
) -> Option<Vec<u8>> {
    let mut units = units;
    let mut unit = units.get(unit);
    let mut entry = UnitOffset(entry);
    for _ in 0..MAX_ORIGINS {
        match named(&unit, entry)? {
            Named::Here(name) => return Some(name),
            Named::Origin(AttributeValue::UnitRef(offset)) => entry = offset,
            Named::Origin(AttributeValue::DebugInfoRef(offset)) => {
                (unit, entry) = units.at(offset)?;
            }
            Named::Origin(AttributeValue::DebugInfoRefSup(offset)) => {
                units = supplementary?;
                (unit, entry) = units.at(offset)?;
            }
            Named::Origin(_) => return None,
        }
    }
    None
}

/// What an entry says of its name.
enum Named<'d> {
    Here(Vec<u8>),
    Origin(AttributeValue<Bytes<'d>>),
}

fn named<'d>(unit: &UnitRef<'_, 'd>, entry: UnitOffset) -> Option<Named<'d>> {
    let mut entries = unit.entries_raw(Some(entry)).ok()?;
    let abbreviation = entries.read_abbreviation().ok()??;
    let (mut name, mut origin) = (None, None);
    for &spec in abbreviation.attributes() {
        let attribute = entries.read_attribute(spec).ok()?;
        match attribute.name() {
            gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name => {
                if let Ok(name) = unit.attr_string(attribute.value()) {
                    return Some(Named::Here(cut(name)));
                }
            }
            gimli::DW_AT_name => name = unit.attr_string(attribute.value()).ok(),
            gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => {
                origin = Some(attribute.value());
            }
            _ => {}
        }
    }
    // The entry it is a copy of may have the linkage name, which says more;
    // where it has none, it has this very name.
    origin
        .map(Named::Origin)
        .or(name.map(|name| Named::Here(cut(name))))
}

fn cut(name: Bytes<'_>) -> Vec<u8> {
    let bytes = name.slice();
    bytes[..bytes.len().min(MAX_NAME)].to_vec()
}
