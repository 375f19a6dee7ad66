//! Opens the files that modules were mapped from, and makes sure that they still are those files.

use super::places::is_file;
use super::reason::Reason;
use crate::events::Module;
use crate::files::{Absent, BuildId, Elf, Source, elf, vdso};

/// Opens the image of a module, if it can be had and still is the one that was mapped.
pub(crate) fn open(module: &Module) -> Result<Source, Reason> {
    if module.path == vdso::NAME {
        let own = vdso().map_err(|_| Reason::FileUnreadable)?;
        return Ok(Source::Memory(own));
    }
    if !is_file(&module.path) {
        return Err(Reason::AnonymousCode);
    }
    let found = module.mapping().find().map_err(|absent| match absent {
        Absent::Gone => Reason::FileGone,
        Absent::Replaced => Reason::FileReplaced,
        Absent::Unreadable => Reason::FileUnreadable,
    })?;
    Source::of(found.file).map_err(|_| Reason::FileUnreadable)
}

/// The build-id that an image must have once it is parsed: that of the vDSO, which is no file that
/// could have been checked.
pub(crate) fn expected(module: &Module) -> Option<&BuildId> {
    module.build_id().filter(|_| module.path == vdso::NAME)
}

/// The image, parsed.
pub(crate) fn parse(source: Source, expected: Option<&BuildId>) -> Result<Elf, Reason> {
    let elf = Elf::parse(source).map_err(|error| match error {
        elf::Error::Io(_) => Reason::FileUnreadable,
        _ => Reason::NotElf,
    })?;
    match expected.is_some() && elf.build_id().as_ref() != expected {
        true => Err(Reason::FileReplaced),
        false => Ok(elf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{FileId, Identity};
    use crate::units::{Address, Bytes, Nanos, Pid};
    use std::path::Path;

    fn module(path: &Path) -> Module {
        let found = std::fs::metadata(path).expect("a file");
        Module {
            // No process has this id: pid_max is at most 2^22.
            pid: Pid(u32::MAX),
            time: Nanos(0),
            address: Address(0x1000),
            length: Bytes(0x1000),
            offset: 0,
            path: path.to_str().expect("UTF-8").to_owned(),
            identity: Identity {
                file: Some(FileId::of(&found)),
                build_id: None,
            },
        }
    }

    #[test]
    fn names_that_are_no_paths_are_anonymous_code() {
        let mut module = module(Path::new("/proc/self/exe"));
        for path in ["", "//anon", "[heap]", "anon_inode:[perf_event]"] {
            module.path = path.to_owned();
            assert_eq!(open(&module).unwrap_err(), Reason::AnonymousCode, "{path}");
        }
    }

    #[test]
    fn why_a_file_can_not_be_had_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lib.so");
        std::fs::write(&path, "first").expect("written");
        let mapped = module(&path);
        assert!(matches!(open(&mapped), Ok(Source::File(_, 5))));
        let source = open(&mapped).expect("opened");
        assert_eq!(
            parse(source, expected(&mapped)).unwrap_err(),
            Reason::NotElf
        );

        let other = dir.path().join("other");
        std::fs::write(&other, "second").expect("written");
        std::fs::rename(&other, &path).expect("replaced");
        assert_eq!(open(&mapped).unwrap_err(), Reason::FileReplaced);
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(open(&mapped).unwrap_err(), Reason::FileGone);
        let folder = module(dir.path());
        assert_eq!(open(&folder).unwrap_err(), Reason::FileUnreadable);
    }

    #[test]
    fn our_vdso_is_an_image_with_symbols() {
        let mut module = module(Path::new("/proc/self/exe"));
        module.path = vdso::NAME.to_owned();
        let elf = parse(open(&module).expect("a vDSO"), expected(&module)).expect("ELF");
        assert!(elf.build_id().is_some());
        module.identity.build_id = BuildId::parse("0000");
        let other = parse(open(&module).expect("a vDSO"), expected(&module));
        assert_eq!(other.unwrap_err(), Reason::FileReplaced);
    }
}
