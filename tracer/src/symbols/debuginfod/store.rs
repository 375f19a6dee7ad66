//! Where debuginfod's clients keep what they fetched: `<folder>/<build-id>/debuginfo`.
//!
//! Files are read from every such folder, and written to one: root writes only
//! where nobody else could have put a link that leads elsewhere.

use crate::files::{BuildId, Elf, Source, regular};
use nix::unistd::{Uid, User};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, symlink_metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;

/// How long a server is not asked again for a file that it does not have; an
/// empty file in the cache says so.
const MISSING: Duration = Duration::from_secs(600);

/// The folders.
#[derive(Debug)]
pub(super) struct Store {
    folders: Vec<PathBuf>,
    /// The first of them, once it is known to be ours.
    own: Option<PathBuf>,
}

impl Store {
    /// The folders that debuginfod-client-config(7) names, and the same of the
    /// user who called sudo.
    pub(super) fn new(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        const NAME: &str = "debuginfod_client";
        let set = |name| variable(name).map(PathBuf::from);
        let below = |home: PathBuf| home.join(".cache").join(NAME);
        let folders = [
            set("DEBUGINFOD_CACHE_PATH"),
            set("XDG_CACHE_HOME").map(|cache| cache.join(NAME)),
            set("HOME").map(below),
            home.map(below),
        ];
        let folders = folders.into_iter().flatten();
        Self {
            folders: folders.filter(|folder| folder.is_absolute()).collect(),
            own: None,
        }
    }

    /// A file that is there.
    pub(super) fn find(&self, id: &BuildId) -> Option<Elf> {
        let places = self.folders.iter().map(|folder| place(folder, id));
        let mut found = places.filter_map(|place| open_file(&regular(&place).ok()?));
        found.find(|elf| elf.build_id().as_ref() == Some(id))
    }

    /// Whether servers said lately that they do not have it.
    pub(super) fn is_missing(&self, id: &BuildId) -> bool {
        let lately = |folder: &PathBuf| {
            let found = symlink_metadata(place(folder, id)).ok()?;
            let age = found.modified().ok()?.elapsed().ok()?;
            Some(found.is_file() && found.len() == 0 && age < MISSING)
        };
        self.folders.first().and_then(lately).unwrap_or(false)
    }

    /// Remembers that servers do not have it.
    pub(super) fn mark_missing(&mut self, id: &BuildId) {
        if let Ok(file) = self.begin() {
            self.keep(file, id);
        }
    }

    /// A file to write to: on the disk of the cache if we may write there.
    pub(super) fn begin(&mut self) -> io::Result<NamedTempFile> {
        if self.own.is_none() {
            self.own = self.folders.first().and_then(|folder| own(folder));
        }
        match &self.own {
            Some(folder) => NamedTempFile::new_in(folder),
            None => NamedTempFile::new(),
        }
    }

    /// Puts a file, now whole, in its place. Where there is none, it is gone once
    /// it is closed; and a cache that can't be written costs the next run some time.
    pub(super) fn keep(&self, file: NamedTempFile, id: &BuildId) {
        let Some(folder) = &self.own else {
            return;
        };
        let place = place(folder, id);
        let _ = place.parent().map(make);
        // After a crash of the machine, too, a file is whole or not there.
        if file.as_file().sync_data().is_ok() {
            let _ = file.persist(place);
        }
    }
}

fn place(folder: &Path, id: &BuildId) -> PathBuf {
    folder.join(id.as_str()).join("debuginfo")
}

/// The home of a user.
pub(super) fn home_of(user: OsString) -> Option<PathBuf> {
    let found = User::from_name(user.to_str()?).ok()??;
    Some(found.dir)
}

/// The ELF file that an open file is.
pub(super) fn open_file(file: &File) -> Option<Elf> {
    Elf::parse(Source::of(file.try_clone().ok()?).ok()?).ok()
}

/// A folder that can be written to safely, made if need be; its true path.
fn own(folder: &Path) -> Option<PathBuf> {
    let existing = folder
        .ancestors()
        .find(|part| symlink_metadata(part).is_ok());
    leads_to_ours(existing?)?;
    make(folder).ok()?;
    let path = leads_to_ours(folder)?;
    let closed = symlink_metadata(&path).ok()?.mode() & 0o022 == 0;
    closed.then_some(path)
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The true path, if nobody but root and us can change where it leads: the
/// folder and those above it are ours, and others can't write to them, or, as in
/// `/tmp`, not to what is ours in them.
fn leads_to_ours(folder: &Path) -> Option<PathBuf> {
    let path = folder.canonicalize().ok()?;
    let us = [0, Uid::effective().as_raw()];
    let is_safe = |part: &Path| {
        let found = symlink_metadata(part).ok()?;
        let closed = found.mode() & 0o022 == 0;
        let sticky = found.mode() & 0o1000 != 0;
        Some(us.contains(&found.uid()) && found.is_dir() && (closed || sticky))
    };
    let safe = path.ancestors().all(|part| is_safe(part) == Some(true));
    safe.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn store(set: &[(&str, &str)], home: Option<&str>) -> Store {
        let value = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into());
        Store::new(value, home.map(PathBuf::from))
    }

    #[test]
    fn caches_are_where_debuginfods_clients_keep_them() {
        let set = [
            ("DEBUGINFOD_CACHE_PATH", "/a"),
            ("XDG_CACHE_HOME", "/b"),
            ("HOME", "/c"),
        ];
        assert_eq!(
            store(&set, Some("/d")).folders,
            [
                "/a",
                "/b/debuginfod_client",
                "/c/.cache/debuginfod_client",
                "/d/.cache/debuginfod_client"
            ]
            .map(PathBuf::from)
        );
        assert!(store(&[("HOME", "here")], None).folders.is_empty());
    }

    #[test]
    fn a_cache_is_asked_by_build_id_and_not_believed() {
        let dir = tempfile::tempdir().expect("a folder");
        let debug = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inlined.debug");
        let file = File::open(&debug).expect("a fixture");
        let id = open_file(&file).and_then(|elf| elf.build_id());
        let id = id.expect("an id");
        let put = |id: &BuildId| {
            make(&dir.path().join(id.as_str())).expect("made");
            std::fs::copy(&debug, place(dir.path(), id)).expect("copied");
        };
        let folder = dir.path().to_str().expect("UTF-8");
        let store = store(&[("DEBUGINFOD_CACHE_PATH", folder)], None);
        assert!(store.find(&id).is_none(), "absent");
        put(&id);
        assert!(store.find(&id).is_some());
        let other = BuildId::of(&[7; 20]).expect("an id");
        put(&other);
        assert!(store.find(&other).is_none(), "another file's");
    }

    #[test]
    fn nothing_is_written_where_others_could_lead_us_elsewhere() {
        let dir = tempfile::tempdir().expect("a folder");
        let allow = |folder: &Path, mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder, mode).expect("changed");
        };
        let (home, cache) = (dir.path().join("home"), dir.path().join("home/cache"));
        assert_eq!(own(&cache), cache.canonicalize().ok(), "made");
        assert!(cache.is_dir());
        // A link of ours may lead there.
        let link = dir.path().join("link");
        symlink(&cache, &link).expect("linked");
        assert_eq!(own(&link), cache.canonicalize().ok());
        allow(&home, 0o777);
        assert_eq!(own(&cache), None, "others could replace it");
        assert_eq!(own(&home.join("other")), None);
        assert!(!home.join("other").exists(), "not even made");
        allow(&home, 0o1777);
        assert!(own(&cache).is_some(), "theirs alone, as in /tmp");
        allow(&cache, 0o770);
        assert_eq!(own(&cache), None, "others could write to it");
        allow(&cache, 0o1777);
        assert_eq!(own(&cache), None, "nor beside us");
        assert!(own(&cache.join("x/y")).is_some());
    }

    #[test]
    #[ignore = "needs root: cargo xtask test"]
    fn nothing_is_written_in_the_folder_of_another() {
        let dir = tempfile::tempdir().expect("a folder");
        let (home, cache) = (dir.path().join("home"), dir.path().join("home/cache"));
        assert!(own(&cache).is_some(), "made");
        std::os::unix::fs::chown(&home, Some(1), None).expect("given away");
        assert_eq!(own(&cache), None, "another's");
    }
}
