//! Separate files with debug information, as distributions install them.

use crate::arch;
use crate::files::source::{PIECE, number, text};
use crate::files::{BuildId, Elf, Source, regular};
use std::path::Path;

/// Who opens the files beside the one that is read. What reads DWARF may not do it itself: see
/// `reader`.
pub(crate) trait DebugFiles {
    /// The ELF file at a path, if there is one.
    fn open(&mut self, path: &Path) -> Option<Elf>;

    /// The debug file of a build-id, if it was fetched before.
    fn cached(&mut self, id: &BuildId) -> Option<Elf>;

    /// Likewise, from a server.
    fn fetch(&mut self, id: &BuildId) -> Option<Elf>;
}

/// Where distributions put them.
const ROOT: &str = "/usr/lib/debug";

/// The separate debug file of an image that stood at `path`: found by its
/// build-id, else by its debug link (with the checksum that the link demands).
/// See GDB's manual, "Separate Debug Files". Servers are asked last, and not for
/// a file that has the information itself.
pub(crate) fn find(elf: &Elf, path: &str, files: &mut dyn DebugFiles) -> Option<Elf> {
    let local = find_below(Path::new(ROOT), elf, path, files);
    local.or_else(|| {
        let id = elf.build_id()?;
        let cached = files.cached(&id);
        let wanted = cached.is_none() && elf.section(".debug_info").is_none();
        if wanted { files.fetch(&id) } else { cached }
    })
}

/// Likewise, below another root.
pub(super) fn find_below(
    root: &Path,
    elf: &Elf,
    path: &str,
    files: &mut dyn DebugFiles,
) -> Option<Elf> {
    let id = elf.build_id();
    let by_id = id.and_then(|id| by_build_id(root, &id, files));
    by_id.or_else(|| by_link(root, elf, path, files))
}

fn by_build_id(root: &Path, id: &BuildId, files: &mut dyn DebugFiles) -> Option<Elf> {
    let (first, rest) = id.as_str().split_at_checked(2)?;
    let place = root
        .join(".build-id")
        .join(first)
        .join(format!("{rest}.debug"));
    let found = files.open(&place)?;
    (found.build_id().as_ref() == Some(id)).then_some(found)
}

fn by_link(root: &Path, elf: &Elf, path: &str, files: &mut dyn DebugFiles) -> Option<Elf> {
    let link = elf.data(elf.section(".gnu_debuglink")?)?;
    let name = text(&link, 0, 255);
    let checksum = number::<4>(&link, (name.len() + 1).next_multiple_of(4))? as u32;
    let name = std::str::from_utf8(name).ok()?;
    // A name, not a path: the file must not choose what root reads.
    if name.is_empty() || name.contains('/') || name == ".." {
        return None;
    }
    let directory = Path::new(path).parent()?;
    let below = root.join(directory.strip_prefix("/").ok()?);
    let places = [
        directory.join(name),
        directory.join(".debug").join(name),
        below.join(name),
    ];
    let mut found = places.iter().filter_map(|place| files.open(place));
    found.find(|found| crc32(found.source()) == Some(checksum))
}

/// Bytes that a `.gnu_debugdata` may unpack to. That of libLLVM, at 100 MB, has
/// some 20 MB.
const MAX_MINI: u64 = 128 << 20;
/// KiB that unpacking may use besides: xz's largest preset asks for 64 MiB.
const MINI_MEMORY: u32 = 80 << 10;

/// The symbols that a stripped file keeps packed in `.gnu_debugdata`, as Fedora
/// has it: an ELF file by itself ("MiniDebugInfo" in GDB's manual).
pub(crate) fn mini(elf: &Elf) -> Option<Elf> {
    let packed = elf.data(elf.section(".gnu_debugdata")?)?;
    Elf::parse(Source::Memory(unpack(&packed, MAX_MINI)?)).ok()
}

/// Unpacks xz; nothing where it is damaged, or has more than so many bytes.
fn unpack(packed: &[u8], most: u64) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let unpacker = lzma_rust2::XzReader::new_mem_limit(packed, false, MINI_MEMORY);
    let mut bytes = Vec::new();
    unpacker.take(most + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= most).then_some(bytes)
}

/// The file that DWZ moved what several debug files share to, as named by the
/// `.gnu_debugaltlink` of one of them. The build-id in the link must match.
pub(crate) fn supplementary(elf: &Elf, path: &str, files: &mut dyn DebugFiles) -> Option<Elf> {
    let (_, id) = alternate_link(elf)?;
    supplementary_below(Path::new(ROOT), elf, path, files)
        .or_else(|| files.cached(&id))
        .or_else(|| files.fetch(&id))
}

/// Name and build-id of what DWZ moved to another file.
fn alternate_link(elf: &Elf) -> Option<(String, BuildId)> {
    let link = elf.data(elf.section(".gnu_debugaltlink")?)?;
    let name = text(&link, 0, 4096);
    let id = BuildId::of(link.get(name.len() + 1..)?)?;
    Some((std::str::from_utf8(name).ok()?.to_owned(), id))
}

/// Likewise, below another root.
pub(super) fn supplementary_below(
    root: &Path,
    elf: &Elf,
    path: &str,
    files: &mut dyn DebugFiles,
) -> Option<Elf> {
    let (name, id) = alternate_link(elf)?;
    // By its build-id first: the name is relative to the file that has the
    // link, wherever that was found.
    let by_id = by_build_id(root, &id, files);
    by_id.or_else(|| by_alternate_name(root, elf, path, (&name, &id), files))
}

fn by_alternate_name(
    root: &Path,
    elf: &Elf,
    path: &str,
    (name, id): (&str, &BuildId),
    files: &mut dyn DebugFiles,
) -> Option<Elf> {
    let name = Path::new(name).file_name()?;
    let beside = |path: &Path| Some(path.parent()?.join(name));
    let places = [
        Some(root.join(".dwz").join(name)),
        Some(root.join(".dwz").join(arch::LIBRARY_FOLDER).join(name)),
        elf.source().path().and_then(|path| beside(&path)),
        beside(Path::new(path)),
    ];
    let mut found = places
        .iter()
        .flatten()
        .filter_map(|place| files.open(place));
    found.find(|found| found.build_id().as_ref() == Some(id))
}

/// A file that the compiler split off, where it was when the program was built. Its id decides whether
/// it is the one; what is no `.dwo` file by name is not even looked at.
pub(crate) fn split(path: &str, files: &mut dyn DebugFiles) -> Option<Elf> {
    path.ends_with(".dwo")
        .then(|| files.open(Path::new(path)))?
}

/// The ELF file at a path.
pub(super) fn open(path: &Path) -> Option<Elf> {
    let source = Source::of(regular(path).ok()?).ok()?;
    Elf::parse(source).ok()
}

/// CRC-32 as zlib computes it, over the whole file; nothing for one larger than
/// [`PIECE`].
fn crc32(source: &Source) -> Option<u32> {
    const STEP: u64 = 1 << 16;
    if source.len() > PIECE {
        return None;
    }
    let mut hasher = crc32fast::Hasher::new();
    let mut at = 0;
    while at < source.len() {
        let length = STEP.min(source.len() - at);
        hasher.update(&source.read(at, length).ok()?);
        at += length;
    }
    Some(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_symbols_are_unpacked_up_to_a_limit() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let elf = open(&fixtures.join("mini.elf")).expect("ELF");
        let section = elf.section(".gnu_debugdata").expect("a section");
        let packed = elf.data(section).expect("bytes");
        let whole = unpack(&packed, MAX_MINI).expect("xz");
        let size = whole.len() as u64;
        assert_eq!(unpack(&packed, size).as_ref(), Some(&whole));
        assert_eq!(unpack(&packed, size - 1), None, "too much");
        assert_eq!(unpack(&packed[..packed.len() - 9], size), None, "cut");
        let mut damaged = packed.to_vec();
        damaged[packed.len() / 2] ^= 0x55;
        assert_eq!(unpack(&damaged, size), None, "damaged");
        assert_eq!(unpack(b"not xz", size), None);
    }

    #[test]
    fn the_checksum_is_zlibs() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(
            crc32(&Source::Memory(b"123456789".to_vec())),
            Some(0xcbf4_3926)
        );
        assert_eq!(crc32(&Source::Memory(Vec::new())), Some(0));
    }
}
