//! What a process has mapped executable, from /proc/PID/maps (proc_pid_maps(5)).

use crate::events::Module;
use crate::files::{FileId, Identity, vdso};
use crate::probes::objects::Identities;
use crate::units::{Address, Bytes, Nanos, Pid};
use procfs::process::{MMPermissions, MMapPath, MemoryMap, Process};
use std::io;

/// What a process has mapped executable now.
///
/// # Errors
/// ENOENT where there is no such process; EACCES without privileges.
pub fn mapped(pid: Pid) -> io::Result<Vec<Module>> {
    let maps = Process::new(pid.0 as i32).and_then(|process| process.maps());
    let time = Nanos::now();
    let mut identities = Identities::default();
    let executable = |map: &MemoryMap| map.perms.contains(MMPermissions::EXECUTE);
    let maps = maps.map_err(io::Error::other)?;
    let mut modules: Vec<_> = maps
        .into_iter()
        .filter(executable)
        .map(|map| module(map, pid, time))
        .collect();
    for module in &mut modules {
        identities.complete(module);
    }
    Ok(modules)
}

fn module(map: MemoryMap, pid: Pid, time: Nanos) -> Module {
    let (begin, end) = map.address;
    let device = libc::makedev(map.dev.0 as u32, map.dev.1 as u32);
    Module {
        pid,
        time,
        address: Address(begin),
        length: Bytes(end.saturating_sub(begin)),
        offset: map.offset,
        path: path(map.pathname),
        identity: Identity {
            file: (map.inode != 0).then_some(FileId {
                device,
                inode: map.inode,
            }),
            build_id: None,
        },
    }
}

/// As the kernel calls it in its records of mappings.
fn path(name: MMapPath) -> String {
    match name {
        // A new line is the one character that is escaped here.
        MMapPath::Path(path) => path.to_string_lossy().replace("\\012", "\n"),
        MMapPath::Anonymous => "//anon".to_owned(),
        MMapPath::Heap => "[heap]".to_owned(),
        MMapPath::Stack => "[stack]".to_owned(),
        MMapPath::Vdso => vdso::NAME.to_owned(),
        MMapPath::Vsyscall => "[vsyscall]".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_program_and_vdso_are_there() {
        let modules = mapped(Pid(std::process::id())).expect("our own maps");
        let program = std::env::current_exe().expect("our own path");
        let here = our_own_program_and_vdso_are_there as *const () as u64;
        let holds = |m: &Module| (m.address.0..m.address.0 + m.length.0).contains(&here);
        let ours = modules
            .iter()
            .find(|m| holds(m))
            .expect("this function is mapped");
        assert_eq!(ours.path, program.to_string_lossy());
        assert!(modules.iter().any(|m| m.path == "[vdso]"));
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(mapped(Pid(i32::MAX as u32)).is_err());
    }
}
