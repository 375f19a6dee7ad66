use super::*;
use crate::files::{Identity, open};
use crate::probes::objects::file_of;
use crate::tracee::{Command, Environment, Launch, Status};
use crate::units::{Address, Bytes};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Digits of a module's build-id.
fn length(module: &Module) -> usize {
    module.build_id().map_or(0, |id| id.as_str().len())
}

const ROOT: &str = "needs root (CAP_PERFMON, CAP_SYS_PTRACE)";

/// Runs a command to its end; what it was seen to map, and its process id.
fn watch(words: &[&str]) -> (Vec<Module>, Pid) {
    let words: Vec<_> = words.iter().map(Into::into).collect();
    let command = Command::new(&words).unwrap();
    let launch = Launch::new(&command, &Environment::current()).unwrap();
    let pid = launch.pid();
    let mut watcher = Watcher::new(pid).expect(ROOT);
    let status = launch.release().unwrap().wait().unwrap().status;
    assert_eq!(status, Status::Exited(0));
    let modules = watcher.drain();
    assert_eq!(watcher.lost(), 0);
    (modules, pid)
}

fn name(module: &Module) -> String {
    let bytes = Path::new(&module.path)
        .file_name()
        .unwrap_or_default()
        .as_bytes();
    String::from_utf8_lossy(bytes).into_owned()
}

fn names(modules: &[Module], pid: Pid) -> BTreeSet<String> {
    modules
        .iter()
        .filter(|module| module.pid == pid)
        .map(name)
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn exec_itself_and_the_dynamic_linker_are_seen() {
    let before = Nanos::now();
    let (modules, pid) = watch(&["/bin/true"]);
    let own = names(&modules, pid);
    assert_eq!(
        own,
        set(&["true", "ld-linux-x86-64.so.2", "libc.so.6", "[vdso]"])
    );
    for module in modules.iter().filter(|module| module.path.starts_with('/')) {
        let path = Path::new(&module.path);
        let expected = open::identity(&open::regular(path).unwrap()).unwrap();
        assert_eq!(module.identity, expected);
        assert_eq!(length(module), 40, "{}", module.path);
        assert!((before..Nanos::now()).contains(&module.time));
        assert_eq!(
            file_of(module).as_deref(),
            Some(path),
            "the process is gone"
        );
    }
}

/// The records must say what the kernel says of a live process.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn records_agree_with_proc_maps() {
    let command = Command::new(&["sh".into(), "-c".into(), "echo; read x".into()]).unwrap();
    let mut child = std::process::Command::new(&command.program)
        .args(&command.arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let pid = Pid(child.id());
    let modules = mapped(pid).unwrap();
    assert!(names(&modules, pid).is_superset(&set(&["libc.so.6", "[vdso]"])));
    for module in &modules {
        if module.path.starts_with('/') {
            assert_eq!(length(module), 40, "{}", module.path);
            let link = file_of(module).expect(ROOT);
            assert!(link.starts_with(format!("/proc/{}/map_files", pid.0)));
            assert_eq!(link.canonicalize().unwrap(), PathBuf::from(&module.path));
        }
    }
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(mapped(pid).is_err());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn processes_that_live_a_moment_are_seen_whole() {
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; (:); exit 0";
    let (modules, pid) = watch(&["sh", "-c", script]);
    let pids: BTreeSet<Pid> = modules.iter().map(|module| module.pid).collect();
    let trues = |pid: &&Pid| names(&modules, **pid).contains("true");
    assert_eq!(pids.iter().filter(trues).count(), 10);
    assert_eq!(pids.len(), 12, "the shell, ten programs, a subshell");
    for &child in &pids {
        let own = names(&modules, child);
        let libraries = set(&["libc.so.6", "[vdso]"]);
        assert!(own.is_superset(&libraries), "{own:?}");
    }
    // The subshell never executed anything: it has what the shell had.
    let last = *pids.iter().max().unwrap();
    assert_eq!(names(&modules, last), names(&modules, pid));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn libraries_loaded_later_are_seen() {
    let script = "import ctypes; ctypes.CDLL('libresolv.so.2')";
    let (modules, pid) = watch(&["python3", "-c", script]);
    assert!(names(&modules, pid).contains("libresolv.so.2"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_replaced_file_is_not_taken_for_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    // By another process: a descriptor of ours, open for writing, would be in
    // the children that other tests fork just now ("text file busy").
    let copy = |from| {
        let mut cp = std::process::Command::new("cp");
        assert!(cp.arg(from).arg(&program).status().unwrap().success());
    };
    copy("/bin/true");
    let (modules, _) = watch(&[program.to_str().unwrap()]);
    let module = modules
        .iter()
        .find(|module| name(module) == "program")
        .unwrap();
    assert_eq!(file_of(module), Some(program.clone()));
    std::fs::remove_file(&program).unwrap();
    assert_eq!(file_of(module), None);
    copy("/bin/ls");
    assert_eq!(file_of(module), None);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn threads_of_a_running_process_are_watched() {
    let script = "
import ctypes, threading, sys
def load():
    sys.stdin.readline()
    ctypes.CDLL('libresolv.so.2')
thread = threading.Thread(target=load)
thread.start()
print(flush=True)
thread.join()";
    let mut child = std::process::Command::new("python3")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let pid = Pid(child.id());
    let mut watcher = Watcher::new(pid).expect(ROOT);
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(names(&watcher.drain(), pid), set(&["libresolv.so.2"]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_does_not_fit_is_counted() {
    // Each mapping is made executable by itself and leaves a record: more than fit.
    let script = "
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
area = mmap.mmap(-1, 1 << 24)
base = ctypes.addressof(ctypes.c_char.from_buffer(area))
for i in range(20000):
    flags = 5 if i % 2 else 3
    assert libc.mprotect(ctypes.c_void_p(base), 4096, flags) == 0";
    let words = ["python3".into(), "-c".into(), script.into()];
    let command = Command::new(&words).unwrap();
    let launch = Launch::new(&command, &Environment::current()).unwrap();
    let mut watcher = Watcher::new(launch.pid()).expect(ROOT);
    assert_eq!(
        launch.release().unwrap().wait().unwrap().status,
        Status::Exited(0)
    );
    let modules = watcher.drain();
    let seen = modules
        .iter()
        .filter(|module| module.length == Bytes(4096))
        .count() as u64;
    assert!(seen < 10_000);
    assert!(
        seen + watcher.lost() >= 10_000,
        "{seen} + {}",
        watcher.lost()
    );
}

fn module(pid: u32, time: u64, address: u64) -> Module {
    Module {
        pid: Pid(pid),
        time: Nanos(time),
        address: Address(address),
        length: Bytes(1),
        offset: 0,
        path: String::new(),
        identity: Identity::default(),
    }
}

/// Order of arrival must not matter: records of two processors may cross.
#[test]
fn children_inherit_what_was_mapped_before_they_were_born() {
    let mut processes = Processes::default();
    let mut out = Vec::new();
    processes.mapped(module(1, 10, 0xa), &mut out);
    processes.forked(Nanos(20), Pid(1), Pid(2), &mut out);
    processes.forked(Nanos(25), Pid(2), Pid(3), &mut out);
    processes.mapped(module(1, 15, 0xb), &mut out);
    processes.mapped(module(1, 30, 0xc), &mut out);
    processes.executed(Nanos(40), Pid(1));
    processes.mapped(module(1, 41, 0xd), &mut out);
    processes.forked(Nanos(50), Pid(1), Pid(4), &mut out);
    let of = |pid| -> Vec<_> {
        let own = out.iter().filter(|module| module.pid == Pid(pid));
        own.map(|module| (module.time.0, module.address.0))
            .collect()
    };
    assert_eq!(of(1), [(10, 0xa), (15, 0xb), (30, 0xc), (41, 0xd)]);
    assert_eq!(of(2), [(20, 0xa), (20, 0xb)]);
    assert_eq!(of(3), [(25, 0xa), (25, 0xb)]);
    assert_eq!(of(4), [(50, 0xd)]);
    processes.exited(Pid(1));
    processes.forked(Nanos(60), Pid(1), Pid(5), &mut out);
    assert!(out.iter().all(|module| module.pid != Pid(5)));
}

#[test]
fn lists_of_processors_are_read() {
    assert_eq!(parse_cpus("0-2,5"), Some(vec![0, 1, 2, 5]));
    assert_eq!(parse_cpus("0"), Some(vec![0]));
    assert_eq!(parse_cpus(""), None);
}
