//! Every case under every kernel, some guests at a time.

use super::cases::{CASES, Case, DEGRADED, REFUSED, VERIFIED};
use super::guest::{End, Guest, Machine};
use super::kernels::Kernel;
use anyhow::Result;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{fmt, fs};

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    /// Less exact, by these names.
    Degraded(Vec<String>),
    /// Refused as it should be, by this line.
    Refused(String),
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Degraded(names) => write!(f, "degraded: {}", names.join(", ")),
            Self::Refused(line) => write!(f, "refused: {line}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// A case that has run.
pub(crate) struct Done {
    pub(crate) kernel: String,
    pub(crate) case: &'static str,
    pub(crate) outcome: Outcome,
    /// Instructions that the verifier went through, by program, if the case asked for that.
    pub(crate) verified: BTreeMap<String, u64>,
}

/// Where guests find and leave things.
pub(crate) struct Place<'a> {
    pub(crate) disk: &'a Path,
    /// Gets a folder for each kernel.
    pub(crate) logs: &'a Path,
}

/// Cases that share a guest.
struct Group<'a> {
    kernel: &'a Kernel,
    machine: Machine,
    cases: Vec<&'static Case>,
}

/// Runs the chosen cases under each kernel, so many guests at a time. Results come as they are.
pub(crate) fn run(
    kernels: &[Kernel],
    chosen: impl Fn(&Case) -> bool,
    guests: usize,
    place: &Place,
) -> Result<Vec<Done>> {
    let waiting = Mutex::new(groups(kernels, chosen));
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..guests {
            scope.spawn(|| {
                // Not in the condition: it would stay locked meanwhile.
                let next = || lock(&waiting).pop_front();
                while let Some(group) = next() {
                    run_group(&group, place, &done);
                }
            });
        }
    });
    Ok(done
        .into_inner()
        .unwrap_or_else(|broken| broken.into_inner()))
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(|broken| broken.into_inner())
}

fn groups(kernels: &[Kernel], chosen: impl Fn(&Case) -> bool) -> VecDeque<Group<'_>> {
    let mut groups: VecDeque<Group> = VecDeque::new();
    for case in CASES.iter().filter(|case| chosen(case)) {
        for kernel in kernels {
            let same = |group: &&mut Group| {
                group.kernel.name == kernel.name && group.machine == case.machine
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.cases.push(case),
                None => groups.push_back(Group {
                    kernel,
                    machine: case.machine.clone(),
                    cases: vec![case],
                }),
            }
        }
    }
    groups
}

/// Runs the cases of a guest; where it dies or hangs, the rest gets a new one.
fn run_group(group: &Group, place: &Place, done: &Mutex<Vec<Done>>) {
    let logs = place.logs.join(&group.kernel.name);
    let mut guest = None;
    for case in &group.cases {
        let began = Instant::now();
        let ready = match guest.take() {
            Some(guest) => Ok(guest),
            None => boot(
                group,
                place,
                &logs.join(format!("{}.console", file_name(case.name))),
            ),
        };
        let result = match ready {
            Ok(mut running) => {
                let (result, alive) = run_case(&mut running, group.kernel, case, &logs);
                guest = alive.then_some(running);
                result
            }
            Err(error) => Done::failed(group.kernel, case, format!("{error:#}")),
        };
        let seconds = began.elapsed().as_secs();
        eprintln!(
            "{:8} {:26} {seconds:4} s  {}",
            result.kernel, result.case, result.outcome
        );
        lock(done).push(result);
    }
}

fn boot(group: &Group, place: &Place, console: &Path) -> Result<Guest> {
    fs::create_dir_all(console.parent().unwrap_or(place.logs))?;
    Guest::boot(group.kernel, &group.machine, place.disk, console)
}

/// Runs a case, and says whether its guest can go on.
fn run_case(guest: &mut Guest, kernel: &Kernel, case: &'static Case, logs: &Path) -> (Done, bool) {
    let mut output = String::new();
    let script = format!(". /vm/settings\n{}", case.script);
    let end = guest.run(&script, Duration::from_secs(case.limit), |line| {
        output += line;
        output.push('\n');
    });
    let log = logs.join(format!("{}.log", file_name(case.name)));
    let end = end.and_then(|end| {
        fs::write(&log, &output)?;
        Ok(end)
    });
    match end {
        Ok(End::Status(0)) => (Done::succeeded(kernel, case, &output), true),
        Ok(End::Status(status)) => {
            let words = format!("exit status {status}; {}", log.display());
            (Done::failed(kernel, case, words), true)
        }
        Ok(End::TimedOut) => {
            let words = format!("not within {} s; {}", case.limit, log.display());
            (Done::failed(kernel, case, words), false)
        }
        Ok(End::Lost(words)) => {
            let words = format!("the guest is gone: {words}; {}", log.display());
            (Done::failed(kernel, case, words), false)
        }
        Err(error) => (Done::failed(kernel, case, format!("{error:#}")), false),
    }
}

impl Done {
    fn new(kernel: &Kernel, case: &Case, outcome: Outcome) -> Self {
        Self {
            kernel: kernel.name.clone(),
            case: case.name,
            outcome,
            verified: BTreeMap::new(),
        }
    }

    fn failed(kernel: &Kernel, case: &Case, why: String) -> Self {
        Self::new(kernel, case, Outcome::Failed(why))
    }

    fn succeeded(kernel: &Kernel, case: &Case, output: &str) -> Self {
        let said = |what: &str| {
            let lines = output.lines().filter_map(|line| line.strip_prefix(what));
            let mut lines: Vec<String> = lines.map(str::to_owned).collect();
            lines.sort();
            lines.dedup();
            lines
        };
        let outcome = match (said(REFUSED).pop(), said(DEGRADED)) {
            (Some(line), _) => Outcome::Refused(line),
            (None, names) if names.is_empty() => Outcome::Ok,
            (None, names) => Outcome::Degraded(names),
        };
        let mut done = Self::new(kernel, case, outcome);
        if let Some(counts) = said(VERIFIED).pop() {
            done.verified = serde_json::from_str(&counts).unwrap_or_default();
        }
        done
    }
}

/// A case's name as a file's.
fn file_name(case: &str) -> String {
    case.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}
