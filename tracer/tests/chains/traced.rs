//! Building the programs, tracing them, and finding the events of a chain.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use tracer::events::{Body, Cause, Event};
use tracer::recording::{Frame, Recording};
use tracer::symbols::SymbolTable;
use tracer::units::Pid;

/// Sizes of a chain: `MARK` of `leaf.h`.
const BASE: u64 = 100_000;

/// Number of the system call.
const EXECVE: u16 = libc::SYS_execve as u16;

/// A way to build a program.
pub(crate) struct Build<'a> {
    pub(crate) compiler: &'a str,
    pub(crate) source: &'a str,
    pub(crate) flags: &'a [&'a str],
    pub(crate) strip: bool,
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chains")
}

fn run_tool(command: &mut Command) {
    let status = command.status().expect("the tool is installed");
    assert!(status.success(), "{command:?}");
}

impl Build<'_> {
    /// Builds it in a folder of its own; the second one has all symbols.
    pub(crate) fn build(&self, dir: &Path) -> (PathBuf, PathBuf) {
        let (program, full) = (dir.join("program"), dir.join("program.full"));
        let source = sources().join(self.source);
        let mut compile = Command::new(self.compiler);
        compile.args(["-g", "-Wall", "-pthread"]).args(self.flags);
        run_tool(compile.arg("-o").arg(&program).arg(source));
        std::fs::copy(&program, &full).expect("a copy");
        if self.strip {
            run_tool(Command::new("strip").arg(&program));
        }
        (program, full)
    }
}

pub(crate) fn plugin(dir: &Path) -> PathBuf {
    let library = dir.join("plugin.so");
    let mut compile = Command::new("cc");
    compile.args([
        "-O2",
        "-fomit-frame-pointer",
        "-shared",
        "-fPIC",
        "-Wl,-z,lazy",
        "-o",
    ]);
    run_tool(compile.arg(&library).arg(sources().join("plugin.c")));
    library
}

/// What a traced program left behind, with names.
pub(crate) struct Traced {
    events: Vec<Event>,
    symbols: SymbolTable,
    full: Symbols,
}

pub(crate) fn trace(program: &Path, full: &Path, words: &[&Path]) -> Traced {
    // Attaching a probe to a library locks every process that has it mapped for a moment, in which
    // nobody can ask the kernel for their mappings: one at a time.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let one = ONE.lock().unwrap_or_else(|broken| broken.into_inner());
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command
        .args(["-q", "-o"])
        .arg(dir.path().join("out"))
        .env("CHAINS", "1");
    let output = command
        .arg("--")
        .arg(program)
        .args(words)
        .output()
        .expect("tracer runs");
    drop(one);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let recording = Recording::open(&dir.path().join("out/recording")).expect("a recording");
    assert!(recording.complete());
    let root = recording.meta().root.expect("a process");
    // The program's list of the code that it made.
    let _ = std::fs::remove_file(format!("/tmp/perf-{}.map", root.0));
    assert_eq!(recording.losses().expect("losses"), []);
    let events = recording
        .events()
        .expect("events")
        .map(|e| e.expect("an event"));
    let events = events.collect();
    let stacks: Vec<_> = recording
        .stacks()
        .expect("stacks")
        .map(|s| s.expect("a stack"))
        .collect();
    let modules: Vec<_> = recording
        .modules()
        .expect("modules")
        .map(|m| m.expect("one"))
        .collect();
    let symbols: Vec<_> = recording
        .symbols()
        .expect("symbols")
        .map(|s| s.expect("one"))
        .collect();
    Traced {
        events,
        symbols: SymbolTable::new(&stacks, &modules, symbols),
        full: Symbols::read(full),
    }
}

/// Functions of a program before it was stripped: address, size, name.
struct Symbols(Vec<(u64, u64, String)>);

impl Symbols {
    fn read(path: &Path) -> Self {
        use object::{Object as _, ObjectSymbol as _};
        let data = std::fs::read(path).expect("the program");
        let file = object::File::parse(data.as_slice()).expect("ELF");
        // musl's assembly does not say that `_start` is a function.
        let text = |s: &object::Symbol<'_, '_>| {
            use object::SymbolKind::{Text, Unknown};
            matches!(s.kind(), Text | Unknown) && s.is_definition()
        };
        let symbol = |s: object::Symbol<'_, '_>| {
            // Pieces of assembly have none.
            let size = if s.size() == 0 { 32 } else { s.size() };
            Some((s.address(), size, s.name().ok()?.to_owned()))
        };
        let mut all: Vec<_> = file.symbols().filter(text).filter_map(symbol).collect();
        // Functions before labels in them.
        all.sort_by_key(|(_, size, _)| *size == 32);
        Self(all)
    }

    fn name(&self, address: u64) -> Option<&str> {
        let holds = |(begin, size, _): &&(u64, u64, String)| address.wrapping_sub(*begin) < *size;
        self.0.iter().find(holds).map(|(_, _, name)| name.as_str())
    }
}

impl Traced {
    /// The frames of an event's stack, innermost first.
    pub(crate) fn names(&self, event: &Event) -> Vec<String> {
        let frames = self.symbols.frames(event.stack);
        frames.into_iter().map(|frame| self.name(frame)).collect()
    }

    fn name(&self, frame: &Frame) -> String {
        let of_program = frame.module.as_deref() == Some("program");
        if frame.function.is_none()
            && of_program
            && let Some(name) = self.full.name(frame.offset)
        {
            return name.to_owned();
        }
        let name = frame.name();
        // Arguments of C++ functions.
        name.split('(').next().unwrap_or(&name).to_owned()
    }

    /// The events of a chain, by the number of the probe.
    pub(crate) fn of_chain(&self, chain: u64) -> BTreeMap<usize, Vec<&Event>> {
        let mut found: BTreeMap<usize, Vec<&Event>> = BTreeMap::new();
        let mark = |probe: u64| BASE + chain * 100 + probe * 15;
        let mut add = |probe: usize, event| found.entry(probe).or_default().push(event);
        let mut areas: HashMap<u64, u64> = HashMap::new();
        let ends = self.ends();
        for (index, event) in self.events.iter().enumerate() {
            match event.body {
                Body::Alloc { address, size, .. } | Body::ReallocExit { address, size, .. }
                    if size.0 == mark(1) =>
                {
                    for fault in self.faults_before(index, event, address.0, size.0) {
                        add(1, fault);
                    }
                }
                Body::Alloc { size, .. } if size.0 == mark(0) => add(0, event),
                Body::Map { length, .. } if length.0 == mark(2) => add(2, event),
                Body::Map {
                    address, length, ..
                } => {
                    areas.insert(address.0, length.0);
                }
                Body::Resident {
                    address,
                    cause: Cause::UserFault,
                    ..
                } if areas.get(&address.0) == Some(&mark(3)) => {
                    add(3, event);
                }
                Body::Resident {
                    address,
                    cause: Cause::KernelFault,
                    ..
                } if areas.get(&address.0) == Some(&mark(4)) => {
                    add(4, event);
                }
                Body::Fork { child, .. } if ends.get(&child) == Some(&chain) => add(5, event),
                Body::Fork { child, .. } if ends.get(&child) == Some(&(100 + chain)) => {
                    add(7, event);
                }
                Body::Fork { child, .. } if ends.get(&child) == Some(&(50 + chain)) => {
                    add(10, event);
                }
                Body::Exit { .. } if ends.get(&event.pid) == Some(&(50 + chain)) => {
                    add(11, event);
                }
                Body::Resident {
                    syscall: EXECVE,
                    cause: Cause::KernelFault,
                    ..
                } if ends.get(&event.pid) == Some(&(100 + chain)) => add(9, event),
                Body::Exit { .. } if ends.get(&event.pid) == Some(&chain) => add(6, event),
                Body::Exec { .. } if ends.get(&event.pid) == Some(&(100 + chain)) => add(8, event),
                _ => {}
            }
        }
        found
    }

    /// Stacks of a chain's allocations, `more` bytes larger than its mark.
    pub(crate) fn allocations(&self, chain: u64, more: u64) -> Vec<Vec<String>> {
        let least = BASE + chain * 100;
        let wanted = |event: &&Event| match event.body {
            Body::Alloc { size, .. } => size.0 == least + more,
            _ => false,
        };
        let found = self.events.iter().filter(wanted);
        found.map(|event| self.names(event)).collect()
    }

    /// Exit codes of processes.
    fn ends(&self) -> HashMap<Pid, u64> {
        let end = |event: &Event| match event.body {
            Body::Exit { status, .. } => Some((event.pid, u64::from(status >> 8))),
            _ => None,
        };
        self.events.iter().filter_map(end).collect()
    }

    /// Faults of the thread inside the block that its call then returned.
    fn faults_before(&self, index: usize, call: &Event, begin: u64, size: u64) -> Vec<&Event> {
        let before = self.events[..index].iter().rev();
        let own = before.filter(|event| event.tid == call.tid);
        // The allocator may map the block, and unmap the one that was copied.
        let inside = |event: &&Event| {
            use Body::{CheckBegin, CheckEnd, Map, Present, Resident, Returned, Unmap};
            match event.body {
                Resident { .. } | Map { .. } | Unmap { .. } | Returned { .. } => true,
                // The tracer's own may come in between.
                CheckBegin | Present { .. } | CheckEnd => true,
                _ => false,
            }
        };
        own.take_while(inside)
            .filter(|event| match event.body {
                Body::Resident { address, .. } => (begin..begin + size).contains(&address.0),
                _ => false,
            })
            .collect()
    }
}
