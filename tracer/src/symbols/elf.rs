//! The parts of an ELF file that symbols need: segments, sections, build-id.
//!
//! Only 64-bit little-endian files (the tracer runs on x86-64). Every number
//! in the file is doubted: see the System V ABI, chapters 4 and 5.

use super::source::{PIECE, Source, number};
use crate::arch::PAGE;
use object::{CompressedData, CompressionFormat};
use std::cell::Cell;
use std::fmt::Write;
use std::fs::File;

/// How names of sections begin that are packed as gcc did before ELF knew how: `ZLIB`, the
/// size with its highest byte first, a zlib stream.
const PACKED: &str = ".zdebug_";
const PT_LOAD: u64 = 1;
const PT_NOTE: u64 = 4;
const SHT_NOBITS: u64 = 8;
const SHF_EXECINSTR: u64 = 4;
const SHF_COMPRESSED: u64 = 0x800;
const NT_GNU_BUILD_ID: u64 = 3;
/// More of either is no file that a linker wrote.
const MAX_HEADERS: u64 = 1 << 20;
const MAX_NOTES: u64 = 1 << 20;
/// Bytes of sections that are read of one file, decompressed: a sparse file
/// costs its owner nothing and must not cost us our memory.
const ALLOWANCE: u64 = 3 << 30;

/// The headers of an ELF file, and its bytes on demand.
#[derive(Debug)]
pub(crate) struct Elf {
    source: Source,
    allowance: Cell<u64>,
    segments: Vec<Segment>,
    sections: Vec<Section>,
}

#[derive(Debug)]
struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    file_size: u64,
    align: u64,
}

/// A section header.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// Its name, cut at what is not UTF-8.
    pub name: String,
    /// `SHT_*`
    pub kind: u64,
    flags: u64,
    /// Address of its first byte.
    pub address: u64,
    offset: u64,
    /// Bytes in the file.
    pub size: u64,
    /// Index of the section it refers to (a symbol table's strings).
    pub link: u64,
}

impl Elf {
    /// Reads the headers; nothing where the file is not such a file.
    pub(crate) fn parse(source: Source) -> Option<Self> {
        let header = source.read(0, 64)?;
        // Magic, 64 bits, little-endian, version 1.
        if header.get(..7)? != b"\x7fELF\x02\x01\x01" {
            return None;
        }
        let mut elf = Self {
            segments: segments(&source, &header)?,
            sections: Vec::new(),
            allowance: Cell::new(ALLOWANCE),
            source,
        };
        // A file may be stripped even of its section headers, or be cut short.
        elf.sections = sections(&elf.source, &header).unwrap_or_default();
        Some(elf)
    }

    /// The address, as the file counts them, of a byte at an offset of the file.
    /// Mappings are whole pages, so a segment's pages count, not just its bytes.
    pub(crate) fn address_of(&self, offset: u64) -> Option<u64> {
        let loads = || self.segments.iter().filter(|s| s.kind == PT_LOAD);
        let within = |s: &&Segment| {
            offset
                .checked_sub(s.offset)
                .is_some_and(|d| d < s.file_size)
        };
        let in_pages = |s: &&Segment| {
            let page = s.align.clamp(1, 1 << 21).min(PAGE);
            let begin = s.offset - s.offset % page;
            let end = s.offset.saturating_add(s.file_size);
            (begin..end.saturating_add(page - 1) / page * page).contains(&offset)
        };
        let segment = loads().find(within).or_else(|| loads().find(in_pages))?;
        Some(
            offset
                .wrapping_sub(segment.offset)
                .wrapping_add(segment.address),
        )
    }

    /// A section by its name; what older compilers packed as `.zdebug_info` is
    /// `.debug_info`.
    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        let named = |name: &str| self.sections.iter().find(|section| section.name == name);
        named(name).or_else(|| named(&format!("{PACKED}{}", name.strip_prefix(".debug_")?)))
    }

    /// A section by its number.
    pub(crate) fn section_at(&self, index: u64) -> Option<&Section> {
        self.sections.get(usize::try_from(index).ok()?)
    }

    /// The first section of a kind.
    pub(crate) fn section_of_kind(&self, kind: u64) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind)
    }

    /// Addresses of sections that hold code.
    pub(crate) fn code(&self) -> Vec<std::ops::Range<u64>> {
        let code = |s: &&Section| s.flags & SHF_EXECINSTR != 0;
        let range = |s: &Section| s.address..s.address.saturating_add(s.size);
        self.sections.iter().filter(code).map(range).collect()
    }

    /// What a section holds, decompressed; nothing where it can't be had or is
    /// larger than [`PIECE`] or than what is left of the file's allowance.
    pub(crate) fn data(&self, section: &Section) -> Option<Vec<u8>> {
        if section.kind == SHT_NOBITS {
            return None;
        }
        self.spend(section.size)?;
        let data = self.source.read(section.offset, section.size)?;
        if section.name.starts_with(PACKED) && data.starts_with(b"ZLIB") {
            let size = u64::from_be_bytes(data.get(4..12)?.try_into().ok()?);
            self.spend(size)?;
            return unpack(CompressionFormat::Zlib, data.get(12..)?, size);
        }
        if section.flags & SHF_COMPRESSED == 0 {
            return Some(data);
        }
        self.spend(number::<8>(&data, 8)?)?;
        decompress(&data)
    }

    fn spend(&self, bytes: u64) -> Option<()> {
        self.allowance.set(self.allowance.get().checked_sub(bytes)?);
        Some(())
    }

    /// The GNU build-id in hexadecimal.
    pub(crate) fn build_id(&self) -> Option<String> {
        let notes = self.segments.iter().filter(|s| s.kind == PT_NOTE);
        let data = notes.filter_map(|s| {
            let size = s.file_size.min(MAX_NOTES);
            Some((self.source.read(s.offset, size)?, s.align))
        });
        let found = data.filter_map(|(data, align)| find_build_id(&data, align));
        let from_section = || {
            let section = self.section(".note.gnu.build-id")?;
            find_build_id(
                &self
                    .source
                    .read(section.offset, section.size.min(MAX_NOTES))?,
                4,
            )
        };
        found.into_iter().next().or_else(from_section)
    }

    /// The bytes themselves, to compute a checksum over.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }
}

/// GNU build-id of an ELF file, in hexadecimal; nothing where it has none or
/// is no ELF file. Reads a few kilobytes.
#[must_use]
pub fn build_id(file: &File) -> Option<String> {
    let length = file.metadata().ok()?.len();
    Elf::parse(Source::File(file.try_clone().ok()?, length))?.build_id()
}

fn segments(source: &Source, header: &[u8]) -> Option<Vec<Segment>> {
    let (offset, size) = (number::<8>(header, 32)?, number::<2>(header, 54)?);
    let count = number::<2>(header, 56)?;
    if count == 0 {
        return Some(Vec::new());
    }
    if size < 56 {
        return None;
    }
    let table = source.read(offset, size * count)?;
    let segment = |entry: &[u8]| {
        Some(Segment {
            kind: number::<4>(entry, 0)?,
            offset: number::<8>(entry, 8)?,
            address: number::<8>(entry, 16)?,
            file_size: number::<8>(entry, 32)?,
            align: number::<8>(entry, 48)?,
        })
    };
    table.chunks_exact(size as usize).map(segment).collect()
}

fn sections(source: &Source, header: &[u8]) -> Option<Vec<Section>> {
    let (offset, size) = (number::<8>(header, 40)?, number::<2>(header, 58)?);
    if offset == 0 || size < 64 {
        return None;
    }
    // Numbers that do not fit the header stand in the first entry.
    let first = source.read(offset, size)?;
    let count = match number::<2>(header, 60)? {
        0 => number::<8>(&first, 32)?,
        count => count,
    };
    let names = match number::<2>(header, 62)? {
        0xffff => number::<4>(&first, 40)?,
        names => names,
    };
    if count > MAX_HEADERS {
        return None;
    }
    let table = source.read(offset, size.checked_mul(count)?)?;
    let entries: Vec<&[u8]> = table.chunks_exact(size as usize).collect();
    let strings = entries.get(usize::try_from(names).ok()?)?;
    let strings = source.read(number::<8>(strings, 24)?, number::<8>(strings, 32)?)?;
    let section = |entry: &&[u8]| {
        Some(Section {
            name: string_at(&strings, number::<4>(entry, 0)?, 64),
            kind: number::<4>(entry, 4)?,
            flags: number::<8>(entry, 8)?,
            address: number::<8>(entry, 16)?,
            offset: number::<8>(entry, 24)?,
            size: number::<8>(entry, 32)?,
            link: number::<4>(entry, 40)?,
        })
    };
    entries.iter().map(section).collect()
}

/// A zero-ended string of at most `limit` bytes; empty where there is none.
fn string_at(strings: &[u8], offset: u64, limit: usize) -> String {
    String::from_utf8_lossy(bytes_at(strings, offset, limit)).into_owned()
}

/// Likewise, as bytes.
pub(crate) fn bytes_at(strings: &[u8], offset: u64, limit: usize) -> &[u8] {
    let tail = usize::try_from(offset).ok().and_then(|o| strings.get(o..));
    let tail = tail.unwrap_or_default();
    let tail = &tail[..tail.len().min(limit)];
    &tail[..tail.iter().position(|&b| b == 0).unwrap_or(tail.len())]
}

/// Unpacks a section.
fn decompress(data: &[u8]) -> Option<Vec<u8>> {
    // Elf64_Chdr: type, reserved, size, alignment.
    let format = match number::<4>(data, 0)? {
        1 => CompressionFormat::Zlib,
        2 => CompressionFormat::Zstandard,
        _ => return None,
    };
    let size = number::<8>(data, 8)?;
    unpack(format, data.get(24..)?, size)
}

/// Unpacks bytes. Memory is taken for as much as their header claims: DWARF shrinks
/// to a third as a rule, to a twentieth at most, and what claims far more is left out.
fn unpack(format: CompressionFormat, data: &[u8], uncompressed_size: u64) -> Option<Vec<u8>> {
    const MAX_RATIO: u64 = 100;
    const ANYWAY: u64 = 1 << 20;
    if uncompressed_size > PIECE.min(ANYWAY + (data.len() as u64 + 24) * MAX_RATIO) {
        return None;
    }
    let compressed = CompressedData {
        format,
        data,
        uncompressed_size,
    };
    Some(compressed.decompress().ok()?.into_owned())
}

/// The descriptor of the note (name `GNU`, type 3) among notes.
fn find_build_id(notes: &[u8], align: u64) -> Option<String> {
    let align = if align == 8 { 8 } else { 4 };
    let mut at = 0;
    loop {
        let name = number::<4>(notes, at)? as usize;
        let size = number::<4>(notes, at + 4)? as usize;
        let kind = number::<4>(notes, at + 8)?;
        let content = at.checked_add(12)?;
        let descriptor = content.checked_add(name)?.checked_next_multiple_of(align)?;
        let end = descriptor.checked_add(size)?;
        let bytes = notes.get(descriptor..end)?;
        // The hash is 20 bytes as a rule, and never as long as a path may be.
        if kind == NT_GNU_BUILD_ID && notes.get(content..content + name)? == b"GNU\0" {
            return (2..=64).contains(&size).then(|| hexadecimal(bytes));
        }
        at = end.checked_next_multiple_of(align)?;
    }
}

/// Bytes in hexadecimal, as build-ids are written.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section of zeros as Zstandard has it: four bytes for each 128 KiB.
    fn zeros(blocks: u32) -> Vec<u8> {
        const BLOCK: u32 = 128 << 10;
        let size = blocks * BLOCK;
        // Elf64_Chdr; then RFC 8878: magic, a single segment, its size, blocks that repeat a byte.
        let mut section = [2, u64::from(size), 1].map(u64::to_le_bytes).concat();
        section.extend(b"\x28\xb5\x2f\xfd\xa0");
        section.extend(size.to_le_bytes());
        for block in 1..=blocks {
            let header = BLOCK << 3 | 1 << 1 | u32::from(block == blocks);
            section.extend(&header.to_le_bytes()[..3]);
            section.push(0);
        }
        section
    }

    #[test]
    fn a_section_that_unpacks_to_far_more_than_it_has_is_left_out() {
        assert_eq!(decompress(&zeros(4)), Some(vec![0; 512 << 10]));
        assert_eq!(decompress(&zeros(9)), None);
        assert_eq!(decompress(&zeros(1000)), None);
    }
}
