//! Sections: found by their names, and unpacked.

use super::{ALLOWANCE, Elf, Error, LE, outside, pod};
use crate::files::source::{PIECE, text};
use object::elf::{CompressionHeader64, FileHeader64, SectionHeader64};
use object::{CompressedData, CompressionFormat, LittleEndian};
use std::borrow::Cow;
use std::ops::Range;

/// How names of sections begin that are packed as gcc did before ELF knew how: `ZLIB`, the size
/// with its highest byte first, a zlib stream.
const PACKED: &str = ".zdebug_";

/// More of them is no file that a linker wrote.
const MAX_SECTIONS: u64 = 1 << 20;

const SIZE: u64 = size_of::<SectionHeader64<LittleEndian>>() as u64;
const COMPRESSION: usize = size_of::<CompressionHeader64<LittleEndian>>();

/// A section header.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name, cut at what is not UTF-8.
    pub name: String,
    /// `SHT_*`
    pub kind: u32,
    /// `SHF_*`
    flags: u64,
    /// Address of its first byte.
    pub address: u64,
    /// Where it is in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub size: u64,
    /// Index of the section that it refers to (a symbol table's strings).
    pub link: u32,
}

impl Section {
    /// Whether its bytes are not all in the file, although it says so.
    #[must_use]
    pub fn is_outside(&self, elf: &Elf) -> bool {
        let end = self.offset.checked_add(self.size);
        let inside = end.is_some_and(|end| end <= elf.source().len());
        self.kind != object::elf::SHT_NOBITS.0 && !inside
    }
}

/// Where the section headers are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    offset: u64,
    entry: u16,
    count: u16,
    names: u16,
}

impl Table {
    pub(super) fn of(header: &FileHeader64<LittleEndian>) -> Self {
        Self {
            offset: header.e_shoff.get(LE),
            entry: header.e_shentsize.get(LE),
            count: header.e_shnum.get(LE),
            names: header.e_shstrndx.get(LE).0,
        }
    }
}

impl Elf {
    /// Sections, in the order of the file; none where it is stripped even of its section headers,
    /// or cut short.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        self.sections
            .get_or_init(|| self.read_sections().unwrap_or_default())
    }

    /// A section by its name; what older compilers packed as `.zdebug_info` is `.debug_info`.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        let named = |name: &str| self.sections().iter().find(|section| section.name == name);
        named(name).or_else(|| named(&format!("{PACKED}{}", name.strip_prefix(".debug_")?)))
    }

    /// The first section of a kind (`SHT_*`).
    pub(super) fn section_of_kind(&self, kind: object::elf::SectionType) -> Option<&Section> {
        self.sections().iter().find(|found| found.kind == kind.0)
    }

    /// Addresses of sections that hold code.
    #[must_use]
    pub fn code(&self) -> Vec<Range<u64>> {
        let code = |s: &&Section| s.flags & object::elf::SHF_EXECINSTR.0 != 0;
        let range = |s: &Section| s.address..s.address.saturating_add(s.size);
        self.sections().iter().filter(code).map(range).collect()
    }

    /// How many bytes [`Elf::data`] gives, if it gives any: nothing is unpacked for that.
    #[must_use]
    pub fn unpacked_size(&self, section: &Section) -> Option<u64> {
        if section.kind == object::elf::SHT_NOBITS.0 {
            return None;
        }
        let head = |length: usize| self.source.read(section.offset, length as u64).ok();
        if section.name.starts_with(PACKED)
            && let Some((b"ZLIB", size)) = head(12)?.split_first_chunk()
        {
            return Some(u64::from_be_bytes(size.try_into().ok()?));
        }
        if section.flags & object::elf::SHF_COMPRESSED.0 == 0 {
            return Some(section.size);
        }
        let header = pod::<CompressionHeader64<LittleEndian>>(&head(COMPRESSION)?)?;
        Some(header.ch_size.get(LE))
    }

    /// What a section holds, unpacked; nothing where it can't be had, or is larger than [`PIECE`]
    /// or than what is left of the file's allowance.
    #[must_use]
    pub fn data(&self, section: &Section) -> Option<Cow<'_, [u8]>> {
        let size = self.unpacked_size(section)?;
        self.spend(section.size)?;
        let data = self.source.read(section.offset, section.size).ok()?;
        if section.flags & object::elf::SHF_COMPRESSED.0 != 0 {
            self.spend(size)?;
            return decompress(&data).map(Cow::Owned);
        }
        if section.name.starts_with(PACKED) && data.starts_with(b"ZLIB") {
            self.spend(size)?;
            let packed = data.get(12..)?;
            return unpack(CompressionFormat::Zlib, packed, size).map(Cow::Owned);
        }
        Some(data)
    }

    fn spend(&self, bytes: u64) -> Option<()> {
        self.allowance.set(self.allowance.get().checked_sub(bytes)?);
        Some(())
    }

    fn read_sections(&self) -> Result<Vec<Section>, Error> {
        let Table {
            offset,
            entry,
            count,
            names,
        } = self.table;
        if offset == 0 || u64::from(entry) != SIZE {
            return Err(Error::Malformed("section header size"));
        }
        // Numbers that do not fit the header stand in the first entry.
        let first = pod::<SectionHeader64<LittleEndian>>(&self.bytes(offset, SIZE)?);
        let first = first.ok_or(Error::Malformed("section headers"))?;
        let count = match count {
            0 => first.sh_size.get(LE),
            count => count.into(),
        };
        let names = match names {
            0xffff => first.sh_link.get(LE),
            names => names.into(),
        };
        if count > MAX_SECTIONS {
            return Err(Error::Malformed("too many sections"));
        }
        let table = self.bytes(offset, SIZE * count)?;
        let entries = table.chunks_exact(SIZE as usize).filter_map(pod);
        let headers: Vec<SectionHeader64<LittleEndian>> = entries.collect();
        let strings = headers
            .get(names as usize)
            .ok_or(Error::Malformed("names of sections"))?;
        let (at, length) = (strings.sh_offset.get(LE), strings.sh_size.get(LE));
        if length > ALLOWANCE {
            return Err(Error::Malformed("names of sections"));
        }
        let strings = self.source.read(at, length).map_err(outside)?;
        let section = |header: &SectionHeader64<LittleEndian>| {
            let name = text(&strings, header.sh_name.get(LE).into(), 64);
            Section {
                name: String::from_utf8_lossy(name).into_owned(),
                kind: header.sh_type.get(LE).0,
                flags: header.sh_flags.get(LE).0,
                address: header.sh_addr.get(LE),
                offset: header.sh_offset.get(LE),
                size: header.sh_size.get(LE),
                link: header.sh_link.get(LE),
            }
        };
        Ok(headers.iter().map(section).collect())
    }
}

/// Unpacks a section as its header says.
fn decompress(data: &[u8]) -> Option<Vec<u8>> {
    let header = pod::<CompressionHeader64<LittleEndian>>(data)?;
    let format = match header.ch_type.get(LE) {
        object::elf::ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
        object::elf::ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
        _ => return None,
    };
    unpack(format, data.get(COMPRESSION..)?, header.ch_size.get(LE))
}

/// Unpacks bytes. Memory is taken for as much as their header claims: DWARF shrinks to a third as a
/// rule, to a twentieth at most, and what claims far more is left out.
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
