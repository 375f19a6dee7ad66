//! A program or a library, as the dynamic linker sees it.

use super::ObjectError;
use crate::files::elf::Segment;
use crate::files::{Elf, FileId, Source, regular};
use object::elf::{DF_1_NODEFLIB, DT_FLAGS_1, DT_NEEDED, DT_RPATH, DT_RUNPATH};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// Largest executable segment that is read whole.
const MAX_TEXT: u64 = 512 << 20;

/// A file that can be executed or loaded.
#[derive(Debug)]
pub(super) struct Program {
    /// Where it was opened.
    pub(super) path: PathBuf,
    /// Which file it is.
    pub(super) id: FileId,
    /// The program interpreter it asks for.
    pub(super) interpreter: Option<PathBuf>,
    /// Its headers.
    pub(super) elf: Elf,
}

impl Program {
    /// Opens a file and reads its headers.
    pub(super) fn open(path: &Path) -> Result<Self, ObjectError> {
        let file = regular(path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => ObjectError::NotElf,
            _ => ObjectError::Io(error),
        })?;
        let found = file.metadata().map_err(ObjectError::Io)?;
        let elf = Elf::parse(Source::of(file).map_err(ObjectError::Io)?)?;
        // What the dynamic linker could not go by is refused here, and not at each question.
        elf.dynamic()?;
        let interpreter = elf.interpreter()?.map(OsString::from_vec);
        Ok(Self {
            path: path.to_owned(),
            id: FileId::of(&found),
            interpreter: interpreter.map(PathBuf::from),
            elf,
        })
    }

    /// The libraries it names, in order.
    pub(super) fn needed(&self) -> impl Iterator<Item = Vec<u8>> {
        self.strings(DT_NEEDED)
    }

    /// DT_RPATH.
    pub(super) fn rpath(&self) -> Option<Vec<u8>> {
        self.strings(DT_RPATH).next()
    }

    /// DT_RUNPATH.
    pub(super) fn runpath(&self) -> Option<Vec<u8>> {
        self.strings(DT_RUNPATH).next()
    }

    /// Whether it was linked with `-z nodefaultlib`.
    pub(super) fn without_default_directories(&self) -> bool {
        let dynamic = self.elf.dynamic().ok();
        dynamic.is_some_and(|dynamic| dynamic.has(DT_FLAGS_1, DF_1_NODEFLIB.0))
    }

    fn strings(&self, tag: object::elf::DynamicTag) -> impl Iterator<Item = Vec<u8>> {
        let dynamic = self.elf.dynamic().ok();
        let offsets = dynamic
            .into_iter()
            .flat_map(move |dynamic| dynamic.all(tag));
        offsets.filter_map(|offset| self.elf.dynamic_string(offset).ok())
    }

    /// Where an address of an executable segment is in the file.
    pub(super) fn code_offset(&self, address: u64) -> Option<u64> {
        self.segment(address)?.file_offset(address)
    }

    /// The executable segment around an address: where it begins, and its code.
    pub(super) fn code(&self, address: u64) -> Result<(u64, Vec<u8>), ObjectError> {
        let segment = self.segment(address);
        let segment = segment.ok_or(ObjectError::Malformed("symbol outside the code"))?;
        if segment.size > MAX_TEXT {
            return Err(ObjectError::Malformed("code segment too large"));
        }
        // A segment that claims more than the file has is read as far as it goes.
        let source = self.elf.source();
        let size = segment
            .size
            .min(source.len().saturating_sub(segment.offset));
        let code = source.read(segment.offset, size).map_err(ObjectError::Io)?;
        Ok((segment.address, code.into_owned()))
    }

    fn segment(&self, address: u64) -> Option<&Segment> {
        let holds = |s: &&Segment| s.is_code() && s.file_offset(address).is_some();
        self.elf.segments().iter().find(holds)
    }
}
