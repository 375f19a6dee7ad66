//! Opens the files that modules were mapped from, and makes sure that they
//! still are those files.

use super::elf::Elf;
use super::places::is_file;
use super::reason::Reason;
use super::source::Source;
use crate::events::Module;
use nix::libc;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

/// Opens the image of a module: through the process, which sees its own mount
/// namespace and keeps deleted files alive, else by its path.
pub(crate) fn open(module: &Module) -> Result<Source, Reason> {
    if module.path == "[vdso]" {
        return vdso().ok_or(Reason::FileUnreadable);
    }
    if !is_file(&module.path) {
        return Err(Reason::AnonymousCode);
    }
    let path = module
        .path
        .strip_suffix(" (deleted)")
        .unwrap_or(&module.path);
    let (pid, begin) = (module.pid.0, module.address.0);
    let end = begin.saturating_add(module.length.0);
    let places = [
        format!("/proc/{pid}/map_files/{begin:x}-{end:x}"),
        format!("/proc/{pid}/root{path}"),
        path.to_owned(),
    ];
    let mut reason = Reason::FileGone;
    for place in places {
        match regular(&place) {
            Ok(file) if is_same(&file, module) => {
                let length = file.metadata().map_err(|_| Reason::FileUnreadable)?.len();
                return Ok(Source::File(file, length));
            }
            Ok(_) => reason = Reason::FileReplaced,
            Err(error) if is_absent(&error) => {}
            Err(_) if reason == Reason::FileGone => reason = Reason::FileUnreadable,
            Err(_) => {}
        }
    }
    Err(reason)
}

fn is_absent(error: &std::io::Error) -> bool {
    let absent = [ErrorKind::NotFound, ErrorKind::NotADirectory];
    absent.contains(&error.kind()) || error.raw_os_error() == Some(libc::ESRCH)
}

/// Opens a regular file for reading. Looks before it leaps: opening a device or
/// a pipe that somebody put there can have effects or never return.
pub(crate) fn regular(path: &str) -> std::io::Result<File> {
    let mut look = OpenOptions::new();
    let look = look
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open(path)?;
    if !look.metadata()?.is_file() {
        return Err(std::io::Error::from(ErrorKind::InvalidInput));
    }
    File::open(format!("/proc/self/fd/{}", look.as_raw_fd()))
}

/// Whether a file is the one that was mapped: the same build-id where both are
/// known, else the same device and inode. A file of which neither is known is
/// not trusted.
fn is_same(file: &File, module: &Module) -> bool {
    if !module.build_id.is_empty()
        && let Some(found) = super::build_id(file)
    {
        return found == module.build_id;
    }
    let Ok(metadata) = file.metadata() else {
        return false;
    };
    module.inode != 0 && (metadata.dev(), metadata.ino()) == (module.device, module.inode)
}

/// This kernel's vDSO, which every process has mapped: our own copy.
fn vdso() -> Option<Source> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (begin, end) = line.split_whitespace().next()?.split_once('-')?;
    let begin = u64::from_str_radix(begin, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let mut bytes = vec![0; usize::try_from(end.checked_sub(begin)?).ok()?];
    let memory = File::open("/proc/self/mem").ok()?;
    memory.read_exact_at(&mut bytes, begin).ok()?;
    Some(Source::Memory(bytes))
}

/// The image, parsed. The vDSO's build-id is checked here, as it has no inode.
pub(crate) fn parse(source: Source, module: &Module) -> Result<Elf, Reason> {
    let from_memory = matches!(source, Source::Memory(_));
    let elf = Elf::parse(source).ok_or(Reason::NotElf)?;
    let known = !module.build_id.is_empty();
    if from_memory && known && elf.build_id().as_ref() != Some(&module.build_id) {
        return Err(Reason::FileReplaced);
    }
    Ok(elf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Address, Bytes, Nanos, Pid};
    use std::io::Write;
    use std::path::Path;

    fn module(path: &Path) -> Module {
        let metadata = std::fs::metadata(path).expect("a file");
        Module {
            // No process has this id: pid_max is at most 2^22.
            pid: Pid(u32::MAX),
            time: Nanos(0),
            address: Address(0x1000),
            length: Bytes(0x1000),
            offset: 0,
            path: path.to_str().expect("UTF-8").to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            build_id: String::new(),
        }
    }

    #[test]
    fn a_file_that_is_not_the_mapped_one_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lib.so");
        std::fs::write(&path, "first").expect("written");
        let mut mapped = module(&path);
        assert!(matches!(open(&mapped), Ok(Source::File(_, 5))));

        mapped.path.push_str(" (deleted)");
        assert!(open(&mapped).is_ok(), "as the kernel names it");

        let other = dir.path().join("other");
        std::fs::write(&other, "second").expect("written");
        std::fs::rename(&other, &path).expect("replaced");
        assert_eq!(open(&mapped).unwrap_err(), Reason::FileReplaced);

        std::fs::remove_file(&path).expect("removed");
        assert_eq!(open(&mapped).unwrap_err(), Reason::FileGone);

        mapped.inode = 0;
        std::fs::write(&path, "third").expect("written");
        assert_eq!(
            open(&mapped).unwrap_err(),
            Reason::FileReplaced,
            "not known: not trusted"
        );
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert_eq!(open(&module(&path)).unwrap_err(), Reason::FileUnreadable);
        assert_eq!(
            open(&module(dir.path())).unwrap_err(),
            Reason::FileUnreadable
        );
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
    fn a_file_that_shrinks_is_an_error_and_not_a_fault() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&[7; 8192]).expect("written");
        let Ok(source) = open(&module(file.path())) else {
            panic!("not opened");
        };
        assert_eq!(source.read(4096, 4).as_deref(), Some(&[7; 4][..]));
        file.as_file().set_len(100).expect("truncated");
        assert_eq!(source.read(4096, 4), None);
        assert_eq!(source.read(u64::MAX, 2), None);
    }

    #[test]
    fn our_vdso_is_an_image_with_symbols() {
        let mut module = module(Path::new("/proc/self/exe"));
        module.path = "[vdso]".to_owned();
        let elf = parse(open(&module).expect("a vDSO"), &module).expect("ELF");
        assert!(elf.build_id().is_some());
        module.build_id = "00".to_owned();
        let other = parse(open(&module).expect("a vDSO"), &module);
        assert_eq!(other.unwrap_err(), Reason::FileReplaced);
    }
}
