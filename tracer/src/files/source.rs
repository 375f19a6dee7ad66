//! Bytes of a file or of an image in memory, read piece by piece.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Largest piece that is ever read at once.
pub const PIECE: u64 = 1 << 30;

/// Where an image comes from.
#[derive(Debug)]
pub enum Source {
    /// A regular file and its length when it was opened.
    File(File, u64),
    /// An image that is no file: the vDSO, or what was unpacked.
    Memory(Vec<u8>),
}

impl Source {
    /// A regular file.
    ///
    /// # Errors
    /// Where its length can't be told.
    pub fn of(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self::File(file, length))
    }

    /// Bytes from `offset` on. Memory is taken only for bytes that exist, and a file that shrinks
    /// meanwhile is an error and no fault.
    ///
    /// # Errors
    /// `UnexpectedEof` where the source is shorter; `FileTooLarge` where the piece is larger than
    /// [`PIECE`]; and what reading says.
    pub fn read(&self, offset: u64, length: u64) -> io::Result<Cow<'_, [u8]>> {
        if length > PIECE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let end = offset.checked_add(length).filter(|&end| end <= self.len());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        match self {
            Self::Memory(bytes) => Ok(Cow::Borrowed(&bytes[offset as usize..end as usize])),
            Self::File(file, _) => {
                let mut bytes = Vec::new();
                let room = bytes.try_reserve_exact(length as usize);
                room.map_err(|_| io::ErrorKind::OutOfMemory)?;
                bytes.resize(length as usize, 0);
                file.read_exact_at(&mut bytes, offset)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// Bytes up to, and without, the first zero; nothing where none comes within `limit` bytes.
    ///
    /// # Errors
    /// What [`Source::read`] says.
    pub fn string(&self, offset: u64, limit: u64) -> io::Result<Option<Vec<u8>>> {
        const STEP: u64 = 256;
        let limit = limit.min(self.len().saturating_sub(offset));
        let mut length = STEP.min(limit);
        loop {
            let bytes = self.read(offset, length)?;
            if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
                return Ok(Some(bytes[..end].to_vec()));
            }
            if length == limit {
                return Ok(None);
            }
            length = limit;
        }
    }

    /// Where the file stands, as the kernel names it: not through the link by which it was found.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(file, _) => {
                std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
            }
            Self::Memory(_) => None,
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::File(_, length) => *length,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Little-endian numbers at an offset of a slice; nothing past its end.
#[must_use]
pub fn number<const N: usize>(bytes: &[u8], offset: usize) -> Option<u64> {
    let piece = bytes.get(offset..offset.checked_add(N)?)?;
    let mut word = [0; 8];
    word.get_mut(..N)?.copy_from_slice(piece);
    Some(u64::from_le_bytes(word))
}

/// The bytes of a zero-ended string, cut at `limit`; empty where there is none.
#[must_use]
pub fn text(strings: &[u8], offset: u64, limit: usize) -> &[u8] {
    let tail = usize::try_from(offset).ok().and_then(|o| strings.get(o..));
    let tail = tail.unwrap_or_default();
    let tail = &tail[..tail.len().min(limit)];
    &tail[..tail.iter().position(|&b| b == 0).unwrap_or(tail.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_that_shrinks_is_an_error_and_not_a_fault() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&[7; 8192]).expect("written");
        let source = Source::of(file.reopen().expect("opened")).expect("a length");
        let read = |offset, length| source.read(offset, length).map(Cow::into_owned).ok();
        assert_eq!(read(4096, 4), Some(vec![7; 4]));
        file.as_file().set_len(100).expect("truncated");
        assert_eq!(read(4096, 4), None);
        assert_eq!(read(u64::MAX, 2), None);
        assert_eq!(read(0, PIECE + 1), None);
    }

    #[test]
    fn strings_end_at_their_zero_or_are_none() {
        let mut bytes = vec![b'a'; 300];
        bytes.push(0);
        bytes.extend(b"tail");
        let source = Source::Memory(bytes);
        let string = |offset, limit| source.string(offset, limit).ok().flatten();
        assert_eq!(string(298, 10), Some(b"aa".to_vec()));
        assert_eq!(string(0, 4096), Some(vec![b'a'; 300]));
        assert_eq!(string(0, 300), None, "longer than is read");
        assert_eq!(string(302, 10), None, "without an end");
        assert_eq!(string(9999, 10), None);
    }
}
