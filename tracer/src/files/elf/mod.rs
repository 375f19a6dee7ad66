//! A reader of ELF for hostile files: every size is bounded, every offset checked, nothing is
//! mapped into memory. See the System V ABI, chapters 4 and 5.
//!
//! The layout of its structures is the `object` crate's; what is read when, and how much of it, is
//! decided here. Only 64-bit little-endian files of this machine are read.

mod dynamic;
mod lookup;
mod notes;
mod sections;
mod symbols;

use super::source::Source;
use crate::arch::{ELF_MACHINE, ELF_MACHINE_32, PAGE};
pub use dynamic::Dynamic;
pub use lookup::Function;
use object::LittleEndian;
use object::elf::{FileHeader64, ProgramHeader64};
pub use sections::Section;
use std::cell::{Cell, OnceCell};
use std::io;
pub use symbols::{Symbol, SymbolTable};

/// All that is read here is little-endian.
const LE: LittleEndian = LittleEndian;

/// Bytes of sections that are read of one file, decompressed: a sparse file costs its owner nothing
/// and must not cost us our memory.
const ALLOWANCE: u64 = 3 << 30;

/// Longest path or name that is read.
const MAX_NAME: u64 = 4096;

/// The headers of an ELF file, and the rest of it on demand.
#[derive(Debug)]
pub struct Elf {
    source: Source,
    /// Where a process begins to run it.
    entry: u64,
    /// `ET_EXEC`: an executable at a fixed address.
    is_fixed: bool,
    segments: Vec<Segment>,
    table: sections::Table,
    sections: OnceCell<Vec<Section>>,
    dynamic: OnceCell<Option<Dynamic>>,
    allowance: Cell<u64>,
}

/// A program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `PT_*`
    pub kind: u32,
    /// `PF_*`
    pub flags: u32,
    /// Where it is loaded.
    pub address: u64,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// How many bytes it has in the file.
    pub size: u64,
    /// Its alignment.
    pub align: u64,
}

impl Segment {
    /// Whether it is loaded.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.kind == object::elf::PT_LOAD.0
    }

    /// Whether it is loaded as code.
    #[must_use]
    pub fn is_code(&self) -> bool {
        self.is_loaded() && self.flags & object::elf::PF_X.0 != 0
    }

    /// Where a loaded address is in the file.
    #[must_use]
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        let within = address.checked_sub(self.address)?;
        (within < self.size).then(|| self.offset.checked_add(within))?
    }
}

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading failed.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// It is no ELF file.
    #[error("not an ELF file")]
    NotElf,
    /// It is for 32-bit x86 or x32.
    #[error("a 32-bit program: only x86-64 programs can be traced")]
    Bits32,
    /// It is for another machine (`e_machine`).
    #[error("a program for another machine (ELF machine {0}): only x86-64 programs can be traced")]
    Machine(u16),
    /// It contradicts itself.
    #[error("malformed ELF file: {0}")]
    Malformed(&'static str),
}

impl Elf {
    /// Reads the headers.
    ///
    /// # Errors
    /// Where it is no ELF file of this machine, or its program headers lie outside of it.
    pub fn parse(source: Source) -> Result<Self, Error> {
        let bytes = source.read(0, 64).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::NotElf,
            _ => Error::Io(error),
        })?;
        let header = pod::<FileHeader64<LittleEndian>>(&bytes).ok_or(Error::NotElf)?;
        check(&header, &bytes)?;
        Ok(Self {
            entry: header.e_entry.get(LE),
            is_fixed: header.e_type.get(LE) == object::elf::ET_EXEC,
            segments: segments(&source, &header)?,
            table: sections::Table::of(&header),
            sections: OnceCell::new(),
            dynamic: OnceCell::new(),
            allowance: Cell::new(ALLOWANCE),
            source,
        })
    }

    /// The bytes themselves.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Program headers, in the order of the file.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The first program header of a kind (`PT_*`).
    #[must_use]
    pub fn segment_of_kind(&self, kind: object::elf::ProgramType) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.kind == kind.0)
    }

    /// Where a process begins to run it, as linked.
    #[must_use]
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// Whether it can only be loaded where it was linked for (`ET_EXEC`): a program, by that.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// The program interpreter that it asks for.
    ///
    /// # Errors
    /// Where its name can't be read.
    pub fn interpreter(&self) -> Result<Option<Vec<u8>>, Error> {
        let segment = self.segment_of_kind(object::elf::PT_INTERP);
        segment.map(|found| self.string(found.offset)).transpose()
    }

    /// The address, as the file counts them, of a byte at an offset of the file. Mappings are whole
    /// pages, so a segment's pages count, not just its bytes.
    #[must_use]
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        let loads = || self.segments.iter().filter(|segment| segment.is_loaded());
        let within = |s: &&Segment| offset.checked_sub(s.offset).is_some_and(|d| d < s.size);
        let in_pages = |s: &&Segment| {
            let page = s.align.clamp(1, 1 << 21).min(PAGE);
            let begin = s.offset - s.offset % page;
            let end = s.offset.saturating_add(s.size);
            (begin..end.saturating_add(page - 1) / page * page).contains(&offset)
        };
        let segment = loads().find(within).or_else(|| loads().find(in_pages))?;
        let inside = offset.wrapping_sub(segment.offset);
        Some(segment.address.wrapping_add(inside))
    }

    /// Where a loaded address is in the file.
    ///
    /// # Errors
    /// Where no segment is loaded there.
    pub fn file_offset(&self, address: u64) -> Result<u64, Error> {
        let mut loads = self.segments.iter().filter(|segment| segment.is_loaded());
        let found = loads.find_map(|segment| segment.file_offset(address));
        // Sums with 32-bit counts must not overflow.
        let found = found.filter(|&offset| offset < 1 << 62);
        found.ok_or(Error::Malformed("address in no segment"))
    }

    /// A zero-ended string at an offset of the file.
    fn string(&self, offset: u64) -> Result<Vec<u8>, Error> {
        let found = self.source.string(offset, MAX_NAME).map_err(outside)?;
        found.ok_or(Error::Malformed("string without an end"))
    }

    fn bytes(&self, offset: u64, size: u64) -> Result<std::borrow::Cow<'_, [u8]>, Error> {
        self.source.read(offset, size).map_err(outside)
    }
}

/// What a read beyond the end of the file says of the file.
fn outside(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::FileTooLarge => {
            Error::Malformed("table outside the file")
        }
        _ => Error::Io(error),
    }
}

/// Refuses everything but ELF of this machine.
fn check(header: &FileHeader64<LittleEndian>, bytes: &[u8]) -> Result<(), Error> {
    let machine = header.e_machine.get(LE).0;
    match (
        bytes.get(..4),
        header.e_ident.class.0,
        header.e_ident.data.0,
    ) {
        (Some(b"\x7fELF"), 2, 1) if machine == ELF_MACHINE => Ok(()),
        (Some(b"\x7fELF"), 1, 1) if [ELF_MACHINE_32, ELF_MACHINE].contains(&machine) => {
            Err(Error::Bits32)
        }
        (Some(b"\x7fELF"), ..) => Err(Error::Machine(machine)),
        _ => Err(Error::NotElf),
    }
}

fn segments(source: &Source, header: &FileHeader64<LittleEndian>) -> Result<Vec<Segment>, Error> {
    const SIZE: usize = size_of::<ProgramHeader64<LittleEndian>>();
    let count = header.e_phnum.get(LE);
    if count == 0 {
        return Ok(Vec::new());
    }
    if usize::from(header.e_phentsize.get(LE)) != SIZE {
        return Err(Error::Malformed("program header size"));
    }
    let length = u64::from(count) * SIZE as u64;
    let table = source
        .read(header.e_phoff.get(LE), length)
        .map_err(outside)?;
    let entries = table.chunks_exact(SIZE).filter_map(pod);
    let segment = |entry: ProgramHeader64<LittleEndian>| Segment {
        kind: entry.p_type.get(LE).0,
        flags: entry.p_flags.get(LE).0,
        address: entry.p_vaddr.get(LE),
        offset: entry.p_offset.get(LE),
        size: entry.p_filesz.get(LE),
        align: entry.p_align.get(LE),
    };
    Ok(entries.map(segment).collect())
}

/// A structure of the `object` crate at the beginning of some bytes.
fn pod<T: object::Pod + Copy>(bytes: &[u8]) -> Option<T> {
    object::from_bytes(bytes).ok().map(|(found, _)| *found)
}
