//! Names of this test process's own stacks, against what is known of them.

use std::hint::black_box;
use tracer::events::{Captured, Module, StackEnd};
use tracer::files::{FileId, Identity};
use tracer::symbols::{Frame, Naming, SymbolTable, Symbolizer};
use tracer::units::{Address, Bytes, Nanos, Pid, StackId};

/// The executable mappings of this process, as the tracer records them.
fn own_modules() -> Vec<Module> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    maps.lines().filter_map(module).collect()
}

fn module(line: &str) -> Option<Module> {
    let mut words = line.split_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let permissions = words.next()?;
    let offset = u64::from_str_radix(words.next()?, 16).ok()?;
    let path = words.nth(2).unwrap_or_default();
    if !permissions.contains('x') {
        return None;
    }
    let begin = u64::from_str_radix(begin, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let metadata = std::fs::metadata(path).ok();
    Some(Module {
        pid: Pid(std::process::id()),
        time: Nanos(0),
        address: Address(begin),
        length: Bytes(end - begin),
        offset,
        path: path.to_owned(),
        identity: Identity {
            file: metadata.as_ref().map(FileId::of),
            build_id: None,
        },
    })
}

fn table(stacks: &[Captured]) -> SymbolTable {
    let modules = own_modules();
    let symbols = Symbolizer::new().resolve(stacks, &modules);
    SymbolTable::new(stacks, &modules, symbols)
}

fn stack(id: u64, frames: &[u64], end: StackEnd) -> Captured {
    Captured {
        id: StackId(id),
        pid: Pid(std::process::id()),
        time: Nanos(1),
        end,
        frames: frames.iter().map(|&address| Address(address)).collect(),
    }
}

/// Return addresses of the callers, innermost first.
#[inline(never)]
fn return_addresses() -> Vec<u64> {
    let mut frames = [std::ptr::null_mut(); 64];
    // SAFETY: the buffer has room for the number of pointers that is passed.
    let count = unsafe { nix::libc::backtrace(frames.as_mut_ptr(), 64) };
    let count = usize::try_from(count).expect("a count");
    frames[..count].iter().map(|&frame| frame as u64).collect()
}

const OUTER_LINE: u32 = line!();
#[inline(never)]
fn outer() -> Vec<u64> {
    black_box(inlined())
}

const INLINED_LINE: u32 = line!();
#[inline(always)]
fn inlined() -> Vec<u64> {
    let mut frames = black_box(return_addresses());
    frames.push(0);
    frames
}

#[test]
fn own_stacks_have_names_files_lines_and_inlined_frames() {
    let frames = outer();
    let frames = &frames[..frames.len() - 1];
    let mut captured = stack(1, frames, StackEnd::Complete);
    // What backtrace() gives are return addresses all: as if called from here.
    captured.frames.insert(0, Address(libc_address()));
    let table = table(&[captured]);
    let named = table.frames(StackId(1));
    let begin = named
        .iter()
        .position(|f| f.function.as_deref() == Some(RETURN_ADDRESSES));
    let own = &named[begin.expect("the innermost function of this file")..][..4];
    // Line tables alone say nothing of an inlined function's module.
    let names: Vec<_> = own.iter().copied().map(last_part).collect();
    let test = "own_stacks_have_names_files_lines_and_inlined_frames";
    assert_eq!(
        names,
        ["return_addresses", "inlined", "outer", test],
        "{named:#?}"
    );
    assert_eq!(
        [own[0].inlined, own[1].inlined, own[2].inlined],
        [false, true, false]
    );
    assert_eq!(own[2].function.as_deref(), Some("symbols::outer"));
    for frame in own {
        let file = frame.file.as_deref().expect("a file");
        assert!(
            file.starts_with('/') && file.ends_with("tests/symbols.rs"),
            "{file}"
        );
    }
    let line = |frame: &Frame| frame.line.expect("a line");
    assert_eq!(line(own[1]), INLINED_LINE + 3);
    assert_eq!(line(own[2]), OUTER_LINE + 3);
    assert_eq!(
        named.last().and_then(|f| f.function.as_deref()),
        Some("clone3")
    );
}

const RETURN_ADDRESSES: &str = "symbols::return_addresses";

/// The function without its modules.
fn last_part(frame: &Frame) -> &str {
    let function = frame.function.as_deref().unwrap_or_default();
    function.rsplit("::").next().unwrap_or(function)
}

fn libc_address() -> u64 {
    nix::libc::malloc as *const () as u64
}

#[test]
fn the_c_librarys_functions_have_their_usual_names() {
    let table = table(&[stack(7, &[libc_address()], StackEnd::Cut)]);
    let frames = table.frames(StackId(7));
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].function.as_deref(), Some("malloc"));
    assert_eq!(frames[0].module.as_deref(), Some("libc.so.6"));
    assert_eq!(
        frames[1].function.as_deref(),
        Some("[cut: too many frames]")
    );
}

/// A process that reads files for their names.
fn reader(words: &[&str]) -> Naming {
    Naming::Apart(words.iter().map(Into::into).collect())
}

#[test]
fn a_process_that_may_do_nothing_else_finds_the_same_names() {
    let mut frames = outer();
    frames.pop();
    // The vDSO is in no file.
    let modules = own_modules();
    let vdso = modules.iter().find(|module| module.path == "[vdso]");
    frames.extend(vdso.map(|module| module.address.0 + 0xa00));
    let stacks = [stack(1, &frames, StackEnd::Complete)];
    let here = Symbolizer::new().resolve(&stacks, &modules);
    let program = reader(&[env!("CARGO_BIN_EXE_tracer"), "read-names"]);
    let mut apart = Symbolizer::reading(&program);
    assert_eq!(apart.resolve(&stacks, &modules), here);
    assert_eq!(apart.warnings(), Vec::<String>::new());
    let named = |symbol: &&tracer::recording::ResolvedAddress| symbol.frames[0].line.is_some();
    assert!(here.iter().filter(named).count() > 3, "{here:#?}");
}

#[test]
fn a_reader_that_ends_costs_names_and_is_told() {
    let frames = outer();
    let frames = &frames[..frames.len() - 1];
    let stacks = [stack(1, frames, StackEnd::Complete)];
    let modules = own_modules();
    let table_of = |naming: &Naming| {
        let mut symbolizer = Symbolizer::reading(naming);
        let symbols = symbolizer.resolve(&stacks, &modules);
        assert!(!symbols.is_empty());
        let all = symbols.iter().flat_map(|symbol| &symbol.frames);
        for frame in all {
            let module = frame.module.as_deref().expect("its file");
            let expected = format!("[names could not be read: {module}+{:#x}]", frame.offset);
            assert_eq!(frame.function, Some(expected));
        }
        symbolizer.warnings()
    };
    let ends = [
        (&["false"][..], "ended (exit status: 1)"),
        (
            &["sh", "-c", "kill -SEGV $$"],
            "ended (signal: 11 (SIGSEGV)",
        ),
        (
            &["sh", "-c", "echo nonsense >&0; exec sleep 100"],
            "failed (",
        ),
        (&["/nowhere/reader"], "can't be started: No such file"),
    ];
    for (words, end) in ends {
        let warnings = table_of(&reader(words));
        let of_this_file = |warning: &&String| warning.starts_with("symbols-");
        let told: Vec<_> = warnings.iter().filter(of_this_file).collect();
        assert_eq!(told.len(), 2, "{warnings:?}");
        assert!(told.iter().all(|warning| warning.contains(end)), "{told:?}");
        assert!(told[0].ends_with("functions without lines"), "{told:?}");
        assert!(told[1].ends_with("addresses without names"), "{told:?}");
    }
}

#[test]
fn the_process_that_reads_has_no_rights_and_limits() {
    let (here, there) = std::os::unix::net::UnixStream::pair().expect("a socket");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_tracer"))
        .arg("read-names")
        .stdin(std::os::fd::OwnedFd::from(there))
        .spawn()
        .expect("started");
    let read = |name: &str| {
        let file = format!("/proc/{}/{name}", child.id());
        std::fs::read_to_string(file).expect("it is there")
    };
    let began = std::time::Instant::now();
    while !read("status").contains("Seccomp:\t2\n") {
        assert!(began.elapsed().as_secs() < 30, "{}", read("status"));
        std::thread::yield_now();
    }
    let status = read("status");
    let none = "0000000000000000";
    for line in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert!(status.contains(&format!("{line}:\t{none}\n")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    let limits = read("limits");
    for name in ["Max address space", "Max cpu time"] {
        let line = limits.lines().find(|line| line.starts_with(name));
        assert!(
            line.is_some_and(|line| !line.contains("unlimited")),
            "{limits}"
        );
    }
    // It ends when nobody needs it any more.
    drop(here);
    assert_eq!(child.wait().expect("ended").code(), Some(0));
}

#[test]
fn a_reader_that_nobody_talks_to_says_so() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tracer"))
        .arg("read-names")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(125));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("started by tracer itself"), "{said}");
}

/// Where the limits are lower already, nobody needs to raise them.
#[test]
fn a_reader_lives_within_narrower_limits() {
    let frames = outer();
    let stacks = [stack(1, &frames[..frames.len() - 1], StackEnd::Complete)];
    let modules = own_modules();
    let program = env!("CARGO_BIN_EXE_tracer");
    let narrow = format!("ulimit -v 2000000; ulimit -t 100; exec {program} read-names");
    let mut apart = Symbolizer::reading(&reader(&["sh", "-c", &narrow]));
    let here = Symbolizer::new().resolve(&stacks, &modules);
    assert_eq!(
        apart.resolve(&stacks, &modules),
        here,
        "{:?}",
        apart.warnings()
    );
}
