//! Known call chains: program × chain × kind of probe gives exactly the known frames.
//!
//! The programs (in this folder) call each other in known ways and end in a leaf that
//! meets every kind of probe once; sizes and exit statuses tell which chain an event belongs to.
//! Needs root and C compilers.

mod traced;

use std::path::Path;
use traced::{Build, Traced, plugin, trace};

/// What happens at the innermost end of a chain, and the frames there; see `leaf.h`.
/// `@` stands for one or more frames of the C library.
const PROBES: [(&str, &str); 12] = [
    ("malloc", "malloc allocates leaf"),
    // Clearing is its last act, so that it may be a jump.
    ("fault inside calloc", "@ clears leaf"),
    ("mmap", "@ fresh~ maps leaf"),
    ("user fault", "touches leaf"),
    ("kernel fault", "@ reads leaf"),
    ("fork", "@ forks leaf"),
    ("exit", "@ forks leaf"),
    ("fork before exec", "@ executes leaf"),
    ("exec", "@ executes leaf"),
    ("the new image's first pages", "@ executes leaf"),
    ("vfork", "@ vforks leaf"),
    ("exit on the parent's stack", "@ vforks leaf"),
];

/// Those that a child meets.
const IN_CHILD: [usize; 3] = [6, 8, 9];

/// The stack that `_start` is the end of, and that of a thread.
const MAIN: &str = "main @ _start";
/// The same through the function that goes through the chains of `chains.c`.
const ROUND: &str = "chains main @ _start";
const THREAD: &str = "@";

/// The chains of `chains.c`: number, name, frames from the leaf's caller outwards. `name*n`: n
/// frames of that name; `name~`: an inlined function, which only debug information shows;
/// `?`: a frame in code that no file backs, but a perf map names.
const CHAINS: [(u64, &str, &str, &str); 17] = [
    (1, "deep", "deep*101", ROUND),
    (2, "alloca", "variable", ROUND),
    (3, "aligned", "aligned", ROUND),
    (4, "large frame", "large", ROUND),
    (5, "tail call", "tailed", ROUND),
    (6, "noreturn", "never to_never", ROUND),
    (7, "signal handler", "on_signal @ signalled", ROUND),
    (8, "callback of libc", "compare @ sorting", ROUND),
    (9, "thread", "thread", THREAD),
    (10, "inlined", "inner~ middle~ inlining", ROUND),
    (
        11,
        "handler of a fault, on its own stack",
        "on_fault @ faulting",
        ROUND,
    ),
    (12, "JIT", "? jitted", ROUND),
    (13, "clone", "cloned", THREAD),
    (14, "coroutine", "coroutine", THREAD),
    (15, "constructor", "constructed @ _start", ""),
    (16, "_init", "initial _init @ _start", ""),
    (17, "atexit", "at_exit @ _start", ""),
];

/// Those that need a plugin.
const PLUGIN: [(u64, &str, &str, &str); 2] = [
    (18, "dlopened", "plugged plugin_run plugin", MAIN),
    (
        19,
        "first call through a PLT",
        "resolve plugin_chosen @ plugin_call_chosen resolving",
        MAIN,
    ),
];

/// Those of `exceptions.cc` that end in a leaf.
const EXCEPTIONS: [(u64, &str, &str, &str); 3] = [
    (2, "destructor", "Guard::~Guard guarded destroying", MAIN),
    (3, "catch block", "catching", MAIN),
    (4, "after a rethrow", "catching_again", MAIN),
];

/// Whether the frames are those that were expected.
fn matches(expected: &[&str], names: &[String], own: &dyn Fn(&str) -> bool) -> bool {
    let Some((&first, rest)) = expected.split_first() else {
        return names.is_empty();
    };
    match first {
        "@" => {
            let foreign = names
                .iter()
                .take_while(|n| !own(n) && !n.starts_with('['))
                .count();
            (1..=foreign)
                .rev()
                .any(|count| matches(rest, &names[count..], own))
        }
        "?" => {
            names
                .first()
                .is_some_and(|n| n.starts_with("[anonymous code"))
                && matches(rest, &names[1..], own)
        }
        name => names.first().is_some_and(|n| n == name) && matches(rest, &names[1..], own),
    }
}

/// The expected frames, one by one.
fn expand(frames: &str, inlined: bool) -> Vec<&str> {
    let mut all = Vec::new();
    for word in frames.split_whitespace() {
        match (word.split_once('*'), word.strip_suffix('~')) {
            (Some((name, count)), _) => {
                all.extend(std::iter::repeat_n(name, count.parse().expect("a count")));
            }
            (None, Some(name)) => all.extend(inlined.then_some(name)),
            (None, None) => all.push(word),
        }
    }
    all
}

/// Frames in one line, repetitions as `name*n`.
fn short<T: AsRef<str>>(names: &[T]) -> String {
    let same = |a: &T, b: &T| a.as_ref() == b.as_ref();
    let word = |names: &[T]| match (names[0].as_ref(), names.len()) {
        (name, 1) => name.to_owned(),
        (name, count) => format!("{name}*{count}"),
    };
    names.chunk_by(same).map(word).collect::<Vec<_>>().join(" ")
}

/// Checks every chain at every probe; all differences in one message.
fn check(traced: &Traced, chains: &[(u64, &str, &str, &str)], inlined: bool, probes: &[usize]) {
    let mut wrong = Vec::new();
    let all: Vec<&str> = CHAINS
        .iter()
        .chain(&PLUGIN)
        .chain(&EXCEPTIONS)
        .flat_map(|(_, _, frames, outer)| [*frames, *outer])
        .chain(PROBES.iter().map(|(_, frames)| *frames))
        .flat_map(|frames| expand(frames, true))
        .collect();
    let own = |name: &str| all.contains(&name);
    for &(number, chain, frames, outer) in chains {
        let found = traced.of_chain(number);
        for &probe in probes {
            let (name, inner) = PROBES[probe];
            // A child has its parent's code, but no map of its own that names it.
            let named = if IN_CHILD.contains(&probe) {
                "?"
            } else {
                "jit_code"
            };
            let frames = format!("{inner} {frames} {outer}").replace('?', named);
            let expected = expand(&frames, inlined);
            let events = found.get(&probe).map(Vec::as_slice).unwrap_or_default();
            if events.is_empty() {
                wrong.push(format!("{chain}, {name}: no event"));
            }
            let differs = events
                .iter()
                .map(|event| traced.names(event))
                .find(|names| !matches(&expected, names, &own));
            if let Some(names) = differs {
                wrong.push(format!(
                    "{chain}, {name}:\n  expected {}\n  found    {}",
                    short(&expected),
                    short(&names)
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

const ALL_PROBES: [usize; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

fn check_c(build: &Build<'_>, with_plugin: bool) {
    let dir = tempfile::tempdir().expect("a folder");
    let (program, full) = build.build(dir.path());
    let library = plugin(dir.path());
    let words: &[&Path] = if with_plugin { &[&library] } else { &[] };
    let traced = trace(&program, &full, words);
    let plugin = if with_plugin { &PLUGIN[..] } else { &[] };
    let chains = [&CHAINS[..], plugin].concat();
    check(&traced, &chains, !build.strip, &ALL_PROBES);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn chains_without_frame_pointers() {
    let build = Build {
        compiler: "cc",
        source: "chains.c",
        flags: &["-O2", "-fomit-frame-pointer"],
        strip: false,
    };
    check_c(&build, true);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn chains_of_a_stripped_program_at_a_fixed_address() {
    let build = Build {
        compiler: "cc",
        source: "chains.c",
        flags: &["-O3", "-fomit-frame-pointer", "-no-pie"],
        strip: true,
    };
    check_c(&build, true);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn chains_of_a_static_program() {
    let build = Build {
        compiler: "cc",
        source: "chains.c",
        flags: &["-O2", "-fomit-frame-pointer", "-static"],
        strip: false,
    };
    check_c(&build, false);
}

/// musl's own code comes without unwind information.
fn check_musl(strip: bool, probes: &[usize]) {
    /// musl has no coroutines.
    const COROUTINE: u64 = 14;
    let dir = tempfile::tempdir().expect("a folder");
    let build = Build {
        compiler: "musl-gcc",
        source: "chains.c",
        flags: &["-O2", "-fomit-frame-pointer", "-static"],
        strip,
    };
    let (program, full) = build.build(dir.path());
    let traced = trace(&program, &full, &[]);
    let mut chains = CHAINS.to_vec();
    chains.retain(|(number, ..)| *number != COROUTINE);
    check(&traced, &chains, !strip, probes);
}

/// In musl's vfork the return address is in a register, and nothing says so: such a stack is
/// cut there, which the tracer tells.
const MUSL_PROBES: [usize; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn chains_of_a_static_musl_program() {
    check_musl(false, &MUSL_PROBES);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn chains_of_a_stripped_static_musl_program() {
    // Without symbols there is no allocator to probe.
    check_musl(true, &MUSL_PROBES[2..]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn chains_of_code_with_frame_pointers_alone() {
    let build = Build {
        compiler: "cc",
        source: "chains.c",
        flags: &[
            "-O2",
            "-fno-omit-frame-pointer",
            "-fno-asynchronous-unwind-tables",
            "-fno-unwind-tables",
        ],
        strip: false,
    };
    check_c(&build, true);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn chains_while_an_exception_is_in_flight() {
    let dir = tempfile::tempdir().expect("a folder");
    let build = Build {
        compiler: "c++",
        source: "exceptions.cc",
        flags: &["-O2", "-fomit-frame-pointer"],
        strip: false,
    };
    let (program, full) = build.build(dir.path());
    let traced = trace(&program, &full, &[]);
    check(&traced, &EXCEPTIONS, true, &ALL_PROBES);
    // The runtime's own allocations: the exception itself with its header, and a block that a
    // destructor takes meanwhile.
    let expected = [
        (
            1,
            128,
            "malloc __cxa_allocate_exception thrower throwing main @ _start",
        ),
        (
            5,
            0,
            "malloc @ Guard::~Guard guarded destroying main @ _start",
        ),
    ];
    let own = |name: &str| {
        expected
            .iter()
            .any(|(_, _, frames)| frames.split(" ").any(|frame| frame == name))
    };
    for (chain, more, frames) in expected {
        let stacks = traced.allocations(chain, more);
        assert_eq!(stacks.len(), 2, "{frames}");
        for names in stacks {
            let right = matches(&expand(frames, true), &names, &own);
            assert!(right, "{frames}: {}", short(&names));
        }
    }
}
