//! The parts of a file that are only read where it has code without unwind
//! information.

use object::elf::{SHT_DYNSYM, SHT_SYMTAB, STT_FUNC};
use object::read::elf::{FileHeader as _, Sym as _};
use object::{LittleEndian, ReadRef};
use std::marker::PhantomData;

type Header = object::elf::FileHeader64<LittleEndian>;

/// Symbols that are looked at.
const MAX_SYMBOLS: usize = 1 << 20;

/// Bytes of their names that are looked at: a hostile file's may all have one
/// without an end.
const MAX_NAMES: usize = 64 << 20;

/// A file to read on in.
trait Read {
    /// Bytes at a file offset.
    fn bytes(&self, offset: u64, size: u64) -> Option<&[u8]>;
    /// Where its symbols say that functions begin.
    fn functions(&self) -> Vec<u64>;
}

/// The file that an image was parsed from, if there is one.
#[derive(Default)]
pub struct Source<'a>(Option<Box<dyn Read + 'a>>);

impl<'a> Source<'a> {
    /// The file behind `data`.
    #[must_use]
    pub fn new<R: ReadRef<'a> + 'a>(data: R) -> Self {
        Self(Some(Box::new(File(data, PhantomData))))
    }

    pub(super) fn bytes(&self, offset: u64, size: u64) -> Option<&[u8]> {
        self.0.as_ref()?.bytes(offset, size)
    }

    pub(super) fn functions(&self) -> Vec<u64> {
        self.0
            .as_ref()
            .map_or_else(Vec::new, |file| file.functions())
    }
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

struct File<'a, R>(R, PhantomData<&'a [u8]>);

impl<'a, R: ReadRef<'a>> Read for File<'a, R> {
    fn bytes(&self, offset: u64, size: u64) -> Option<&[u8]> {
        self.0.read_bytes_at(offset, size).ok()
    }

    fn functions(&self) -> Vec<u64> {
        // A file without symbols is one with fewer entries.
        functions(self.0).unwrap_or_default()
    }
}

fn functions<'a, R: ReadRef<'a>>(data: R) -> Option<Vec<u64>> {
    let header = Header::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, data).ok()?;
    let (mut found, mut names) = (Vec::new(), 0);
    for kind in [SHT_SYMTAB, SHT_DYNSYM] {
        let Ok(symbols) = sections.symbols(endian, data, kind) else {
            continue;
        };
        for symbol in symbols.iter().take(MAX_SYMBOLS) {
            if symbol.st_type() != STT_FUNC || symbol.is_undefined(endian) {
                continue;
            }
            let name = symbol.name(endian, symbols.strings()).unwrap_or_default();
            names += name.len();
            if names > MAX_NAMES {
                return None;
            }
            // What a compiler moved out of a function's way is a part of it.
            if !name.windows(5).any(|word| word == b".cold") {
                found.push(symbol.st_value(endian));
            }
        }
    }
    Some(found)
}
