//! Single rules of a file whose table is still being made.
//!
//! The table of a large file takes a second or two. Its linker has left a search table
//! (`.eh_frame_hdr`, LSB 10.6.2) by which the entry of one function is found at once: stacks that
//! wait for the table are walked by that.

use super::info::{Segment, UnwindInfo};
use super::rule::{Reader, rule};
use super::table::UNSUPPORTED;
use crate::units::{FileOffset, Linked};
use gimli::{BaseAddresses, EhFrame, EhFrameHdr, LittleEndian, UnwindContext, UnwindSection as _};
use rustc_hash::FxHashMap;
use std::sync::{Mutex, PoisonError};
use tracer_ebpf::tables::Rule;

/// Rules that are remembered.
const MAX_KEPT: usize = 1 << 16;

/// Bytes of CFI instructions that are executed at most: a hostile file's may be long.
const MAX_WORK: usize = 64 << 20;

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// How to step from it.
    Rule(Rule),
    /// It is code without unwind information.
    NoRule,
    /// Its file's table is not made yet.
    NotReady,
}

/// The parts of a file that single rules are found by.
#[derive(Debug)]
pub(crate) struct Lookup {
    eh_frame: Vec<u8>,
    search: Vec<u8>,
    bases: BaseAddresses,
    segments: Vec<Segment>,
    /// Where a process begins to run, if the file is a program: nobody called that, whatever its
    /// unwind information says.
    entry: Option<Linked>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    rules: FxHashMap<FileOffset, Found>,
    work: usize,
}

impl Lookup {
    /// Keeps what of a file is needed; nothing where its linker left no search table.
    #[must_use]
    pub(crate) fn new(image: &UnwindInfo<'_>) -> Option<Self> {
        let search = image.search.as_ref()?;
        Some(Self {
            eh_frame: image.eh_frame.data.to_vec(),
            search: image.bytes(search.offset, search.size)?.into_owned(),
            bases: BaseAddresses::default()
                .set_eh_frame_hdr(search.address.0)
                .set_eh_frame(image.eh_frame.address.0)
                .set_text(image.text.0)
                .set_got(image.got.0),
            segments: image.segments.clone(),
            entry: image.is_program.then_some(image.entry),
            kept: Mutex::default(),
        })
    }

    /// The rule at an offset in the file. Where the unwind information says nothing the table may
    /// know more: then this is [`Found::NotReady`].
    #[must_use]
    pub(super) fn find(&self, offset: FileOffset) -> Found {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&found) = kept.rules.get(&offset) {
            return found;
        }
        let found = self.look(offset, &mut kept.work).unwrap_or(Found::NotReady);
        if kept.rules.len() < MAX_KEPT {
            kept.rules.insert(offset, found);
        }
        found
    }

    fn look(&self, offset: FileOffset, work: &mut usize) -> Option<Found> {
        if *work > MAX_WORK {
            return None;
        }
        let mut segments = self.segments.iter();
        let Linked(address) = segments.find_map(|segment| segment.loaded_at(offset))?;
        let section: EhFrame<Reader<'_>> = EhFrame::new(&self.eh_frame, LittleEndian);
        let header = EhFrameHdr::new(&self.search, LittleEndian);
        let parsed = header.parse(&self.bases, 8).ok()?;
        let (table, cie) = (parsed.table()?, EhFrame::cie_from_offset);
        let function = table
            .fde_for_address(&section, &self.bases, address, cie)
            .ok()?;
        if self.entry.is_some_and(|entry| function.contains(entry.0)) {
            return None;
        }
        *work = work
            .saturating_add(function.entry_len())
            .saturating_add(function.cie().entry_len());
        let mut context = UnwindContext::new();
        let row = function
            .unwind_info_for_address(&section, &self.bases, &mut context, address)
            .ok()?;
        let rule = rule(row, &section, function.is_signal_trampoline());
        Some(Found::Rule(rule.unwrap_or(UNSUPPORTED)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Elf, Source};
    use crate::unwind::Table;
    use tracer_ebpf::tables::cfa;

    fn of(bytes: Vec<u8>) -> Elf {
        Elf::parse(Source::Memory(bytes)).expect("an ELF file")
    }

    #[test]
    fn it_says_what_the_table_of_our_own_program_says() {
        let elf = of(std::fs::read("/proc/self/exe").expect("our own file"));
        let image = UnwindInfo::of(&elf).expect("its parts");
        let lookup = Lookup::new(&image).expect("a search table");
        let table = Table::build(&image);
        let (mut compared, mut unknown) = (0, 0);
        for row in table.rows.iter().step_by(97) {
            let expected = table.rules[row.rule as usize];
            match lookup.find(FileOffset(row.offset.into())) {
                Found::Rule(found) => {
                    assert_eq!(found, expected, "{:#x}", row.offset);
                    compared += 1;
                }
                _ if expected.cfa == cfa::NONE => {}
                _ => unknown += 1,
            }
        }
        assert!(
            compared > 100 && unknown * 100 < compared,
            "{compared}, {unknown}"
        );
    }

    #[test]
    fn a_damaged_search_table_is_survived() {
        let mut file = std::fs::read("/proc/self/exe").expect("our own file");
        let elf = of(file.clone());
        let search = UnwindInfo::of(&elf)
            .expect("its parts")
            .search
            .expect("one");
        let (at, size) = (search.offset.0 as usize, search.size.0 as usize);
        for (step, byte) in file[at + 4..at + size.min(4096)].iter_mut().enumerate() {
            *byte ^= (step % 251) as u8;
        }
        let length = file.len() as u64;
        let elf = of(file);
        if let Some(lookup) = Lookup::new(&UnwindInfo::of(&elf).expect("its parts")) {
            for offset in (0..length).step_by(4099) {
                let _ = lookup.find(FileOffset(offset));
            }
        }
    }
}
