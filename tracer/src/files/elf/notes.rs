//! The GNU build-id, a note.

use super::{Elf, LE};
use crate::files::BuildId;
use object::LittleEndian;
use object::elf::FileHeader64;
use object::read::elf::NoteIterator;

/// Bytes of notes that are looked at.
const MAX_NOTES: u64 = 1 << 20;

/// Notes that are looked at: one may have twelve bytes.
const MAX_COUNT: usize = 1 << 16;

impl Elf {
    /// The GNU build-id: by the program headers, else by its section.
    #[must_use]
    pub fn build_id(&self) -> Option<BuildId> {
        let of = |offset, size: u64, align| {
            let notes = self.source.read(offset, size.min(MAX_NOTES)).ok()?;
            find(&notes, align)
        };
        let mut notes = self.segments.iter().filter(|segment| is_note(segment.kind));
        let found = notes.find_map(|notes| of(notes.offset, notes.size, notes.align));
        found.or_else(|| {
            let section = self.section(".note.gnu.build-id")?;
            of(section.offset, section.size, 4)
        })
    }
}

fn is_note(kind: u32) -> bool {
    kind == object::elf::PT_NOTE.0
}

fn find(notes: &[u8], align: u64) -> Option<BuildId> {
    let align = if align == 8 { 8 } else { 4 };
    let notes = NoteIterator::<FileHeader64<LittleEndian>>::new(LE, align, notes).ok()?;
    let mut notes = notes.map_while(Result::ok).take(MAX_COUNT);
    let note = notes.find(|note| {
        note.name() == object::elf::ELF_NOTE_GNU && note.n_type(LE) == object::elf::NT_GNU_BUILD_ID
    })?;
    BuildId::of(note.desc())
}
