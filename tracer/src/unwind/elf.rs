//! The parts of an ELF file that unwinding needs.

use super::Error;
use super::source::Source;
use object::elf::{
    DF_1_PIE, DT_FLAGS_1, EM_X86_64, ET_EXEC, PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_INTERP, PT_LOAD,
};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{LittleEndian, ReadRef};
use std::borrow::Cow;

type Header = object::elf::FileHeader64<LittleEndian>;
type ProgramHeader = object::elf::ProgramHeader64<LittleEndian>;

/// Largest section that is read. libtiledb, at 56 MB, has 3 MB of `.eh_frame`;
/// Chromium, at 200 MB, about 20.
const MAX_SECTION: u64 = 128 << 20;

/// Largest dynamic section that is looked at: 4,096 entries, libraries have some 30.
const MAX_DYNAMIC: u64 = 64 << 10;

/// Executable segments that are looked at.
const MAX_SEGMENTS: usize = 64;

/// Sections called `.init` or `.fini` that are looked at.
const MAX_PIECED: usize = 2;

/// A section that was read.
#[derive(Debug, Default)]
pub struct Section<'a> {
    /// Where it is loaded.
    pub address: u64,
    /// Its bytes.
    pub data: Cow<'a, [u8]>,
}

/// An executable segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it is loaded.
    pub address: u64,
    /// Its bytes in the file.
    pub size: u64,
    /// Where they are in the file.
    pub offset: u64,
}

impl Segment {
    /// The file offset of a loaded address in it.
    #[must_use]
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        let inside = address.checked_sub(self.address)?;
        (inside < self.size).then(|| self.offset.wrapping_add(inside))
    }
}

/// What unwinding needs of a file.
#[derive(Debug)]
pub struct Image<'a> {
    /// Executable segments.
    pub segments: Vec<Segment>,
    /// `.eh_frame`, empty if there is none.
    pub eh_frame: Section<'a>,
    /// `.eh_frame_hdr`, as its segment says, if there is one: the search table of `.eh_frame`.
    pub search: Option<Segment>,
    /// `.debug_frame`, likewise.
    pub debug_frame: Section<'a>,
    /// `.init` and `.fini`, as far as they are there: their code is put together
    /// of pieces for which nobody writes unwind information.
    pub pieced: Vec<Section<'a>>,
    /// `.text` begins here (for pointers relative to it).
    pub text: u64,
    /// `.got`, likewise.
    pub got: u64,
    /// Where the process begins to run.
    pub entry: u64,
    /// Whether it can be executed; of a library the entry may be any function.
    pub is_program: bool,
    /// GNU build-id, empty if there is none.
    pub build_id: Vec<u8>,
    /// Whether it is a Go program.
    pub is_go: bool,
    /// The rest of the file.
    pub source: Source<'a>,
}

impl<'a> Image<'a> {
    /// Reads the parts from a file or from memory.
    ///
    /// # Errors
    ///
    /// If it is no x86-64 ELF file, or one of its tables lies outside of it.
    pub fn parse<R: ReadRef<'a> + 'a>(data: R) -> Result<Self, Error> {
        let header = Header::parse(data)?;
        let endian = header.endian()?;
        if header.e_machine.get(endian) != EM_X86_64 {
            return Err(Error::Machine);
        }
        let mut image = Self {
            segments: Vec::new(),
            eh_frame: Section::default(),
            search: None,
            debug_frame: Section::default(),
            pieced: Vec::new(),
            text: 0,
            got: 0,
            entry: header.e_entry.get(endian),
            is_program: header.e_type.get(endian) == ET_EXEC,
            build_id: Vec::new(),
            is_go: false,
            source: Source::new(data),
        };
        let end = data.len().unwrap_or(0);
        let mut eh_frame_hdr = None;
        for segment in header.program_headers(endian, data)? {
            match segment.p_type(endian) {
                PT_LOAD if segment.p_flags(endian).contains(PF_X) => {
                    let offset = segment.p_offset(endian);
                    image.segments.push(Segment {
                        address: segment.p_vaddr(endian),
                        // Beyond its end a file has no code, whatever it claims.
                        size: segment.p_filesz(endian).min(end.saturating_sub(offset)),
                        offset,
                    });
                }
                PT_INTERP => image.is_program = true,
                PT_DYNAMIC => image.is_program |= is_pie(segment, endian, data),
                PT_GNU_EH_FRAME => {
                    let (address, offset) = (segment.p_vaddr(endian), segment.p_offset(endian));
                    let size = segment.p_filesz(endian);
                    image.search = (size <= MAX_SECTION).then_some(Segment {
                        address,
                        size,
                        offset,
                    });
                    eh_frame_hdr = Some((address, offset));
                }
                _ => {}
            }
            if let Ok(Some(mut notes)) = segment.notes(endian, data) {
                image.find_build_id(endian, &mut notes);
            }
        }
        image.segments.truncate(MAX_SEGMENTS);
        image.read_sections(header, endian, data)?;
        if let (true, Some((address, offset))) = (image.eh_frame.data.is_empty(), eh_frame_hdr) {
            image.eh_frame = unlisted_eh_frame(data, address, offset).unwrap_or_default();
        }
        Ok(image)
    }

    fn find_build_id(
        &mut self,
        endian: LittleEndian,
        notes: &mut object::read::elf::NoteIterator<'_, Header>,
    ) {
        while let Ok(Some(note)) = notes.next() {
            let id = note.desc();
            if note.name() == object::elf::ELF_NOTE_GNU
                && note.n_type(endian) == object::elf::NT_GNU_BUILD_ID
                && self.build_id.is_empty()
                && id.len() <= 64
            {
                self.build_id = id.to_vec();
            }
        }
    }

    fn read_sections<R: ReadRef<'a>>(
        &mut self,
        header: &Header,
        endian: LittleEndian,
        data: R,
    ) -> Result<(), Error> {
        // A file whose section headers were cut off still has its segments.
        let Ok(sections) = header.sections(endian, data) else {
            return Ok(());
        };
        for section in sections.iter() {
            let address = section.sh_addr(endian);
            match sections.section_name(endian, section) {
                Ok(b".eh_frame") => self.eh_frame = read(endian, data, section, "its .eh_frame")?,
                Ok(b".debug_frame") => {
                    self.debug_frame = read(endian, data, section, "its .debug_frame")?;
                }
                Ok(b".init" | b".fini") if self.pieced.len() < MAX_PIECED => {
                    self.pieced.extend(read(endian, data, section, "its .init"));
                }
                Ok(b".gopclntab" | b".data.rel.ro.gopclntab") => self.is_go = true,
                Ok(b".text") => self.text = address,
                Ok(b".got") => self.got = address,
                _ => {}
            }
        }
        Ok(())
    }

    /// The file offset of a loaded address of code.
    #[must_use]
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        self.segments
            .iter()
            .find_map(|segment| segment.file_offset(address))
    }
}

/// Whether the dynamic section says that the file is a program, as linkers say of those without
/// an interpreter too.
fn is_pie<'a, R: ReadRef<'a>>(dynamic: &ProgramHeader, endian: LittleEndian, data: R) -> bool {
    if dynamic.p_filesz(endian) > MAX_DYNAMIC {
        return false;
    }
    let entries = dynamic.dynamic(endian, data);
    let entries = entries.ok().flatten().unwrap_or_default();
    entries
        .iter()
        .any(|entry| entry.d_tag(endian) == DT_FLAGS_1 && entry.d_val(endian) & DF_1_PIE.0 != 0)
}

/// A section's bytes, decompressed.
fn read<'a, R: ReadRef<'a>>(
    endian: LittleEndian,
    data: R,
    section: &object::elf::SectionHeader64<LittleEndian>,
    what: &'static str,
) -> Result<Section<'a>, Error> {
    let (_, size) = section.file_range(endian).unwrap_or_default();
    let compressed = section.compression(endian, data)?;
    let full = compressed.map_or(size, |(header, ..)| {
        use object::read::elf::CompressionHeader as _;
        header.ch_size(endian)
    });
    if size.max(full) > MAX_SECTION {
        return Err(Error::TooLarge {
            what,
            size: size.max(full),
            limit: MAX_SECTION,
        });
    }
    let data = match compressed {
        None => Cow::Borrowed(section.data(endian, data)?),
        Some((header, offset, packed)) => decompress(endian, data, header, offset, packed)?,
    };
    Ok(Section {
        address: section.sh_addr(endian),
        data,
    })
}

fn decompress<'a, R: ReadRef<'a>>(
    endian: LittleEndian,
    data: R,
    header: &object::elf::CompressionHeader64<LittleEndian>,
    offset: u64,
    size: u64,
) -> Result<Cow<'a, [u8]>, Error> {
    use object::read::elf::CompressionHeader as _;
    let format = match header.ch_type(endian) {
        object::elf::ELFCOMPRESS_ZLIB => object::CompressionFormat::Zlib,
        _ => return Ok(Cow::default()),
    };
    let range = object::CompressedFileRange {
        format,
        offset,
        compressed_size: size,
        uncompressed_size: header.ch_size(endian),
    };
    Ok(range.data(data)?.decompress()?)
}

/// `.eh_frame` of a file without section headers: the search table of
/// `PT_GNU_EH_FRAME` says where it begins, its own terminator where it ends.
fn unlisted_eh_frame<'a, R: ReadRef<'a>>(
    data: R,
    address: u64,
    offset: u64,
) -> Option<Section<'a>> {
    /// `DW_EH_PE_pcrel | DW_EH_PE_sdata4`, which all linkers write.
    const RELATIVE: u8 = 0x1b;
    let header = data.read_bytes_at(offset, 8).ok()?;
    let [1, RELATIVE, _, _, pointer @ ..] = header else {
        return None;
    };
    let distance = i64::from(i32::from_le_bytes(pointer.try_into().ok()?)) + 4;
    let start = offset.checked_add_signed(distance)?;
    let size = data.len().ok()?.checked_sub(start)?.min(MAX_SECTION);
    Some(Section {
        address: address.wrapping_add_signed(distance),
        data: Cow::Borrowed(data.read_bytes_at(start, size).ok()?),
    })
}
