//! What a captured stack costs: by unwind tables, and by the kernel's walk along frame pointers
//! (`bpf_get_stackid`) in the same programs, on the same binary.
//!
//! `cargo xtask bench stacks [ROUNDS] [COMMAND …]`. Without a command, a storm of small blocks
//! under a dozen frames, built with frame pointers, and the time of a pair of malloc and free;
//! with one, that command, its processor time, and the cost by stack: the kernel's walk takes
//! those of allocations only, and in code without frame pointers it sees but a frame or two of
//! them. The floor is the same programs taking no
//! stack at all. Rounds go through the variants in turn, and medians count.

#[path = "../tests/support/probed.rs"]
mod probed;

use probed::Probed;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracer::probes::decode::Record;
use tracer::probes::load::{Options, stacks};
use tracer::units::{Bytes, StackId};
use tracer::unwind::elf::Image;
use tracer::unwind::{Cache, Table};

const VARIANTS: [(&str, Option<u32>); 4] = [
    ("untraced", None),
    ("no stacks", Some(stacks::NONE)),
    ("bpf_get_stackid", Some(stacks::KERNEL)),
    ("unwind tables", Some(stacks::TABLES)),
];

fn main() {
    let mut words = std::env::args_os().skip(1).filter(|word| word != "--bench");
    let rounds = words.next().and_then(|word| word.to_str()?.parse().ok());
    let rounds: usize = rounds.unwrap_or(5);
    let command: Vec<OsString> = words.collect();
    let storm = build_storm();
    let mut figures: [Vec<f64>; VARIANTS.len()] = Default::default();
    let mut taken = [0; VARIANTS.len()];
    for _ in 0..rounds {
        let variants = VARIANTS.into_iter().zip(&mut figures).zip(&mut taken);
        for (((_, method), figures), taken) in variants {
            let used = processor_time();
            let told = match (method, command.is_empty()) {
                (None, true) => output(&[storm.clone().into()]),
                (None, false) => output(&command),
                (Some(method), true) => trace(&[storm.clone().into()], method, taken),
                (Some(method), false) => trace(&command, method, taken),
            };
            let figure = match command.is_empty() {
                true => told.trim().parse().expect("nanoseconds"),
                false => (processor_time() - used).as_secs_f64(),
            };
            figures.push(figure);
        }
    }
    report(&mut figures, command.is_empty(), taken);
    if let Some(library) = std::env::var_os("TILEDB_LIB") {
        time_table(Path::new(&library));
    }
}

fn report(figures: &mut [Vec<f64>; VARIANTS.len()], storm: bool, taken: [u64; VARIANTS.len()]) {
    let unit = if storm {
        "ns a pair"
    } else {
        "s of processor time"
    };
    let medians = figures.each_mut().map(|of| median(of));
    println!("| stacks | {unit}, median of {} |", figures[0].len());
    println!("|---|---|");
    for ((name, _), median) in VARIANTS.into_iter().zip(medians) {
        println!("| {name} | {median:.3} |");
    }
    let [_, none, kernel, tables] = medians;
    if storm {
        let ratio = (tables - none) / (kernel - none);
        println!("\ncost of a stack by tables / by bpf_get_stackid: {ratio:.2}");
        return;
    }
    let [.., by_kernel, by_tables] = taken;
    for (name, cost, stacks) in [
        ("bpf_get_stackid", kernel - none, by_kernel),
        ("unwind tables", tables - none, by_tables),
    ] {
        let each = cost * 1e6 / stacks.max(1) as f64;
        println!("{name}: {stacks} stacks, {each:.2} µs each");
    }
}

/// How long the table of a file takes, without a cache and with one.
fn time_table(path: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = Cache::at(folder.path()).expect("a cache");
    let timed = |cached: bool| {
        let began = Instant::now();
        let data = object::ReadCache::new(std::fs::File::open(path).expect("a file"));
        let image = Image::parse(&data).expect("an ELF file");
        let table = match cached {
            true => cache.table(&image),
            false => Table::build(&image),
        };
        (began.elapsed().as_secs_f64() * 1e3, table.rows.len())
    };
    let mut cold: Vec<f64> = (0..5).map(|_| timed(false).0).collect();
    let (_, rows) = timed(true);
    let mut cached: Vec<f64> = (0..5).map(|_| timed(true).0).collect();
    println!(
        "table of {}: {rows} rows, {:.0} ms made, {:.0} ms from the cache",
        path.display(),
        median(&mut cold),
        median(&mut cached)
    );
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// User and system time of children that were waited for.
fn processor_time() -> Duration {
    // SAFETY: zeros are a value; the kernel fills in our own structure.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn build_storm() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/storm.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("storm");
    let flags = [
        "-O2",
        "-fno-omit-frame-pointer",
        "-fno-optimize-sibling-calls",
    ];
    let built = std::process::Command::new("cc")
        .args(flags)
        .arg("-o")
        .args([&program, &source])
        .status();
    assert!(built.expect("a C compiler").success());
    program
}

fn output(words: &[OsString]) -> String {
    let output = std::process::Command::new(&words[0])
        .args(&words[1..])
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("the command runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command under the probes, and returns what it printed.
fn trace(words: &[OsString], method: u32, taken: &mut u64) -> String {
    let told = tempfile::NamedTempFile::new().expect("a file");
    let redirect = r#"out=$1; shift; exec "$@" > "$out""#;
    let shell: Vec<OsString> = ["sh", "-c", redirect, "sh"]
        .into_iter()
        .map(OsString::from)
        .chain([told.path().into()])
        .chain(words.iter().cloned())
        .collect();
    let others: Vec<_> = std::env::var_os("TILEDB_LIB")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    let options = Options {
        ring: Bytes(128 << 20),
        uprobes: None,
        copy_all: false,
        stacks: method,
    };
    let Probed {
        loaded: _loaded,
        mut ring,
        launch,
        probes,
        ..
    } = Probed::new(&shell, words, &others, options);
    let mut target = launch.release().expect("the program runs");
    *taken = 0;
    while target.try_wait().expect("a child").is_none() {
        ring.drain(usize::MAX, |record| {
            if let Record::Event { event, .. } = record {
                *taken += u64::from(event.stack != StackId(0));
            }
        });
        ring.wait(Duration::from_millis(2)).expect("poll");
    }
    probed::detach(probes);
    std::fs::read_to_string(told.path()).expect("its output")
}
