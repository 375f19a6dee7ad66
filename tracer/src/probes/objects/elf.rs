//! A small ELF reader for hostile files: every size is bounded, every offset
//! checked, nothing is mapped (a file cut short under us is an error, not SIGBUS).

mod symbols;

use super::ObjectError;
use crate::arch::{ELF_MACHINE, ELF_MACHINE_32};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const PF_X: u32 = 1;

const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
const DT_FLAGS_1: u64 = 0x6fff_fffb;
const DF_1_NODEFLIB: u64 = 0x800;

/// Longest path or symbol name that is read.
const MAX_STRING: usize = 4096;
/// Entries of a dynamic section that are read.
const MAX_DYNAMIC: usize = 4096;
/// Largest note segment that is read.
const MAX_NOTES: u64 = 1 << 16;
/// Largest executable segment that is read whole.
const MAX_TEXT: u64 = 512 << 20;

/// A 64-bit little-endian x86-64 executable or shared object.
#[derive(Debug)]
pub(super) struct Elf {
    /// Where it was opened.
    pub(super) path: PathBuf,
    /// Device and inode.
    pub(super) identity: (u64, u64),
    /// The program interpreter it asks for.
    pub(super) interpreter: Option<PathBuf>,
    file: File,
    segments: Vec<Segment>,
    notes: Vec<Segment>,
    dynamic: Vec<(u64, u64)>,
    sections: (u64, u16, u16),
}

/// A loadable segment.
#[derive(Clone, Copy, Debug)]
struct Segment {
    executable: bool,
    offset: u64,
    address: u64,
    file_size: u64,
}

impl Elf {
    /// Opens a file and reads its headers.
    pub(super) fn open(path: &Path) -> Result<Self, ObjectError> {
        let (file, metadata) = open_regular(path)?;
        let header: [u8; 64] = read(&file, 0).map_err(|error| match error {
            ObjectError::Malformed(_) => ObjectError::NotElf,
            other => other,
        })?;
        check_ident(&header)?;
        let mut elf = Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
            interpreter: None,
            file,
            segments: Vec::new(),
            notes: Vec::new(),
            dynamic: Vec::new(),
            sections: (
                u64_at(&header, 40),
                u16_at(&header, 58),
                u16_at(&header, 60),
            ),
        };
        elf.read_segments(
            u64_at(&header, 32),
            u16_at(&header, 54),
            u16_at(&header, 56),
        )?;
        Ok(elf)
    }

    fn read_segments(&mut self, offset: u64, size: u16, count: u16) -> Result<(), ObjectError> {
        if count > 0 && size != 56 {
            return Err(ObjectError::Malformed("program header size"));
        }
        let table = self.bytes(offset, usize::from(count) * 56)?;
        let mut dynamic = None;
        for header in table.chunks_exact(56) {
            let segment = Segment {
                executable: u32_at(header, 4) & PF_X != 0,
                offset: u64_at(header, 8),
                address: u64_at(header, 16),
                file_size: u64_at(header, 32),
            };
            match u32_at(header, 0) {
                PT_LOAD => self.segments.push(segment),
                PT_NOTE => self.notes.push(segment),
                PT_DYNAMIC => dynamic = Some(segment),
                PT_INTERP => {
                    let name = self.string_at(segment.offset)?;
                    self.interpreter = Some(path_from(name));
                }
                _ => {}
            }
        }
        if let Some(segment) = dynamic {
            self.read_dynamic(segment)?;
        }
        Ok(())
    }

    fn read_dynamic(&mut self, segment: Segment) -> Result<(), ObjectError> {
        let entries = usize::try_from(segment.file_size / 16).unwrap_or(usize::MAX);
        let bytes = self.bytes(segment.offset, entries.min(MAX_DYNAMIC) * 16)?;
        self.dynamic = bytes
            .chunks_exact(16)
            .map(|entry| (u64_at(entry, 0), u64_at(entry, 8)))
            .take_while(|&(tag, _)| tag != 0)
            .collect();
        Ok(())
    }

    /// The GNU build-id in hexadecimal; empty where there is none.
    pub(super) fn build_id(&self) -> String {
        let notes = self
            .notes
            .iter()
            .filter(|notes| notes.file_size <= MAX_NOTES);
        notes
            .filter_map(|notes| self.bytes(notes.offset, notes.file_size as usize).ok())
            .find_map(|notes| build_id(&notes))
            .unwrap_or_default()
    }

    /// Whether it is run without a dynamic linker.
    pub(super) fn is_static(&self) -> bool {
        self.interpreter.is_none() && self.tags(DT_NEEDED).next().is_none()
    }

    /// The libraries it names, in order.
    pub(super) fn needed(&self) -> impl Iterator<Item = Vec<u8>> {
        self.tags(DT_NEEDED).filter_map(|offset| self.name(offset))
    }

    /// DT_RPATH.
    pub(super) fn rpath(&self) -> Option<Vec<u8>> {
        self.name(self.tags(DT_RPATH).next()?)
    }

    /// DT_RUNPATH.
    pub(super) fn runpath(&self) -> Option<Vec<u8>> {
        self.name(self.tags(DT_RUNPATH).next()?)
    }

    /// Whether it was linked with `-z nodefaultlib`.
    pub(super) fn without_default_directories(&self) -> bool {
        self.tags(DT_FLAGS_1)
            .any(|flags| flags & DF_1_NODEFLIB != 0)
    }

    /// Where an address of an executable segment is in the file.
    pub(super) fn file_offset(&self, address: u64) -> Option<u64> {
        self.text_segment(address)
            .and_then(|segment| segment.offset.checked_add(address - segment.address))
    }

    /// The executable segment around an address: where it begins, and its code.
    pub(super) fn text(&self, address: u64) -> Result<(u64, Vec<u8>), ObjectError> {
        let segment = self
            .text_segment(address)
            .ok_or(ObjectError::Malformed("symbol outside the code"))?;
        if segment.file_size > MAX_TEXT {
            return Err(ObjectError::Malformed("code segment too large"));
        }
        // A segment that claims more than the file has is read as far as it goes.
        let length = self.file.metadata().map_err(ObjectError::Io)?.len();
        let size = segment.file_size.min(length.saturating_sub(segment.offset));
        Ok((segment.address, self.bytes(segment.offset, size as usize)?))
    }

    fn text_segment(&self, address: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| {
            segment.executable
                && address
                    .checked_sub(segment.address)
                    .is_some_and(|within| within < segment.file_size)
        })
    }

    fn tags(&self, wanted: u64) -> impl Iterator<Item = u64> {
        self.dynamic
            .iter()
            .filter(move |&&(tag, _)| tag == wanted)
            .map(|&(_, value)| value)
    }

    /// A string of the dynamic string table.
    fn name(&self, offset: u64) -> Option<Vec<u8>> {
        let table = self.loaded(self.tags(DT_STRTAB).next()?).ok()?;
        self.string_at(table.checked_add(offset)?).ok()
    }

    /// Where a loaded address is in the file.
    fn loaded(&self, address: u64) -> Result<u64, ObjectError> {
        self.segments
            .iter()
            .find_map(|segment| {
                let within = address.checked_sub(segment.address)?;
                (within < segment.file_size).then(|| segment.offset.checked_add(within))?
            })
            // Sums with 32-bit counts must not overflow.
            .filter(|&offset| offset < 1 << 62)
            .ok_or(ObjectError::Malformed("address in no segment"))
    }

    fn words<const N: usize>(&self, offset: u64) -> Result<[u32; N], ObjectError> {
        let bytes = self.bytes(offset, N * 4)?;
        Ok(std::array::from_fn(|at| u32_at(&bytes, at * 4)))
    }

    fn string_at(&self, offset: u64) -> Result<Vec<u8>, ObjectError> {
        let mut bytes = vec![0; 256];
        loop {
            let got = read_up_to(&self.file, &mut bytes, offset).map_err(ObjectError::Io)?;
            if let Some(end) = bytes[..got].iter().position(|&byte| byte == 0) {
                bytes.truncate(end);
                return Ok(bytes);
            }
            if got < bytes.len() || bytes.len() >= MAX_STRING {
                return Err(ObjectError::Malformed("string without an end"));
            }
            bytes.resize(MAX_STRING, 0);
        }
    }

    fn bytes(&self, offset: u64, size: usize) -> Result<Vec<u8>, ObjectError> {
        let length = self.file.metadata().map_err(ObjectError::Io)?.len();
        if offset
            .checked_add(size as u64)
            .is_none_or(|end| end > length)
        {
            return Err(ObjectError::Malformed("table outside the file"));
        }
        let mut bytes = vec![0; size];
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(ObjectError::Io(error)),
        }
    }
}

/// Opens a regular file. A path of the target's choice may be a device or a
/// FIFO, which to open can have effects or never return: so it is looked at first.
fn open_regular(path: &Path) -> Result<(File, std::fs::Metadata), ObjectError> {
    let mut look = File::options();
    let look = look.read(true).custom_flags(libc::O_PATH).open(path);
    let look = look.map_err(ObjectError::Io)?;
    let metadata = look.metadata().map_err(ObjectError::Io)?;
    if !metadata.is_file() {
        return Err(ObjectError::NotElf);
    }
    let file = File::open(format!("/proc/self/fd/{}", look.as_raw_fd()));
    Ok((file.map_err(ObjectError::Io)?, metadata))
}

/// Refuses everything but ELF for x86-64.
fn check_ident(header: &[u8; 64]) -> Result<(), ObjectError> {
    let machine = u16_at(header, 18);
    match (&header[..4], header[4], header[5], machine) {
        (b"\x7fELF", 2, 1, ELF_MACHINE) => Ok(()),
        (b"\x7fELF", 1, 1, ELF_MACHINE_32 | ELF_MACHINE) => Err(ObjectError::Bits32),
        (b"\x7fELF", ..) => Err(ObjectError::Machine(machine)),
        _ => Err(ObjectError::NotElf),
    }
}

/// The first NT_GNU_BUILD_ID among notes (gABI, "Note Section").
fn build_id(mut notes: &[u8]) -> Option<String> {
    const NT_GNU_BUILD_ID: u32 = 3;
    while notes.len() >= 12 {
        let name = u32_at(notes, 0) as usize;
        let description = 12 + name.checked_next_multiple_of(4)?;
        let end = description.checked_add(u32_at(notes, 4) as usize)?;
        let bytes = notes.get(description..end)?;
        if u32_at(notes, 8) == NT_GNU_BUILD_ID && notes.get(12..12 + name)? == b"GNU\0" {
            return Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
    None
}

fn read<const N: usize>(file: &File, offset: u64) -> Result<[u8; N], ObjectError> {
    let mut bytes = [0; N];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(ObjectError::Malformed("table outside the file"))
        }
        Err(error) => Err(ObjectError::Io(error)),
    }
}

fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], offset.saturating_add(got as u64)) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

fn path_from(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

// The callers' slices are long enough by construction; short ones read as 0.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .map_or(0, |b| u32::from_le_bytes(b.try_into().unwrap_or_default()))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap_or_default()))
}
