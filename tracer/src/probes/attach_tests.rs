//! On the real kernel; needs root.

use super::super::objects::inspect;
use super::super::table::functions;
use super::*;
use crate::tracee::{Command, Environment, Launch, Status};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;

const ROOT: &str = "needs root (CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE)";

/// A program that adds 1 to a counter that its cookie chooses.
struct Counter {
    program: OwnedFd,
    counts: OwnedFd,
}

impl Counter {
    fn new(mechanism: Mechanism) -> Self {
        let counts = sys::tests::array_map(64).expect(ROOT);
        let program = sys::tests::load_counter(mechanism.expected_attach_type(), counts.as_fd());
        Self {
            program: program.expect(ROOT),
            counts,
        }
    }

    fn get(&self, cookie: u64) -> u64 {
        sys::tests::lookup(self.counts.as_fd(), cookie as u32).unwrap()
    }
}

/// A program that calls each function as often as its number says, times 1000.
fn caller(directory: &Path) -> PathBuf {
    let source = r#"
        #define _GNU_SOURCE
        #include <malloc.h>
        #include <stdlib.h>
        #define TIMES(function, call) for (int i = 0; i < function * 1000; i++) { call; sink = p; }
        static void *volatile sink;
        int main(void) {
            void *p = 0, *kept = malloc(1);
            TIMES(5, posix_memalign(&p, 64, i))
            TIMES(6, p = aligned_alloc(64, 64))
            TIMES(7, p = memalign(64, i))
            TIMES(8, p = valloc(1))
            TIMES(9, p = pvalloc(1))
            TIMES(4, kept = reallocarray(kept, i + 1, 1))
            TIMES(3, kept = realloc(kept, i + 1))
            TIMES(2, p = calloc(i, 1))
            TIMES(1, p = malloc(i))
            TIMES(10, free(i % 2 ? malloc(1) : 0))
            return 0;
        }"#;
    compile(directory, "caller", source, &["-O1", "-fno-builtin"])
}

fn compile(directory: &Path, name: &str, source: &str, flags: &[&str]) -> PathBuf {
    let (file, out) = (directory.join(format!("{name}.c")), directory.join(name));
    std::fs::write(&file, source).unwrap();
    let mut cc = std::process::Command::new("cc");
    let status = cc.args(flags).arg("-o").args([&out, &file]).status();
    assert!(status.expect("cc, a C compiler, is needed").success());
    out
}

/// A program that says when it is ready, and waits to be told to go on.
struct Waiter(std::process::Child);

impl Waiter {
    fn new(mut command: std::process::Command) -> Self {
        let piped = std::process::Stdio::piped;
        let child = command.stdin(piped()).stdout(piped()).spawn();
        let mut waiter = Self(child.unwrap());
        waiter.ready();
        waiter
    }

    fn pid(&self) -> Pid {
        Pid(self.0.id())
    }

    fn ready(&mut self) {
        self.0
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut [0])
            .unwrap();
    }

    fn go(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn end(mut self) {
        assert!(self.0.wait().unwrap().success());
    }
}

fn launch(program: &Path) -> Launch {
    let command = Command::new(&[OsString::from(program)]).unwrap();
    Launch::new(&command, &Environment::current()).unwrap()
}

fn run(launch: Launch) {
    let status = launch.release().unwrap().wait().unwrap().status;
    assert_eq!(status, Status::Exited(0));
}

fn libc_object() -> Object {
    let libc = Path::new("/lib/x86_64-linux-gnu/libc.so.6");
    inspect(&libc.canonicalize().unwrap()).unwrap()
}

/// Runs the caller with a counting program at each site's entry (cookies from 0)
/// and at its placement (cookies from 16), or at its return.
fn count(mechanism: Mechanism, at: At) -> (Object, Counter) {
    let directory = tempfile::tempdir().unwrap();
    let launch = launch(&caller(directory.path()));
    let counter = Counter::new(mechanism);
    let object = libc_object();
    let points = |base: u64, offset: fn(&Site) -> u64| -> Vec<Point> {
        let point = |site: &Site| Point {
            offset: offset(site),
            cookie: base + site.function as u64,
        };
        object.sites.iter().map(point).collect()
    };
    let attach = |points: &[Point]| {
        let scope = Scope::Process(launch.pid());
        mechanism.attach(counter.program.as_fd(), &object.path, points, at, scope)
    };
    let _links = [
        attach(&points(0, |site| site.entry)).expect(ROOT),
        attach(&points(16, |site| site.offset)).expect(ROOT),
    ];
    run(launch);
    (object, counter)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn placed_probes_count_what_entry_probes_count() {
    for mechanism in [Mechanism::UprobeMulti, Mechanism::PerfEvent] {
        for at in [At::Entry, At::Return] {
            let (object, counter) = count(mechanism, at);
            assert!(object.sites.iter().any(|site| site.offset != site.entry));
            for site in &object.sites {
                let cookie = site.function as u64;
                let (entry, placed) = (counter.get(cookie), counter.get(16 + cookie));
                assert_eq!(entry, placed, "{:?} {mechanism:?} {at:?}", site.function);
            }
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_call_is_counted() {
    let (object, counter) = count(Mechanism::of_this_kernel().expect(ROOT), At::Entry);
    let calls = |function: Function| counter.get(function as u64);
    // One address serves both names.
    assert_eq!(calls(Function::AlignedAlloc), 6000 + 7000);
    assert_eq!(calls(Function::PosixMemalign), 5000);
    assert_eq!(calls(Function::Valloc), 8000);
    assert_eq!(calls(Function::Pvalloc), 9000);
    assert_eq!(calls(Function::ReallocArray), 4000);
    // reallocarray ends in a jump to realloc.
    assert_eq!(calls(Function::Realloc), 3000 + 4000);
    assert_eq!(calls(Function::Free), 10_000, "free(NULL) included");
    let all = functions().map(|row| row.function);
    let unseen: Vec<_> = all.filter(|&function| calls(function) == 0).collect();
    assert_eq!(unseen, [Function::Memalign], "{:?}", object.sites);
}

/// Probes found late, in a file that has a path only in its process's own mount
/// namespace.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_file_in_another_mount_namespace_is_probed() {
    use crate::probes::modules::mapped;
    use crate::probes::objects::{Finder, Found};
    let directory = tempfile::tempdir().unwrap();
    let source = r#"
        #include <stdio.h>
        #include <stdlib.h>
        int main(void) {
            puts(""); fflush(stdout); getchar();
            for (int i = 0; i < 1000; i++) free(malloc(i));
            return 0;
        }"#;
    let program = compile(directory.path(), "waiter", source, &["-static"]);
    let script = "mount -t tmpfs none /mnt && cp $0 /mnt/hidden && exec /mnt/hidden";
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["-m", "sh", "-c", script]).arg(&program);
    let mut waiter = Waiter::new(unshare);
    let pid = waiter.pid();
    let (mut finder, mut found) = (Finder::default(), Found::default());
    finder.modules(&mapped(pid).expect(ROOT), &mut found);
    assert_eq!(found.objects.len(), 1);
    let mechanism = Mechanism::of_this_kernel().expect(ROOT);
    let counter = Counter::new(mechanism);
    let points: Vec<_> = found.objects[0].sites.iter().map(point).collect();
    let (fd, scope) = (counter.program.as_fd(), Scope::Process(pid));
    let links = mechanism.attach(fd, &found.objects[0].path, &points, At::Entry, scope);
    let _links = links.expect(ROOT);
    waiter.go();
    waiter.end();
    assert!(counter.get(Function::Malloc as u64) >= 1000);
    assert!(counter.get(Function::Free as u64) >= 1000);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn other_processes_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let program = caller(directory.path());
    for mechanism in [Mechanism::UprobeMulti, Mechanism::PerfEvent] {
        let (traced, other) = (launch(&program), launch(&program));
        let counter = Counter::new(mechanism);
        let object = libc_object();
        let points: Vec<_> = object.sites.iter().map(point).collect();
        let scope = Scope::Process(traced.pid());
        let fd = counter.program.as_fd();
        let links = mechanism.attach(fd, &object.path, &points, At::Entry, scope);
        let _links = links.expect(ROOT);
        run(other);
        assert!((0..64).all(|cookie| counter.get(cookie) == 0));
        run(traced);
        assert_eq!(counter.get(Function::Valloc as u64), 8000);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_whole_table_is_attached() {
    let mechanism = Mechanism::of_this_kernel().expect(ROOT);
    let counter = Counter::new(mechanism);
    let fd = counter.program.as_fd();
    let programs = Programs {
        alloc_enter: fd,
        alloc_exit: fd,
        free_enter: fd,
    };
    let directory = tempfile::tempdir().unwrap();
    let launch = launch(&caller(directory.path()));
    let scope = Scope::Process(launch.pid());
    let attached = attach(mechanism, &programs, &libc_object(), scope);
    assert!(attached.failed.is_empty(), "{:?}", attached.failed);
    run(launch);
    assert_eq!(
        counter.get(Function::Valloc as u64),
        2 * 8000,
        "entry and return"
    );
    assert_eq!(counter.get(Function::Free as u64), 10_000, "entry only");
    detach(attached.links);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn one_instruction_that_cannot_be_probed_costs_one_function() {
    let mechanism = Mechanism::of_this_kernel().expect(ROOT);
    let counter = Counter::new(mechanism);
    let fd = counter.program.as_fd();
    let programs = Programs {
        alloc_enter: fd,
        alloc_exit: fd,
        free_enter: fd,
    };
    let mut object = libc_object();
    for site in &mut object.sites {
        if site.function == Function::Valloc {
            // Far behind the file's end.
            site.offset = 1 << 40;
        }
    }
    let attached = attach(mechanism, &programs, &object, Scope::Everyone);
    let failed: Vec<_> = attached
        .failed
        .iter()
        .map(|error| (error.function, error.program.at(), error.required))
        .collect();
    let valloc = |at| (Function::Valloc, at, false);
    assert_eq!(failed, [valloc(At::Return), valloc(At::Entry)]);
    assert!(!attached.links.is_empty());
}

/// The kernel's filter asks the thread that led the process for its address
/// space, and an exec by another thread replaces that thread.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_exec_by_another_thread_needs_new_probes() {
    let directory = tempfile::tempdir().unwrap();
    let source = r#"
        #include <pthread.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <unistd.h>
        static void *volatile sink;
        static void *run(void *program) {
            execl(program, program, "again", (char *)0);
            return 0;
        }
        int main(int argc, char **argv) {
            pthread_t thread;
            setvbuf(stdin, 0, _IONBF, 0);
            puts(""); fflush(stdout); getchar();
            for (int i = 0; i < 1000; i++) sink = valloc(1);
            if (argc == 1) {
                pthread_create(&thread, 0, run, argv[0]);
                pthread_join(thread, 0);
            }
            return 0;
        }"#;
    let program = compile(directory.path(), "threaded", source, &["-pthread"]);
    for mechanism in [Mechanism::UprobeMulti, Mechanism::PerfEvent] {
        let mut waiter = Waiter::new(std::process::Command::new(&program));
        // Each has a program of its own, for a test beside this one may be between its fork
        // and its exec and hold a copy of the first link's descriptor then: the link would
        // outlive the drop, and count beside the second.
        let (first, second) = (Counter::new(mechanism), Counter::new(mechanism));
        let object = libc_object();
        let points: Vec<_> = object.sites.iter().map(point).collect();
        let attach = |counter: &Counter, waiter: &Waiter| {
            let (fd, scope) = (counter.program.as_fd(), Scope::Process(waiter.pid()));
            let links = mechanism.attach(fd, &object.path, &points, At::Entry, scope);
            links.expect(ROOT)
        };
        let valloc = Function::Valloc as u64;
        let links = attach(&first, &waiter);
        waiter.go();
        waiter.ready();
        assert_eq!(first.get(valloc), 1000, "{mechanism:?}");
        drop(links);
        let _links = attach(&second, &waiter);
        waiter.go();
        waiter.end();
        assert_eq!(second.get(valloc), 1000, "{mechanism:?}");
    }
}
