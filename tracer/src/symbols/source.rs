//! Bytes of a file or of an image in memory, read piece by piece.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Largest piece that is ever read at once.
pub(crate) const PIECE: u64 = 1 << 30;

/// Where an ELF image comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A regular file and its length when it was opened.
    File(File, u64),
    /// The kernel's vDSO, or a test's image.
    Memory(Vec<u8>),
}

impl Source {
    /// Bytes from `offset` on; nothing where the source is shorter, the piece
    /// larger than [`PIECE`], or reading fails. Memory is taken only for bytes
    /// that exist.
    pub(crate) fn read(&self, offset: u64, length: u64) -> Option<Vec<u8>> {
        let end = offset.checked_add(length)?;
        if length > PIECE || end > self.len() {
            return None;
        }
        match self {
            Self::Memory(bytes) => Some(bytes[offset as usize..end as usize].to_vec()),
            Self::File(file, _) => {
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(length as usize).ok()?;
                bytes.resize(length as usize, 0);
                // Fails, and does not fault, when the file has shrunk meanwhile.
                file.read_exact_at(&mut bytes, offset).ok()?;
                Some(bytes)
            }
        }
    }

    /// Where the file stands, as the kernel names it: not through the link by
    /// which it was found.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(file, _) => {
                std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
            }
            Self::Memory(_) => None,
        }
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File(_, length) => *length,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }
}

/// Little-endian numbers at an offset of a slice; nothing past its end.
pub(crate) fn number<const N: usize>(bytes: &[u8], offset: usize) -> Option<u64> {
    let piece = bytes.get(offset..offset.checked_add(N)?)?;
    let mut word = [0; 8];
    word[..N].copy_from_slice(piece);
    Some(u64::from_le_bytes(word))
}
