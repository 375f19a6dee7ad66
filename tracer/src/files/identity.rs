//! Which file it is.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fmt::Write as _;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// A file, by device and inode as `stat(2)` tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Device, as `makedev(3)` puts it together.
    pub device: u64,
    /// Inode.
    pub inode: u64,
}

impl FileId {
    /// What `stat(2)` says of a file.
    #[must_use]
    pub fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }

    /// A file by what the kernel calls it: `super_block.s_dev` has twelve bits for the major
    /// number, and twenty for the minor.
    #[must_use]
    pub const fn of_kernel(device: u32, inode: u64) -> Self {
        Self {
            device: libc::makedev(device >> 20, device & 0xf_ffff),
            inode,
        }
    }

    /// Its device as the kernel has it: see [`FileId::of_kernel`].
    #[must_use]
    pub fn kernel_device(&self) -> u32 {
        libc::major(self.device) << 20 | libc::minor(self.device)
    }
}

/// What a linker calls a file: the descriptor of its note `NT_GNU_BUILD_ID`, in lower-case
/// hexadecimal digits.
///
/// It is the file's own word. A hostile file may call itself like another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuildId(String);

impl BuildId {
    /// The bytes of a note. A hash has 20 as a rule; one byte is none, and what would be as long
    /// as a path is none either.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        (2..=64)
            .contains(&bytes.len())
            .then(|| Self(hexadecimal(bytes)))
    }

    /// A build-id as it is written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let fits = text.len().is_multiple_of(2) && (4..=128).contains(&text.len());
        (fits && digits(text)).then(|| Self(text.to_owned()))
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BuildId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a build-id")
    }
}

impl From<BuildId> for String {
    fn from(id: BuildId) -> Self {
        id.0
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All that tells a file from another, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Device and inode.
    pub file: Option<FileId>,
    /// What its linker called it.
    pub build_id: Option<BuildId>,
}

impl Identity {
    /// Whether both are the same file: by build-id where both have one, else by device and inode.
    /// A file of which neither is known is not trusted to be any other.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.build_id, &other.build_id) {
            (Some(own), Some(others)) => own == others,
            _ => self.file.is_some() && self.file == other.file,
        }
    }
}

/// Bytes in lower-case hexadecimal digits.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_of_the_kernel_is_the_one_of_stat() {
        let found = FileId::of(&std::fs::metadata("/proc/self/exe").expect("a file"));
        let kernels = FileId::of_kernel(found.kernel_device(), found.inode);
        assert_eq!(kernels, found);
        assert_eq!(
            FileId::of_kernel(0xabc1_2345, 7).kernel_device(),
            0xabc1_2345
        );
    }

    #[test]
    fn a_build_id_is_digits_of_a_sensible_length() {
        assert_eq!(BuildId::of(&[0xab, 1]), BuildId::parse("ab01"));
        assert_eq!(BuildId::of(&[1]), None);
        assert_eq!(BuildId::of(&[1; 65]), None);
        for wrong in ["", "00", "abc", "AB01", "../../etc", &"0".repeat(130)] {
            assert_eq!(BuildId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn files_are_the_same_by_build_id_else_by_inode() {
        let of = |inode, id| Identity {
            file: Some(FileId { device: 1, inode }),
            build_id: BuildId::parse(id),
        };
        assert!(of(1, "aaaa").is_same(&of(2, "aaaa")));
        assert!(!of(1, "aaaa").is_same(&of(1, "bbbb")));
        assert!(of(1, "aaaa").is_same(&of(1, "")));
        assert!(!of(1, "").is_same(&of(2, "")));
        let unknown = Identity::default();
        assert!(!unknown.is_same(&unknown));
    }
}
