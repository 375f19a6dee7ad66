//! The dynamic section: what the dynamic linker goes by.

use super::{Elf, Error, LE, Segment, pod};
use object::LittleEndian;
use object::elf::{Dyn64, DynamicTag};

/// Entries of a dynamic section that are read; libraries have some 30.
const MAX_ENTRIES: u64 = 4096;

const SIZE: u64 = size_of::<Dyn64<LittleEndian>>() as u64;

/// Tags and their values, up to the one that ends them.
#[derive(Debug, Default)]
pub struct Dynamic(Vec<(DynamicTag, u64)>);

impl Dynamic {
    /// Values of a tag (`DT_*`), in the order of the file.
    pub fn all(&self, wanted: DynamicTag) -> impl Iterator<Item = u64> {
        let wanted = move |&&(tag, _): &&(DynamicTag, u64)| tag == wanted;
        self.0.iter().filter(wanted).map(|&(_, value)| value)
    }

    /// The first value of a tag.
    #[must_use]
    pub fn first(&self, wanted: DynamicTag) -> Option<u64> {
        self.all(wanted).next()
    }

    /// Whether flags of the first kind are among those that stand under a tag.
    #[must_use]
    pub fn has(&self, tag: DynamicTag, flags: u64) -> bool {
        self.all(tag).any(|found| found & flags != 0)
    }
}

impl Elf {
    /// The dynamic section, empty if there is none. It is read once.
    ///
    /// # Errors
    /// Where it lies outside the file, as that of a separate debug file may.
    pub fn dynamic(&self) -> Result<&Dynamic, Error> {
        let read = || match self.segment_of_kind(object::elf::PT_DYNAMIC) {
            None => Some(Dynamic::default()),
            Some(segment) => self.read_dynamic(segment),
        };
        let found = self.dynamic.get_or_init(read).as_ref();
        found.ok_or(Error::Malformed("dynamic section outside the file"))
    }

    fn read_dynamic(&self, segment: &Segment) -> Option<Dynamic> {
        let size = (segment.size / SIZE).min(MAX_ENTRIES) * SIZE;
        let bytes = self.source.read(segment.offset, size).ok()?;
        let entries = bytes.chunks_exact(SIZE as usize).map_while(pod);
        let entries =
            entries.map(|entry: Dyn64<LittleEndian>| (entry.d_tag.get(LE), entry.d_val.get(LE)));
        let ends = |&(tag, _): &(DynamicTag, u64)| tag != object::elf::DT_NULL;
        Some(Dynamic(entries.take_while(ends).collect()))
    }

    /// A string of the dynamic string table.
    ///
    /// # Errors
    /// Where there is none at that offset.
    pub fn dynamic_string(&self, offset: u64) -> Result<Vec<u8>, Error> {
        let table = self.dynamic()?.first(object::elf::DT_STRTAB);
        let table = self.file_offset(table.ok_or(Error::Malformed("no string table"))?)?;
        let at = table.checked_add(offset);
        self.string(at.ok_or(Error::Malformed("table outside the file"))?)
    }
}
