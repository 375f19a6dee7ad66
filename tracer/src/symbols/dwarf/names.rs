//! Names of functions in DWARF, which may stand in another entry, another unit
//! or another file (DWZ).

use super::units::{Budget, Units};
use super::{Bytes, UnitRef};
use gimli::{AttributeValue, UnitOffset};

/// Longest chain of abstract origins and specifications that is followed.
const MAX_ORIGINS: usize = 16;
/// Bytes of a name that are kept.
const MAX_NAME: usize = 64 << 10;

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
    let mut unit = units.get(unit)?;
    let mut entry = UnitOffset(entry);
    for _ in 0..MAX_ORIGINS {
        match named(&unit, entry, &units.budget)? {
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

fn named<'d>(unit: &UnitRef<'_, 'd>, entry: UnitOffset, budget: &Budget) -> Option<Named<'d>> {
    let mut entries = unit.entries_raw(Some(entry)).ok()?;
    let abbreviation = entries.read_abbreviation().ok()??;
    budget.spend(1 + abbreviation.attributes().len())?;
    let (mut name, mut origin) = (None, None);
    for &spec in abbreviation.attributes() {
        let attribute = entries.read_attribute(spec).ok()?;
        match attribute.name() {
            gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name => {
                if let Ok(name) = unit.attr_string(attribute.value()) {
                    budget.spend_on_string(name)?;
                    return Some(Named::Here(cut(name)));
                }
            }
            gimli::DW_AT_name => {
                name = unit.attr_string(attribute.value()).ok();
                name.map_or(Some(()), |name| budget.spend_on_string(name))?;
            }
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
