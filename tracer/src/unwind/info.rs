//! The parts of a file that unwinding needs.

use super::Error;
use crate::files::{BuildId, Elf, Source, elf};
use crate::units::{Bytes, FileOffset, Linked};
use object::elf::{
    DF_1_PIE, DT_FLAGS_1, PT_GNU_EH_FRAME, PT_INTERP, SHT_DYNSYM, SHT_SYMTAB, STT_FUNC,
};
use std::borrow::Cow;

/// Largest section that is read. libtiledb, at 56 MB, has 3 MB of `.eh_frame`; Chromium, at 200 MB,
/// about 20.
const MAX_SECTION: u64 = 128 << 20;

/// Executable segments that are looked at.
const MAX_SEGMENTS: usize = 64;

/// Sections called `.init` or `.fini` that are looked at.
const MAX_PIECED: usize = 2;

/// Symbols that are looked at.
const MAX_SYMBOLS: usize = 1 << 20;

/// Bytes of their names that are looked at: a hostile file's may all have one without an end.
const MAX_NAMES: usize = 64 << 20;

/// A section that was read.
#[derive(Debug, Default)]
pub struct Section<'a> {
    /// Where it is loaded.
    pub address: Linked,
    /// Its bytes.
    pub data: Cow<'a, [u8]>,
}

/// An executable segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it is loaded.
    pub address: Linked,
    /// Its bytes in the file.
    pub size: Bytes,
    /// Where they are in the file.
    pub offset: FileOffset,
}

impl Segment {
    /// The file offset of a loaded address in it.
    #[must_use]
    pub fn file_offset(&self, address: Linked) -> Option<FileOffset> {
        let inside = address.0.checked_sub(self.address.0)?;
        (inside < self.size.0).then(|| FileOffset(self.offset.0.wrapping_add(inside)))
    }

    /// Where an offset in the file is loaded, if it is in this segment.
    #[must_use]
    pub fn loaded_at(&self, offset: FileOffset) -> Option<Linked> {
        let inside = offset.0.checked_sub(self.offset.0)?;
        (inside < self.size.0).then(|| Linked(self.address.0.wrapping_add(inside)))
    }
}

/// What unwinding needs of a file.
#[derive(Debug, Default)]
pub struct UnwindInfo<'a> {
    /// Executable segments.
    pub segments: Vec<Segment>,
    /// `.eh_frame`, empty if there is none.
    pub eh_frame: Section<'a>,
    /// `.eh_frame_hdr`, as its segment says, if there is one: the search table of `.eh_frame`.
    pub search: Option<Segment>,
    /// `.debug_frame`, likewise.
    pub debug_frame: Section<'a>,
    /// `.init` and `.fini`, as far as they are there: their code is put together of pieces for which
    /// nobody writes unwind information.
    pub pieced: Vec<Section<'a>>,
    /// `.text` begins here (for pointers relative to it).
    pub text: Linked,
    /// `.got`, likewise.
    pub got: Linked,
    /// Where the process begins to run.
    pub entry: Linked,
    /// Whether it can be executed; of a library the entry may be any function.
    pub is_program: bool,
    /// GNU build-id.
    pub build_id: Option<BuildId>,
    /// Whether it is a Go program.
    pub is_go: bool,
    /// The file that its code is read from.
    pub source: Option<&'a Source>,
    /// The file that its symbols are read from.
    pub elf: Option<&'a Elf>,
}

impl<'a> UnwindInfo<'a> {
    /// Reads the parts of a file.
    ///
    /// # Errors
    ///
    /// If one of its tables lies outside of it, or is larger than any should be.
    pub fn of(elf: &'a Elf) -> Result<Self, Error> {
        let end = elf.source().len();
        let code = elf.segments().iter().filter(|segment| segment.is_code());
        let code = code.map(|segment| Segment {
            address: Linked(segment.address),
            // Beyond its end a file has no code, whatever it claims.
            size: Bytes(segment.size.min(end.saturating_sub(segment.offset))),
            offset: FileOffset(segment.offset),
        });
        let header = elf.segment_of_kind(PT_GNU_EH_FRAME);
        let mut image = Self {
            segments: code.take(MAX_SEGMENTS).collect(),
            search: header.filter(|s| s.size <= MAX_SECTION).map(|s| Segment {
                address: Linked(s.address),
                size: Bytes(s.size),
                offset: FileOffset(s.offset),
            }),
            entry: Linked(elf.entry()),
            is_program: is_program(elf),
            build_id: elf.build_id(),
            source: Some(elf.source()),
            elf: Some(elf),
            ..Self::default()
        };
        image.read_sections(elf)?;
        if let (true, Some(header)) = (image.eh_frame.data.is_empty(), header) {
            image.eh_frame = unlisted_eh_frame(elf.source(), header).unwrap_or_default();
        }
        Ok(image)
    }

    fn read_sections(&mut self, elf: &'a Elf) -> Result<(), Error> {
        for section in elf.sections() {
            match section.name.as_str() {
                ".eh_frame" => self.eh_frame = read(elf, section, "its .eh_frame")?,
                ".debug_frame" | ".zdebug_frame" => {
                    self.debug_frame = read(elf, section, "its .debug_frame")?;
                }
                ".init" | ".fini" if self.pieced.len() < MAX_PIECED => {
                    self.pieced.extend(read(elf, section, "its .init"));
                }
                ".gopclntab" | ".data.rel.ro.gopclntab" => self.is_go = true,
                ".text" => self.text = Linked(section.address),
                ".got" => self.got = Linked(section.address),
                _ => {}
            }
        }
        Ok(())
    }

    /// The file offset of a loaded address of code.
    #[must_use]
    pub fn file_offset(&self, address: Linked) -> Option<FileOffset> {
        self.segments
            .iter()
            .find_map(|segment| segment.file_offset(address))
    }

    /// Bytes of the file.
    pub(super) fn bytes(&self, offset: FileOffset, size: Bytes) -> Option<Cow<'a, [u8]>> {
        self.source?.read(offset.0, size.0).ok()
    }

    /// Where the file's symbols say that functions begin; none where there are more names than any
    /// file should have.
    pub(super) fn functions(&self) -> Vec<Linked> {
        self.elf.and_then(functions).unwrap_or_default()
    }
}

fn functions(elf: &Elf) -> Option<Vec<Linked>> {
    let (mut found, mut names) = (Vec::new(), 0);
    for kind in [SHT_SYMTAB, SHT_DYNSYM] {
        let Some(table) = elf.symbol_table(kind) else {
            continue;
        };
        for symbol in table.symbols().take(MAX_SYMBOLS) {
            if symbol.kind != STT_FUNC.0 || !symbol.is_defined {
                continue;
            }
            let name = table.name(&symbol);
            names += name.len();
            if names > MAX_NAMES {
                return None;
            }
            // What a compiler moved out of a function's way is a part of it.
            if !name.windows(5).any(|word| word == b".cold") {
                found.push(Linked(symbol.address));
            }
        }
    }
    Some(found)
}

/// Whether it can be executed: linkers say so of programs without an interpreter too.
fn is_program(elf: &Elf) -> bool {
    let is_pie = || {
        let dynamic = elf.dynamic().ok();
        dynamic.is_some_and(|dynamic| dynamic.has(DT_FLAGS_1, DF_1_PIE.0))
    };
    elf.is_fixed() || elf.segment_of_kind(PT_INTERP).is_some() || is_pie()
}

/// A section's bytes, unpacked; none where it was packed in a way that nobody knows.
fn read<'a>(
    elf: &'a Elf,
    section: &elf::Section,
    what: &'static str,
) -> Result<Section<'a>, Error> {
    let size = elf.unpacked_size(section).unwrap_or_default();
    let size = size.max(section.size);
    if size > MAX_SECTION {
        let limit = MAX_SECTION;
        return Err(Error::TooLarge { what, size, limit });
    }
    let data = match elf.data(section) {
        Some(data) => data,
        None if section.is_outside(elf) => {
            return Err(elf::Error::Malformed("table outside the file").into());
        }
        None => Cow::default(),
    };
    Ok(Section {
        address: Linked(section.address),
        data,
    })
}

/// `.eh_frame` of a file without section headers: the search table of `PT_GNU_EH_FRAME` says where it
/// begins, its own terminator where it ends.
fn unlisted_eh_frame<'a>(source: &'a Source, header: &elf::Segment) -> Option<Section<'a>> {
    /// `DW_EH_PE_pcrel | DW_EH_PE_sdata4`, which all linkers write.
    const RELATIVE: u8 = 0x1b;
    let bytes = source.read(header.offset, 8).ok()?;
    let [1, RELATIVE, _, _, pointer @ ..] = &*bytes else {
        return None;
    };
    let distance = i64::from(i32::from_le_bytes(pointer.try_into().ok()?)) + 4;
    let start = header.offset.checked_add_signed(distance)?;
    let size = source.len().checked_sub(start)?.min(MAX_SECTION);
    Some(Section {
        address: Linked(header.address.wrapping_add_signed(distance)),
        data: source.read(start, size).ok()?,
    })
}
