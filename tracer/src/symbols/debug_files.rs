//! Separate files with debug information, as distributions install them.

use super::elf::{Elf, bytes_at, hexadecimal};
use super::files::regular;
use super::source::{PIECE, Source, number};
use std::path::Path;

/// Where distributions put them.
const ROOT: &str = "/usr/lib/debug";

/// The separate debug file of an image that stood at `path`: found by its
/// build-id, else by its debug link (with the checksum that the link demands).
/// See GDB's manual, "Separate Debug Files".
pub(crate) fn find(elf: &Elf, path: &str) -> Option<Elf> {
    find_below(Path::new(ROOT), elf, path)
}

/// Likewise, below another root.
pub(super) fn find_below(root: &Path, elf: &Elf, path: &str) -> Option<Elf> {
    let build_id = elf.build_id();
    let by_id = build_id.as_deref().and_then(|id| by_build_id(root, id));
    by_id.or_else(|| by_link(root, elf, path))
}

fn by_build_id(root: &Path, id: &str) -> Option<Elf> {
    let (first, rest) = id.split_at_checked(2)?;
    let place = root
        .join(".build-id")
        .join(first)
        .join(format!("{rest}.debug"));
    let found = open(&place)?;
    (found.build_id().as_deref() == Some(id)).then_some(found)
}

fn by_link(root: &Path, elf: &Elf, path: &str) -> Option<Elf> {
    let link = elf.data(elf.section(".gnu_debuglink")?)?;
    let name = bytes_at(&link, 0, 255);
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
    let found = places.iter().filter_map(|place| open(place));
    found
        .into_iter()
        .find(|found| crc32(found.source()) == Some(checksum))
}

/// The file that DWZ moved what several debug files share to, as named by the
/// `.gnu_debugaltlink` of one of them. The build-id in the link must match.
pub(crate) fn supplementary(elf: &Elf, path: &str) -> Option<Elf> {
    supplementary_below(Path::new(ROOT), elf, path)
}

fn supplementary_below(root: &Path, elf: &Elf, path: &str) -> Option<Elf> {
    let link = elf.data(elf.section(".gnu_debugaltlink")?)?;
    let name = bytes_at(&link, 0, 4096);
    let id = hexadecimal(link.get(name.len() + 1..)?);
    // By its build-id first: the name is relative to the file that has the
    // link, wherever that was found.
    by_build_id(root, &id).or_else(|| {
        let name = Path::new(std::str::from_utf8(name).ok()?).file_name()?;
        let places = [
            root.join(".dwz").join(name),
            root.join(".dwz/x86_64-linux-gnu").join(name),
            Path::new(path).parent()?.join(name),
        ];
        let found = places.iter().filter_map(|place| open(place));
        found
            .into_iter()
            .find(|found| found.build_id().as_deref() == Some(&id))
    })
}

fn open(path: &Path) -> Option<Elf> {
    let file = regular(path.to_str()?).ok()?;
    let length = file.metadata().ok()?.len();
    Elf::parse(Source::File(file, length))
}

/// CRC-32 as zlib computes it, over the whole file; nothing for one larger than
/// [`PIECE`].
fn crc32(source: &Source) -> Option<u32> {
    const STEP: u64 = 1 << 16;
    if source.len() > PIECE {
        return None;
    }
    let table = crc_table();
    let mut crc = u32::MAX;
    let mut at = 0;
    while at < source.len() {
        let length = STEP.min(source.len() - at);
        for byte in source.read(at, length)? {
            crc = table[((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8);
        }
        at += length;
    }
    Some(!crc)
}

fn crc_table() -> [u32; 256] {
    std::array::from_fn(|index| {
        let step = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        (0..8).fold(index as u32, step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
