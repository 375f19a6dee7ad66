//! What a captured stack costs: by unwind tables, and by the kernel's walk along frame pointers
//! (`bpf_get_stackid`) in the same programs, on the same binary.
//!
//! `cargo xtask bench stacks [ROUNDS] [COMMAND …]`. Without a command, a storm of small blocks
//! under a dozen frames, built with frame pointers, and the time of a pair of malloc and free;
//! with one, that command, its processor time, and the cost of a stack of the malloc family, which
//! are the only ones that the kernel's walk takes: each round's time above that of the same
//! programs taking no stack at all, by the calls of that round. How many frames the walks found
//! is told as well: in code without frame pointers the kernel's sees but one or two. Rounds go
//! through the variants in turn, and medians count.

#[path = "../tests/support/probed.rs"]
mod probed;

use probed::Probed;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracer::events::{Body, Event};
use tracer::files::{Elf, Source};
use tracer::probes::decode::Record;
use tracer::probes::load::{Loaded, Stacks};
use tracer::trace::Options;
use tracer::units::{Bytes, StackId};
use tracer::unwind::info::UnwindInfo;
use tracer::unwind::{Cache, Table};

const VARIANTS: [(&str, Option<Stacks>); 5] = [
    ("untraced", None),
    ("no stacks", Some(Stacks::None)),
    ("bpf_get_stackid", Some(Stacks::Kernel)),
    ("unwind tables", Some(Stacks::TablesOfCalls)),
    ("unwind tables, of every event", Some(Stacks::Tables)),
];

/// The floor: the same programs, taking no stack.
const NONE: usize = 1;

/// Those of [`VARIANTS`] that are compared.
const COMPARED: [usize; 2] = [2, 3];

/// A stack with less frames has been cut.
const FEW: usize = 4;

/// What a run's calls of the malloc family say of their stacks.
#[derive(Default)]
struct Taken {
    /// Calls by the id of their stack, 0 where it could not be had.
    calls: HashMap<StackId, u64>,
    /// Frames of the stacks that the tables gave.
    depths: HashMap<StackId, usize>,
    /// Events of any kind that were lost.
    lost: u64,
}

impl Taken {
    fn count(&mut self, event: &Event) {
        if let Body::Alloc { .. } | Body::ReallocEnter { .. } = event.body {
            *self.calls.entry(event.stack).or_default() += 1;
        }
    }

    /// How often a stack was asked for: one that could not be had costs as well.
    fn calls(&self) -> u64 {
        self.calls.values().sum()
    }

    fn ask_kernel(&mut self, loaded: &Loaded) {
        for id in self.calls.keys().filter(|id| **id != StackId(0)) {
            if let Some(frames) = loaded.stack_by_kernel(*id) {
                self.depths.insert(*id, frames.len());
            }
        }
    }

    /// The mean number of frames, and the share of the calls with less than [`FEW`].
    fn depth(&self) -> (f64, f64) {
        let (mut calls, mut frames, mut shallow) = (0, 0, 0);
        for (id, number) in &self.calls {
            if let Some(&depth) = self.depths.get(id) {
                calls += number;
                frames += depth as u64 * number;
                shallow += if depth < FEW { *number } else { 0 };
            }
        }
        let share = |of: u64| of as f64 / calls.max(1) as f64;
        (share(frames), share(shallow))
    }
}

fn main() {
    let mut words = std::env::args_os().skip(1).filter(|word| word != "--bench");
    let rounds = words.next().and_then(|word| word.to_str()?.parse().ok());
    let rounds: usize = rounds.unwrap_or(5);
    let command: Vec<OsString> = words.collect();
    let storm = build_storm();
    let mut figures: [Vec<f64>; VARIANTS.len()] = Default::default();
    let mut taken: [Vec<Taken>; VARIANTS.len()] = Default::default();
    for _ in 0..rounds {
        let variants = VARIANTS.into_iter().zip(&mut figures).zip(&mut taken);
        for (((_, method), figures), taken) in variants {
            let used = processor_time();
            let words = match command.is_empty() {
                true => &[storm.clone().into()],
                false => command.as_slice(),
            };
            let (told, run) = match method {
                None => (output(words), Taken::default()),
                Some(method) => trace(words, method),
            };
            let figure = match command.is_empty() {
                true => told.trim().parse().expect("nanoseconds"),
                false => (processor_time() - used).as_secs_f64(),
            };
            figures.push(figure);
            taken.push(run);
        }
    }
    report(&figures, command.is_empty(), &taken);
    if let Some(library) = std::env::var_os("TILEDB_LIB") {
        time_table(Path::new(&library));
    }
}

fn report(figures: &[Vec<f64>; VARIANTS.len()], storm: bool, taken: &[Vec<Taken>; VARIANTS.len()]) {
    let unit = if storm {
        "ns a pair"
    } else {
        "s of processor time"
    };
    let medians = figures.each_ref().map(|of| median(of));
    println!("| stacks | {unit}, median of {} |", figures[0].len());
    println!("|---|---|");
    for ((name, _), median) in VARIANTS.into_iter().zip(medians) {
        println!("| {name} | {median:.3} |");
    }
    let [kernel, tables] = match storm {
        true => COMPARED.map(|variant| medians[variant] - medians[NONE]),
        false => report_calls(figures, taken),
    };
    let ratio = tables / kernel;
    println!("\ncost of a stack by tables / by bpf_get_stackid: {ratio:.2}");
}

/// What a call's stack cost, in microseconds, by each of [`COMPARED`].
fn report_calls(
    figures: &[Vec<f64>; VARIANTS.len()],
    taken: &[Vec<Taken>; VARIANTS.len()],
) -> [f64; COMPARED.len()] {
    println!(
        "\n| calls of the malloc family | stacks | frames, mean | less than {FEW} | not had \
         | µs each, median | from | to |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let medians = COMPARED.map(|variant| {
        let with = figures[variant].iter().zip(&taken[variant]);
        let rounds = with.zip(&figures[NONE]);
        let each: Vec<f64> = rounds
            .map(|((with, run), without)| (with - without) * 1e6 / run.calls().max(1) as f64)
            .collect();
        let last = taken[variant].last().expect("a round");
        let (depth, shallow) = last.depth();
        let lost = last.calls.get(&StackId(0)).copied().unwrap_or_default();
        let median = median(&each);
        println!(
            "| {} | {} | {depth:.1} | {:.1} % | {lost} | {median:.2} | {:.2} | {:.2} |",
            VARIANTS[variant].0,
            last.calls(),
            shallow * 100.0,
            each.iter().copied().fold(f64::INFINITY, f64::min),
            each.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        );
        median
    });
    let lost: u64 = taken.iter().flatten().map(|run| run.lost).sum();
    println!("\nevents lost: {lost}");
    medians
}

/// How long the table of a file takes, without a cache and with one.
fn time_table(path: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = Cache::at(folder.path()).expect("a cache");
    let timed = |cached: bool| {
        let began = Instant::now();
        let source = Source::of(std::fs::File::open(path).expect("a file"));
        let elf = Elf::parse(source.expect("a length")).expect("an ELF file");
        let image = UnwindInfo::of(&elf).expect("its parts");
        let table = match cached {
            true => cache.table(&image),
            false => Table::build(&image),
        };
        (began.elapsed().as_secs_f64() * 1e3, table.rows.len())
    };
    let cold: Vec<f64> = (0..5).map(|_| timed(false).0).collect();
    let (_, rows) = timed(true);
    let cached: Vec<f64> = (0..5).map(|_| timed(true).0).collect();
    println!(
        "table of {}: {rows} rows, {:.0} ms made, {:.0} ms from the cache",
        path.display(),
        median(&cold),
        median(&cached)
    );
}

fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
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

/// Runs a command under the probes, and returns what it printed and the stacks of its calls.
fn trace(words: &[OsString], method: Stacks) -> (String, Taken) {
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
        ring: Some(Bytes(128 << 20)),
        stacks: method,
        ..probed::options()
    };
    let Probed {
        mut ring,
        mut session,
        launch,
        ..
    } = Probed::new(&shell, words, &others, &options);
    let mut target = launch.release().expect("the program runs");
    let mut taken = Taken::default();
    let mut ended = false;
    while !ended {
        ended = target.try_wait().expect("a child").is_some();
        ring.drain(usize::MAX, |record| match record {
            Record::Event { event, .. } => taken.count(&event),
            Record::Stack(stack, _) => {
                taken.depths.insert(stack.id, stack.frames.len());
            }
            Record::Mark(_) => {}
        });
        ring.wait(Duration::from_millis(2)).expect("poll");
    }
    if method == Stacks::Kernel {
        taken.ask_kernel(session.loaded());
    }
    let losses = session.loaded().losses().expect("counters");
    let lost = losses.read().expect("counters");
    taken.lost = lost.iter().map(|lost| lost.count).sum();
    probed::detach(session);
    let told = std::fs::read_to_string(told.path()).expect("its output");
    (told, taken)
}
