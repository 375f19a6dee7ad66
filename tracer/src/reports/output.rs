//! The out dir: every file appears whole or not at all, belongs to the user who
//! called `sudo`, and is never written through a link that somebody planted.

use super::owner::{Owner, act_for};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, faccessat, unlinkat};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A directory that reports are written to.
#[derive(Debug)]
pub struct OutDir {
    dir: OwnedFd,
    path: PathBuf,
    owner: Option<Owner>,
}

impl OutDir {
    /// Makes the directory, its parents included, and makes sure that files can
    /// be written to it: better now than after an hour's run.
    ///
    /// `owner` is whom it is made for. Where he may not write (root's own
    /// directory), it is made as ourselves.
    ///
    /// # Errors
    /// Where it can't be made, or not be written to.
    pub fn create(path: &Path, owner: Option<Owner>) -> io::Result<Self> {
        let made = act_for(owner, || Self::create_as(path, owner));
        match made {
            Err(error) if owner.is_some() && error.kind() == io::ErrorKind::PermissionDenied => {
                Self::create_as(path, None)
            }
            other => other,
        }
    }

    fn create_as(path: &Path, owner: Option<Owner>) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let dir = open(path, flags, Mode::empty())?;
        faccessat(
            &dir,
            ".",
            nix::unistd::AccessFlags::W_OK,
            AtFlags::AT_EACCESS,
        )?;
        Ok(Self {
            dir,
            path: path.to_owned(),
            owner,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether files in it are made as another user.
    #[must_use]
    pub fn is_for_another(&self) -> bool {
        self.owner.is_some()
    }

    /// Whether it belongs to us and we may write to it as its owner.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let found = fstat(&self.dir);
        found.is_ok_and(|found| {
            found.st_uid == nix::unistd::geteuid().as_raw() && found.st_mode & 0o300 == 0o300
        })
    }

    /// Does something else to files in it, as the user it is made for.
    pub fn act<T>(&self, act: impl FnOnce() -> T) -> T {
        act_for(self.owner, act)
    }

    /// Writes a file through a temporary one, replacing what is there. A link of
    /// that name is replaced, not followed.
    ///
    /// # Errors
    /// Where writing fails; no file is left then, or the old one.
    pub fn write(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        let in_words = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("can't write {}: {error}", path.display()),
            )
        };
        act_for(self.owner, || self.write_as(name, write)).map_err(in_words)?;
        Ok(path)
    }

    fn write_as(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let (temporary, file) = self.temporary(name)?;
        let mut out = BufWriter::new(file);
        let written = write(&mut out).and_then(|()| out.flush());
        let dir = self.dir.as_fd();
        let renamed = written.and_then(|()| Ok(renameat(dir, temporary.as_str(), dir, name)?));
        if renamed.is_err() {
            // The error that is reported is the one before.
            let _ = unlinkat(dir, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        renamed
    }

    fn temporary(&self, name: &str) -> io::Result<(String, File)> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o644);
        let mut attempt = 0;
        loop {
            let temporary = format!(".{name}.{}.{attempt}", std::process::id());
            match openat(self.dir.as_fd(), temporary.as_str(), flags, mode) {
                Ok(file) => return Ok((temporary, File::from(file))),
                // Left behind by a run that was killed.
                Err(Errno::EEXIST) if attempt < 100 => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn out_dir() -> (tempfile::TempDir, OutDir) {
        let temporary = tempfile::tempdir().expect("a directory");
        let out = OutDir::create(&temporary.path().join("out/x"), None).expect("made");
        (temporary, out)
    }

    fn names(dir: &OutDir) -> Vec<String> {
        let entries = std::fs::read_dir(dir.path()).expect("readable");
        let name = |entry: io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        entries
            .map(|entry| name(entry).into_string().expect("UTF-8"))
            .collect()
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let (_dir, out) = out_dir();
        for text in ["first", "second"] {
            let path = out
                .write("a", |out| out.write_all(text.as_bytes()))
                .expect("written");
            assert_eq!(std::fs::read_to_string(path).expect("there"), text);
        }
        assert_eq!(names(&out), ["a"]);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let (_dir, out) = out_dir();
        let path = out
            .write("a", |out| out.write_all(b"old"))
            .expect("written");
        let full = |out: &mut dyn Write| {
            out.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        };
        let error = out.write("a", full).expect_err("no space");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("out/x/a"), "{error}");
        assert_eq!(std::fs::read(path).expect("there"), b"old");
        assert_eq!(names(&out), ["a"]);
    }

    #[test]
    fn a_planted_link_is_replaced_and_not_followed() {
        let (dir, out) = out_dir();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "precious").expect("written");
        symlink(&victim, out.path().join("a")).expect("planted");
        let temporary = format!(".a.{}.0", std::process::id());
        symlink(&victim, out.path().join(temporary)).expect("planted");
        let path = out
            .write("a", |out| out.write_all(b"report"))
            .expect("written");
        assert_eq!(std::fs::read(&victim).expect("there"), b"precious");
        assert!(!std::fs::symlink_metadata(path).expect("there").is_symlink());
    }

    #[test]
    fn a_directory_that_cannot_be_had_is_an_error_before_the_run() {
        let (_dir, out) = out_dir();
        out.write("file", |_| Ok(())).expect("written");
        assert!(OutDir::create(&out.path().join("file/x"), None).is_err());
    }

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn a_directory_is_made_as_its_owner_where_he_may() {
        let dir = tempfile::tempdir().expect("a directory");
        let owner = Owner::new(12345, 12345);
        // A directory that the owner may not write to is made as root.
        let closed = OutDir::create(&dir.path().join("closed"), owner).expect("made");
        let path = closed.write("a", |_| Ok(())).expect("written");
        assert_eq!(std::fs::metadata(path).expect("there").uid(), 0);
        let world = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path(), world).expect("open to all");
        let open = OutDir::create(&dir.path().join("his"), owner).expect("made");
        let path = open.write("a", |_| Ok(())).expect("written");
        assert_eq!(std::fs::metadata(path).expect("there").uid(), 12345);
        assert_eq!(std::fs::metadata(open.path()).expect("there").uid(), 12345);
    }
}
