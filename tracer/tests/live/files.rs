//! Files that are not where the tracer would look for them: deleted, replaced, seen by the
//! target alone. Their functions have their names, and stacks go through them.

use crate::harness::{Trace, build_dir, eventually, program, tracer};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tracer::events::{Body, Cause, Event, Function};
use tracer::recording::Recording;
use tracer::symbols::SymbolTable;

/// Sizes that `library.c` asks for.
const MAPPED: u64 = 0x765000;
const ALLOCATED: u64 = 76543;

const WITHOUT_FRAME_POINTERS: [&str; 2] = ["-O2", "-fomit-frame-pointer"];

fn moved() -> PathBuf {
    program("moved", &WITHOUT_FRAME_POINTERS)
}

fn library(more: &[&str]) -> PathBuf {
    let flags = [&WITHOUT_FRAME_POINTERS, &["-shared", "-fPIC"][..], more].concat();
    program("library", &flags)
}

/// A folder with the library, and a file that is not it but could be taken for it.
fn folder() -> TempDir {
    let dir = tempfile::tempdir_in(build_dir()).expect("a folder");
    fs::copy(library(&[]), dir.path().join("library.so")).expect("copied");
    fs::copy(library(&["-DNAME=other"]), dir.path().join("other.so")).expect("copied");
    dir
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Traces a program of [`moved`], which ends once the tracer has opened the library.
fn trace(program: &str, args: &[&str]) -> Trace {
    let (mut command, dir) = tracer(&[]);
    command.arg("--").arg(program).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("tracer runs");
    let mut before = None;
    eventually("the tracer keeps the library open", || {
        let now = library_open_in(child.id());
        let kept = now.is_some() && now == before;
        before = now;
        kept.then_some(())
    });
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("tracer ends");
    Trace { dir, output }
}

/// The descriptor by which a process has the library.
fn library_open_in(process: u32) -> Option<PathBuf> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    let mut paths = descriptors.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| {
        let file = fs::read_link(path).unwrap_or_default();
        file.to_string_lossy().contains("/library.so")
    })
}

/// What the probes saw of the library: the mapping, its first touch, the allocation.
fn seen(run: &Trace) -> [Vec<Event>; 3] {
    let events: Vec<Event> = recording(run)
        .events()
        .expect("events")
        .map(|event| event.expect("an event"))
        .collect();
    let of = |wanted: &dyn Fn(&Body) -> bool| -> Vec<Event> {
        let found = events.iter().filter(|event| wanted(&event.body));
        found.copied().collect()
    };
    let maps = of(&|body| matches!(body, Body::Map { length, .. } if length.0 == MAPPED));
    let area = maps.first().map(|event| match event.body {
        Body::Map { address, .. } => address,
        _ => unreachable!("a mapping"),
    });
    let touches = of(&|body| {
        matches!(body, Body::Resident { address, cause: Cause::UserFault, .. }
            if Some(*address) == area)
    });
    let allocations = of(&|body| {
        matches!(body, Body::Alloc { function: Function::Malloc, size, .. }
            if size.0 == ALLOCATED)
    });
    [maps, touches, allocations]
}

fn recording(run: &Trace) -> Recording {
    Recording::open(&run.out().join("recording")).expect("a recording")
}

fn symbols(run: &Trace) -> SymbolTable {
    let recording = recording(run);
    let stacks = recording.stacks().expect("stacks");
    let stacks: Vec<_> = stacks.map(|stack| stack.expect("one")).collect();
    let modules = recording.modules().expect("modules");
    let modules: Vec<_> = modules.map(|module| module.expect("one")).collect();
    let symbols = recording.symbols().expect("symbols");
    SymbolTable::new(&stacks, &modules, symbols.map(|s| s.expect("one")))
}

/// Passes if the stack of each event, the C library's frames left out, is the known one. A stack
/// that is cut ends with the reason, which is no frame of the C library.
fn assert_stacks(run: &Trace, events: &[Event], what: &str) {
    let symbols = symbols(run);
    assert_eq!(events.len(), 1, "{what}: {}", run.stderr());
    for event in events {
        let frames = symbols.frames(event.stack);
        let own = frames
            .iter()
            .filter(|frame| frame.module.as_deref() != Some("libc.so.6"));
        let names: Vec<String> = own.map(|frame| frame.name()).collect();
        let expected = [
            "innermost",
            "uses_memory",
            "calls_library",
            "main",
            "_start",
        ];
        assert_eq!(names, expected, "{what}: {frames:?}");
    }
}

fn check(run: &Trace) {
    check_mapping(run);
    let [_, _, allocations] = seen(run);
    assert_stacks(run, &allocations, "allocation");
}

fn check_mapping(run: &Trace) {
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    run.assert_nothing_lost();
    let [maps, touches, _] = seen(run);
    assert_stacks(run, &maps, "mapping");
    assert_stacks(run, &touches, "touch");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_library_that_is_deleted_while_it_is_mapped() {
    let dir = folder();
    let library = dir.path().join("library.so");
    let run = trace(text(&moved()), &[text(&library), "-"]);
    assert!(!library.exists());
    check(&run);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_library_that_is_replaced_while_it_is_mapped() {
    let dir = folder();
    let (library, other) = (dir.path().join("library.so"), dir.path().join("other.so"));
    let run = trace(text(&moved()), &[text(&library), text(&other)]);
    assert!(!other.exists());
    check(&run);
}

/// Two folders: one where the target alone sees its files, and one where everybody else sees
/// something else at the same path.
struct Elsewhere {
    /// The target's root folder.
    root: TempDir,
    /// What everybody else sees.
    outside: TempDir,
}

impl Elsewhere {
    fn new() -> Self {
        let root = tempfile::tempdir_in(build_dir()).expect("a folder");
        let outside = tempfile::tempdir_in(build_dir()).expect("a folder");
        let elsewhere = Self { root, outside };
        let inside = elsewhere.inside();
        fs::create_dir_all(&inside).expect("made");
        fs::copy(moved(), inside.join("moved")).expect("copied");
        fs::copy(library(&[]), inside.join("library.so")).expect("copied");
        let outside = elsewhere.outside.path();
        fs::copy("/bin/false", outside.join("moved")).expect("copied");
        fs::copy(library(&["-DNAME=other"]), outside.join("library.so")).expect("copied");
        elsewhere
    }

    /// The outer path below the target's root.
    fn inside(&self) -> PathBuf {
        let path = self.outside.path().strip_prefix("/").expect("absolute");
        self.root.path().join(path)
    }

    /// Program and library as the target names them.
    fn words(&self) -> [String; 2] {
        ["moved", "library.so"].map(|name| text(&self.outside.path().join(name)).to_owned())
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_program_and_a_library_in_an_overlay_of_its_own() {
    let elsewhere = Elsewhere::new();
    let [program, library] = elsewhere.words();
    let (lower, merged) = (elsewhere.inside(), elsewhere.outside.path());
    // As in a container: the program is of a lower layer, the library was copied up.
    let script = r#"mount -t tmpfs none "$1" && mkdir "$1/lower" "$1/upper" "$1/work" &&
        cp "$0/moved" "$0/library.so" "$1/lower" && mount -t overlay -o \
        "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" none "$2" &&
        touch "$2/library.so" && exec "$3" "$4""#;
    let layers = tempfile::tempdir_in(build_dir()).expect("a folder");
    let words = [
        text(&lower),
        text(layers.path()),
        text(merged),
        &program,
        &library,
    ];
    let shell = [&["-m", "sh", "-c", script], &words[..]].concat();
    check(&trace("unshare", &shell));
}

/// The C library and its loader: those that this test runs with.
pub(crate) fn copy_libc(root: &Path) {
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    let libc = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .find(|path| path.ends_with("/libc.so.6"));
    for path in [libc.expect("glibc"), "/lib64/ld-linux-x86-64.so.2"] {
        let copy = root.join(path.strip_prefix("/").expect("absolute"));
        fs::create_dir_all(copy.parent().expect("a folder")).expect("made");
        fs::copy(path, copy).expect("copied");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_program_in_a_root_folder_of_its_own() {
    let elsewhere = Elsewhere::new();
    copy_libc(elsewhere.root.path());
    let [program, library] = elsewhere.words();
    let root = text(elsewhere.root.path());
    // The probes of an allocator that only the target sees may come too late for the allocation.
    check_mapping(&trace("chroot", &[root, &program, &library]));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_program_in_mounts_of_its_own() {
    let elsewhere = Elsewhere::new();
    let [program, library] = elsewhere.words();
    let (inside, outside) = (elsewhere.inside(), elsewhere.outside.path());
    let script = r#"mount --bind "$1" "$2" && exec "$3" "$4""#;
    let words = [text(&inside), text(outside), &program, &library];
    let shell = [&["-m", "sh", "-c", script, "sh"], &words[..]].concat();
    check(&trace("unshare", &shell));
}

/// Locations and stacks, without the paths of the two folders.
fn named(stats: &Value) -> Vec<(String, Value)> {
    let entries = stats["top_allocs"].as_array().expect("a list");
    let named = |entry: &Value| (entry["location"].to_string(), entry["stack"].clone());
    entries.iter().map(named).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_recording_that_moved_away_from_its_program_gives_the_same_names() {
    let dir = folder();
    let program = dir.path().join("moved");
    fs::copy(moved(), &program).expect("copied");
    let library = dir.path().join("library.so");
    let run = trace(text(&program), &[text(&library)]);
    check(&run);
    // Another machine: neither the program nor its library is there, and another file is.
    fs::rename(dir.path().join("other.so"), &library).expect("replaced");
    fs::remove_file(&program).expect("removed");
    let away = tempfile::tempdir_in(build_dir()).expect("a folder");
    fs::rename(run.out().join("recording"), away.path().join("recording")).expect("moved");
    let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .args(["report", "recording", "-o", "again"])
        .current_dir(away.path())
        .env_clear()
        .output()
        .expect("tracer runs");
    assert!(output.status.success(), "{output:?}");
    let stats = fs::read_to_string(away.path().join("again/stats.json")).expect("written");
    let again: Value = serde_json::from_str(&stats).expect("JSON");
    assert!(stats.contains("innermost:"), "{stats}");
    assert_eq!(named(&again), named(&run.stats()));
    for file in ["top.md", "reserved.svg", "resident.svg", "touched.svg"] {
        let first = fs::read(run.out().join(file)).expect(file);
        let second = fs::read(away.path().join("again").join(file)).expect(file);
        assert!(first == second, "{file}");
    }
}
