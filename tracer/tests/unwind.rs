//! Full stacks on the real kernel; needs root and a C compiler.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command as Tool;
use std::time::Duration;
use tracer::events::{Body, Captured, Event, StackEnd};
use tracer::probes::attach::{self, Attached, Mechanism, Scope};
use tracer::probes::decode::Record;
use tracer::probes::kernel::Kernel;
use tracer::probes::load::{Loaded, Options, Preparation, TargetState, stacks};
use tracer::probes::objects::Finder;
use tracer::target::{Command, Environment, Launch};
use tracer::units::{Bytes, StackId};
use tracer::unwind::Keeper;

/// What a traced program did.
struct Run {
    events: Vec<Event>,
    stacks: HashMap<StackId, Captured>,
    lost: u64,
}

/// Traces a program from its exec to its end, with tables for it and for `others`.
fn trace(words: &[&Path], others: &[PathBuf]) -> Run {
    let words: Vec<_> = words
        .iter()
        .map(|word| word.as_os_str().to_owned())
        .collect();
    let command = Command::new(&words).expect("a program");
    let environment = Environment::current();
    let mut found = Finder::default()
        .command(&command, &environment)
        .expect("an x86-64 program");
    found.files.extend_from_slice(others);
    let kernel = Kernel::probe().expect("needs root");
    let mechanism = Mechanism::of_this_kernel().expect("uprobes");
    let options = Options {
        ring: Bytes(16 << 20),
        uprobes: Some(mechanism),
        copy_all: false,
        stacks: stacks::TABLES,
    };
    let mut loaded =
        Loaded::load(Preparation::start(), &kernel, options).expect("the programs load");
    let tables = loaded.tables().expect("taken once");
    let keeper = Keeper::start(tables, &found.files).expect("tables load");
    let launch = Launch::new(&command, &environment).expect("a waiting child");
    loaded
        .add_target(launch.pid(), TargetState::Waiting)
        .expect("a target");
    loaded.attach(&kernel).expect("tracepoints");
    let programs = loaded.uprobes().expect("uprobe programs");
    let mut links = Vec::new();
    for object in &found.objects {
        let scope = Scope::Process(launch.pid());
        let Attached { links: new, failed } = attach::attach(mechanism, &programs, object, scope);
        assert!(failed.is_empty(), "{failed:?}");
        links.extend(new);
    }
    let mut ring = loaded.ring().expect("taken once");
    launch.release().expect("the program runs");
    let mut run = Run {
        events: Vec::new(),
        stacks: HashMap::new(),
        lost: 0,
    };
    loop {
        let mut ended = false;
        ring.drain(usize::MAX, |record| match record {
            Record::Event { event, .. } => {
                ended |= matches!(event.body, Body::Exit { .. });
                run.events.push(event);
            }
            Record::Stack(stack, _) => {
                run.stacks.insert(stack.id, stack);
            }
        });
        if ended {
            break;
        }
        ring.wait(Duration::from_millis(10)).expect("poll");
    }
    keeper.finish().expect("tables load");
    run.lost = loaded
        .losses()
        .expect("once")
        .read()
        .expect("counts")
        .iter()
        .map(|l| l.count)
        .sum();
    run
}

/// Names of a program's frames, by the memory map that it wrote.
struct Names {
    maps: Vec<(u64, u64, u64, PathBuf)>,
    symbols: HashMap<PathBuf, Vec<(u64, u64, String)>>,
}

impl Names {
    fn new(maps: &Path, unstripped: &[(&Path, &Path)]) -> Self {
        let text = std::fs::read_to_string(maps).expect("the program wrote its map");
        let mut names = Self {
            maps: Vec::new(),
            symbols: HashMap::new(),
        };
        for line in text.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let number = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
            let [range, flags, offset, _, _, path] = fields[..] else {
                continue;
            };
            if flags.contains('x') {
                let (start, end) = range.split_once('-').expect("a range");
                names
                    .maps
                    .push((number(start), number(end), number(offset), path.into()));
            }
        }
        for (_, _, _, path) in &names.maps {
            let with_symbols = unstripped.iter().find(|(shown, _)| shown == path);
            let file = with_symbols.map_or(path.as_path(), |(_, file)| file);
            names.symbols.insert(path.clone(), symbols(file));
        }
        names
    }

    fn name(&self, address: u64) -> String {
        let Some((start, _, offset, path)) = self
            .maps
            .iter()
            .find(|(start, end, ..)| (*start..*end).contains(&address))
        else {
            return "?".into();
        };
        let place = address - start + offset;
        let symbols = &self.symbols[path];
        match symbols
            .iter()
            .find(|(from, size, _)| (*from..from + size).contains(&place))
        {
            Some((_, _, name)) => name.clone(),
            None => "?".into(),
        }
    }
}

/// Functions of a file: offset, size, name.
fn symbols(path: &Path) -> Vec<(u64, u64, String)> {
    use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};
    let Ok(data) = std::fs::read(path) else {
        return Vec::new();
    };
    let Ok(file) = object::File::parse(data.as_slice()) else {
        return Vec::new();
    };
    let offset = |address: u64| {
        file.segments().find_map(|segment| {
            let inside = address.checked_sub(segment.address())?;
            (inside < segment.size()).then(|| segment.file_range().0 + inside)
        })
    };
    let all = file.symbols().chain(file.dynamic_symbols());
    all.filter(|symbol| symbol.kind() == object::SymbolKind::Text && symbol.size() > 0)
        .filter_map(|symbol| {
            Some((
                offset(symbol.address())?,
                symbol.size(),
                symbol.name().ok()?.into(),
            ))
        })
        .collect()
}

fn run_tool(name: &str, arguments: &[&str], files: &[&Path]) {
    let status = Tool::new(name)
        .args(arguments)
        .args(files)
        .status()
        .expect("a C compiler");
    assert!(status.success(), "{name} {arguments:?}");
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/unwind")
        .join(name)
}

/// Compiles `chains.c` with `flags`, runs it, and checks every chain.
fn check_chains(flags: &[&str], strip: bool, with_plugin: bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let (program, full, library, maps) = (
        path("chains"),
        path("chains.full"),
        path("plugin.so"),
        path("maps"),
    );
    let build = [flags, &["-Wall", "-pthread", "-fomit-frame-pointer", "-o"]].concat();
    run_tool("cc", &build, &[&program, &source("chains.c")]);
    let shared = ["-O2", "-fomit-frame-pointer", "-shared", "-fPIC", "-o"];
    run_tool("cc", &shared, &[&library, &source("plugin.c")]);
    std::fs::copy(&program, &full).expect("a copy");
    if strip {
        run_tool("strip", &[], &[&program]);
    }
    let mut words = vec![program.as_path(), maps.as_path()];
    words.extend(with_plugin.then_some(library.as_path()));
    let run = trace(&words, std::slice::from_ref(&library));
    assert_eq!(run.lost, 0);
    let names = Names::new(&maps, &[(&program, &full)]);
    check(&run, &names, with_plugin);
}

fn check(run: &Run, names: &Names, with_plugin: bool) {
    let deep: Vec<&str> = std::iter::repeat_n("deep", 101).collect();
    let chains: [(u64, Vec<&str>); 10] = [
        (0, [&["leaf"], deep.as_slice(), &["main"]].concat()),
        (1, vec!["leaf", "variable", "main"]),
        (2, vec!["leaf", "aligned", "main"]),
        (3, vec!["leaf", "large", "main"]),
        (4, vec!["leaf", "tailed", "main"]),
        (5, vec!["leaf", "never", "to_never", "main"]),
        (6, vec!["leaf", "handler", "signalled", "main"]),
        (7, vec!["leaf", "compare", "sorting", "main"]),
        (8, vec!["leaf", "thread"]),
        (9, vec!["mapping", "main"]),
    ];
    let plugin = (10, vec!["leaf", "inner", "plugin_run", "plugin", "main"]);
    for (number, expected) in chains.into_iter().chain(with_plugin.then_some(plugin)) {
        let size = Bytes(1_000_000 + number);
        let stacks: Vec<StackId> = run
            .events
            .iter()
            .filter(|event| match event.body {
                Body::Alloc { size: found, .. } => found == size,
                Body::Map { length, .. } => length == size,
                _ => false,
            })
            .map(|event| event.stack)
            .collect();
        assert!(stacks.len() >= 2, "{number}: {} events", stacks.len());
        for id in stacks {
            let stack = &run.stacks[&id];
            let all: Vec<String> = stack
                .frames
                .iter()
                .map(|frame| names.name(frame.0 - 1))
                .collect();
            assert_eq!(stack.end, StackEnd::Complete, "{number}: {all:?}");
            // Return addresses name their call; the first frame is no return address.
            let own = ["leaf", "main", "plugin", "inner", "plugin_run"];
            let named: Vec<&str> = all
                .iter()
                .skip(1)
                .map(String::as_str)
                .filter(|name| own.contains(name) || expected.contains(name))
                .collect();
            assert_eq!(named, expected, "{number}: {all:?}");
        }
    }
}

#[test]
fn chains_without_frame_pointers() {
    check_chains(&["-O2"], false, true);
}

#[test]
fn chains_at_o3_stripped_and_not_position_independent() {
    check_chains(&["-O3", "-no-pie"], true, true);
}

#[test]
fn chains_of_a_static_binary() {
    check_chains(&["-O2", "-static"], false, false);
}
