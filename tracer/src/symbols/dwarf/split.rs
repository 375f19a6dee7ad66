//! Debug information that the compiler split off into `.dwo` files (DWARF 5, 7.3.2; GNU's extension
//! of DWARF 4 before).
//!
//! A unit that stays in the program (a skeleton) has lines and ranges; functions, and what was
//! inlined into them, stand in the file that it names.

use super::units::{Budget, Relocated, Units};
use super::{Bytes, UnitRef};
use crate::files::Elf;
use gimli::{EndianSlice, LittleEndian, SectionId};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Files that are read at most.
const MAX_FILES: usize = 4096;

/// Bytes that their sections may have in all.
const MAX_BYTES: usize = 256 << 20;

/// Sections of split files, by the id that they share with their skeletons.
pub(crate) type Split = BTreeMap<u64, gimli::DwarfSections<Vec<u8>>>;

/// What a skeleton says of the file that was split off it.
struct Named {
    id: u64,
    path: String,
}

/// Reads the files that units name, by `open`, as far as they are there.
pub(super) fn read(
    main: &gimli::DwarfSections<Vec<u8>>,
    mut open: impl FnMut(&str) -> Option<Elf>,
) -> Split {
    let mut split = Split::new();
    let mut left = MAX_BYTES;
    for Named { id, path } in named(main) {
        if split.contains_key(&id) {
            continue;
        }
        let Some(sections) = open(&path).and_then(|elf| load(&elf)) else {
            continue;
        };
        if id_of(&sections) != Some(id) {
            continue;
        }
        let Some(rest) = left.checked_sub(size(&sections)) else {
            break;
        };
        left = rest;
        split.insert(id, sections);
    }
    split
}

fn named(main: &gimli::DwarfSections<Vec<u8>>) -> Vec<Named> {
    let units = Units::new(main.borrow(|section| slice(section)), Budget::new());
    let all = (0..units.len()).filter_map(|number| units.glance(number, skeleton));
    all.take(MAX_FILES).collect()
}

fn skeleton(unit: &UnitRef<'_, '_>) -> Option<Named> {
    let root = Root::read(unit)?;
    let name = unit
        .attr_string(root.name?)
        .ok()?
        .to_string_lossy()
        .into_owned();
    let path = match unit.comp_dir {
        Some(folder) if !name.starts_with('/') => format!("{}/{name}", folder.to_string_lossy()),
        _ => name,
    };
    Some(Named { id: root.id?, path })
}

/// The id of a unit that was split, on either side.
pub(super) fn id(unit: &UnitRef<'_, '_>) -> Option<u64> {
    let root = Root::read(unit)?;
    root.name.and(root.id)
}

/// What matters of a unit's root entry.
struct Root<'d> {
    id: Option<u64>,
    name: Option<gimli::AttributeValue<Bytes<'d>>>,
}

impl<'d> Root<'d> {
    fn read(unit: &UnitRef<'_, 'd>) -> Option<Self> {
        use gimli::UnitType::{Skeleton, SplitCompilation};
        let mut root = Self {
            id: match unit.header.type_() {
                Skeleton(id) | SplitCompilation(id) => Some(id.0),
                _ => None,
            },
            name: None,
        };
        let mut entries = unit.entries_raw(None).ok()?;
        let abbreviation = entries.read_abbreviation().ok()??;
        for &spec in abbreviation.attributes() {
            let attribute = entries.read_attribute(spec).ok()?;
            match attribute.name() {
                gimli::DW_AT_dwo_name | gimli::DW_AT_GNU_dwo_name => {
                    root.name = Some(attribute.value());
                }
                gimli::DW_AT_GNU_dwo_id => {
                    root.id = match attribute.value() {
                        gimli::AttributeValue::DwoId(id) => Some(id.0),
                        other => other.udata_value(),
                    };
                }
                _ => {}
            }
        }
        Some(root)
    }
}

/// The sections of a split file that functions stand in.
fn load(elf: &Elf) -> Option<gimli::DwarfSections<Vec<u8>>> {
    use SectionId as Id;
    elf.section(Id::DebugInfo.dwo_name()?)?;
    let wanted = |id| {
        matches!(
            id,
            Id::DebugAbbrev
                | Id::DebugInfo
                | Id::DebugRngLists
                | Id::DebugStr
                | Id::DebugStrOffsets
        )
    };
    let section = |id: Id| elf.section(id.dwo_name()?);
    gimli::DwarfSections::load(|id| match section(id) {
        // One section that can't be had makes all of them worthless.
        Some(section) if wanted(id) => elf.data(section).map(Cow::into_owned).ok_or(()),
        _ => Ok(Vec::new()),
    })
    .ok()
}

fn size(sections: &gimli::DwarfSections<Vec<u8>>) -> usize {
    let of = |reader: Bytes<'_>| reader.len();
    let all = sections.borrow(|section| slice(section));
    of(*gimli::Section::reader(&all.debug_info))
        .saturating_add(of(*gimli::Section::reader(&all.debug_str)))
        .saturating_add(of(*gimli::Section::reader(&all.debug_abbrev)))
}

fn slice(section: &[u8]) -> Bytes<'_> {
    EndianSlice::new(section, LittleEndian)
}

/// The id that a split file says it has.
fn id_of(sections: &gimli::DwarfSections<Vec<u8>>) -> Option<u64> {
    let mut dwarf = sections.borrow(|section| slice(section));
    dwarf.file_type = gimli::DwarfFileType::Dwo;
    let units = Units::new(dwarf, Budget::new());
    units.glance(0, |unit| Root::read(unit)?.id)
}

/// The units of split files, for look-ups.
pub(super) fn units<'d>(
    split: &'d Split,
    main: &gimli::Dwarf<Bytes<'d>>,
    budget: &Budget,
) -> BTreeMap<u64, Units<'d>> {
    let units = |sections: &'d gimli::DwarfSections<Vec<u8>>| {
        let mut dwarf = sections.borrow(|section| slice(section));
        dwarf.make_dwo(main);
        Units::new(dwarf, budget.clone())
    };
    split
        .iter()
        .map(|(&id, sections)| (id, units(sections)))
        .collect()
}

/// What a split unit takes from its skeleton.
pub(super) fn relocated(skeleton: &UnitRef<'_, '_>) -> Relocated {
    Relocated {
        low_pc: skeleton.low_pc,
        addresses: skeleton.addr_base,
        ranges: skeleton.rnglists_base,
    }
}
