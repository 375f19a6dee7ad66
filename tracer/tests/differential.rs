//! The unwinder of the BPF programs against another one, stack by stack, on the real workload.
//! Needs root, and libtiledb and the default Census in `target/`: `cargo xtask test` sees to it.

#[path = "differential/evaluator.rs"]
mod evaluator;
#[path = "support/probed.rs"]
mod probed;

use evaluator::Evaluator;
use probed::Probed;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracer::events::{Body, Captured, Module, StackEnd};
use tracer::probes::decode::Record;
use tracer::probes::modules::Watcher;
use tracer::symbols::AddressSpaces;
use tracer::trace::Options;
use tracer::units::{Address, Bytes, FileOffset};
use tracer::unwind::{Found, Known, StackCopy, walk};

/// Stacks that have to be compared.
const ENOUGH: usize = 10_000;

/// Everything that one run of a command gives.
struct Run {
    stacks: Vec<(Captured, Box<StackCopy>)>,
    modules: Vec<Module>,
    known: Known,
}

/// Traces a command with a copy of every new stack, tables of `others` made beforehand.
fn trace(words: &[OsString], others: &[PathBuf]) -> Run {
    let options = Options {
        ring: Some(Bytes(512 << 20)),
        copy_all: true,
        ..probed::options()
    };
    let Probed {
        pid,
        mut ring,
        launch,
        session,
    } = Probed::new(words, words, others, &options);
    let known = session.known();
    let mut watcher = Watcher::new(pid).expect("perf events");
    launch.release().expect("the program runs");
    let mut stacks = Vec::new();
    let mut modules = Vec::new();
    let mut status = None;
    while status.is_none() {
        modules.extend(watcher.drain());
        ring.drain(usize::MAX, |record| match record {
            Record::Event { event, .. } => {
                if let Body::Exit { status: how, .. } = event.body
                    && event.pid == pid
                {
                    status = Some(how);
                }
            }
            Record::Stack(stack, Some(copy)) => stacks.push((stack, copy)),
            Record::Stack(_, None) | Record::Mark(_) => {}
        });
        ring.wait(Duration::from_millis(5)).expect("poll");
    }
    assert_eq!(
        status,
        Some(0),
        "without a Census there is nothing to compare"
    );
    modules.extend(watcher.drain());
    probed::detach(session);
    Run {
        stacks,
        modules,
        known,
    }
}

/// What became of the stacks.
#[derive(Debug, Default)]
struct Tally {
    /// Walked by the programs, every frame the same.
    agreed: usize,
    /// Walked by copies, as no table was ready, every frame the same.
    copies_agreed: usize,
    /// The other unwinder could not walk them: code without `.eh_frame`, a hole in the copy.
    not_comparable: usize,
    /// Ours, theirs.
    disagreed: Vec<(Vec<u64>, Vec<u64>)>,
}

fn compare(run: &Run, evaluator: &mut Evaluator, tally: &mut Tally) {
    let spaces = AddressSpaces::new(&run.modules);
    for (stack, copy) in &run.stacks {
        let module = |address| spaces.find(stack.pid, stack.time, Address(address));
        let place = |address: u64| {
            let module = module(address)?;
            Some((module, address - module.address.0 + module.offset))
        };
        let locate =
            |address| place(address).map(|(module, offset)| (PathBuf::from(&module.path), offset));
        let find = |address| {
            place(address).map_or(Found::NotReady, |(module, offset)| {
                let file = module.file();
                file.map_or(Found::NotReady, |file| {
                    run.known.find(file, FileOffset(offset))
                })
            })
        };
        let frames: Vec<u64> = stack.frames.iter().map(|frame| frame.0).collect();
        let mut own = frames.clone();
        let end = walk(copy, &mut own, find);
        let real = frames.get(1).copied();
        let Some(theirs) = evaluator.walk(copy, frames[0], real, locate) else {
            tally.not_comparable += 1;
            continue;
        };
        for (ours, ended, agreed) in [
            (frames, stack.end, &mut tally.agreed),
            (own, end, &mut tally.copies_agreed),
        ] {
            if ended == StackEnd::Complete && ours == theirs {
                *agreed += 1;
            } else if ended == StackEnd::Complete {
                tally.disagreed.push((ours, theirs.clone()));
            }
        }
    }
}

fn workload(arguments: &[&str]) -> Vec<OsString> {
    let built = Path::new(env!("CARGO_BIN_EXE_tracer")).with_file_name("workload");
    assert!(
        built.exists(),
        "the workload is not built: run this by `cargo xtask test`"
    );
    let words = [built.into_os_string()].into_iter();
    words.chain(arguments.iter().map(OsString::from)).collect()
}

/// The libtiledb in a folder, which the workload uses.
fn libtiledb(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).expect("fetched by `cargo xtask libtiledb`");
    let mut files = files.flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libtiledb.so") || name.starts_with("libtiledb-")
    };
    files.find(is_it).expect("libtiledb")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn ten_thousand_stacks_of_the_lung_fetch_agree_with_another_unwinder() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = libtiledb(&target.with_file_name("libtiledb"));
    let census = target.with_file_name("census");
    let census = census.to_str().expect("a UTF-8 path");
    let mut evaluator = Evaluator::default();
    let mut tally = Tally::default();
    let mut runs: HashMap<usize, usize> = HashMap::new();
    // A run of the small Census has some thousands of different stacks.
    for number in 0..12 {
        let run = trace(
            &workload(&["--uri", census, "-t", "lung"]),
            std::slice::from_ref(&library),
        );
        runs.insert(number, run.stacks.len());
        compare(&run, &mut evaluator, &mut tally);
        if tally.agreed.min(tally.copies_agreed) >= ENOUGH {
            break;
        }
    }
    println!(
        "{} agreed, {} as copies, {} not comparable, runs {runs:?}",
        tally.agreed, tally.copies_agreed, tally.not_comparable
    );
    if let Some((ours, theirs)) = tally.disagreed.first() {
        panic!(
            "{} differ; the first:\n{ours:x?}\n{theirs:x?}",
            tally.disagreed.len()
        );
    }
    assert!(tally.agreed >= ENOUGH, "{} agreed", tally.agreed);
    assert!(
        tally.copies_agreed >= ENOUGH,
        "{} agreed as copies",
        tally.copies_agreed
    );
    assert!(
        tally.not_comparable * 50 < tally.agreed,
        "{} can't be compared",
        tally.not_comparable
    );
}
