//! Reports over small stored inputs, compared with the files in `tests/golden`.
//! `UPDATE_GOLDENS=1` writes them anew; a missing one is a failure.

use super::*;
use crate::events::{KernelCounts, Loss, LossCause, Lost, Mark};
use crate::ledger::account::{
    Account, CallTotals, FaultTotals, Point, Probe, ProcessAccount, Reserver, Snapshot, Space,
    StackTotals, Usage,
};
use crate::symbols::{Frame, SymbolTable};
use crate::units::{Bytes, Nanos, Pid, StackId};
use std::path::Path;

/// A [`Concluded`] in the making.
#[derive(Default)]
struct Stored {
    run: Run,
    account: Account,
    symbols: SymbolTable,
    lost: Vec<Lost>,
    marks: Vec<Mark>,
    cut: Option<Cut>,
    incomplete: bool,
}

impl Stored {
    fn input(&self) -> Concluded {
        Concluded {
            run: self.run.clone(),
            account: self.account.clone(),
            symbols: self.symbols.clone(),
            lost: self.lost.clone(),
            marks_total: self.marks.len() as u64,
            marks: self.marks.clone(),
            cut: self.cut.clone(),
            began: Nanos(0),
            complete: !self.incomplete,
            torn: None,
            locations: std::sync::OnceLock::new(),
        }
    }
}

fn compare(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, found).expect("written");
    }
    let golden = std::fs::read_to_string(&path);
    let golden = golden.unwrap_or_else(|error| panic!("golden {}: {error}", path.display()));
    assert!(
        golden == found,
        "{name} differs from its golden; UPDATE_GOLDENS=1 shows how in git"
    );
}

fn compare_all(name: &str, stored: &Stored) {
    let input = stored.input();
    for report in all() {
        let mut out = Vec::new();
        report.write(&input, &mut out).expect("written to memory");
        let text = String::from_utf8(out).expect("UTF-8");
        compare(&format!("{name}.{}", report.file_name()), &text);
    }
    let files = [
        PathBuf::from("out/x/top.md"),
        PathBuf::from("out/x/stats.json"),
    ];
    for (columns, colour) in [(120, false), (70, true)] {
        let text = summary(&input, &files, Style { columns, colour });
        compare(&format!("{name}.summary.{columns}.txt"), &text);
    }
}

/// `function@module` or `function@module@file:line`, or a plain name.
fn frame(text: &str) -> Frame {
    let mut parts = text.split('@');
    let function = parts.next().map(ToOwned::to_owned);
    let module = parts.next().map(ToOwned::to_owned);
    let place = parts.next().and_then(|place| place.rsplit_once(':'));
    Frame {
        function,
        module,
        file: place.map(|(file, _)| file.to_owned()),
        line: place.and_then(|(_, line)| line.parse().ok()),
        ..Frame::default()
    }
}

/// Adds a stack, innermost frame first.
fn add_stack(stored: &mut Stored, id: u64, frames: &[&str]) {
    let frames = frames.iter().map(|text| frame(text));
    stored.symbols.insert(StackId(id), frames);
}

const MIB: u64 = 1 << 20;

/// The story: 29 columns reserved and hardly touched, filters that touch.
fn census() -> Stored {
    let mut stored = Stored::default();
    let main = [
        "main@workload",
        "__libc_start_call_main@libc.so.6",
        "_start@workload",
    ];
    let reader = "tiledb::sm::Reader::read(tiledb::sm::Query&, std::vector<int, std::allocator<int> > const&)@libtiledb.so";
    let allocate = [
        "alloc::raw_vec::RawVec<T,A>::try_reserve_exact@workload",
        "workload::reserved::Reserved::with_capacity@workload@/src/workload/src/reserved.rs:41",
    ];
    let stacks: [&[&str]; 4] = [
        &[
            "malloc@libc.so.6",
            allocate[0],
            allocate[1],
            "workload::read@workload@/src/workload/src/read.rs:12",
        ],
        &[
            "malloc@libc.so.6",
            "operator new(unsigned long)@libtiledb.so",
            reader,
            "workload::read@workload@/src/workload/src/read.rs:30",
        ],
        &[
            "calloc@libc.so.6",
            "arrow::Buffer::new<漢字 & <script>alert('1')</script>>@workload",
            "workload::read@workload@/src/workload/src/read.rs:31",
        ],
        &[
            "tiledb::sm::unfilter_tile(char*)@libtiledb.so",
            "[cut: no unwind table]",
        ],
    ];
    for (index, frames) in stacks.iter().enumerate() {
        let whole = index < 3;
        let frames: Vec<&str> = frames
            .iter()
            .chain(main.iter().filter(|_| whole))
            .copied()
            .collect();
        add_stack(&mut stored, index as u64 + 1, &frames);
    }
    stored.run = Run {
        command: ["workload", "-t", "ureter & co"]
            .map(ToOwned::to_owned)
            .to_vec(),
        exit: Exit::from_status(0),
        tracer_version: "0.1.0".to_owned(),
        kernel_release: "6.1.0".to_owned(),
        mode: "heap".to_owned(),
        ..Run::default()
    };
    stored.account = census_account();
    stored
}

fn census_account() -> Account {
    let bytes = |mib: u64| Bytes(mib * MIB);
    let of = |stack: u64| Reserver::Stack(StackId(stack));
    let resident = vec![
        (of(1), bytes(290)),
        (of(2), bytes(60)),
        (of(3), bytes(3)),
        (Reserver::Slack(StackId(2)), bytes(7)),
        (Reserver::Image, bytes(30)),
        (Reserver::ThreadStack, bytes(1)),
        (Reserver::Unknown, bytes(2)),
    ];
    let totals = |calls, mib, leaked| StackTotals {
        calls,
        bytes: bytes(mib),
        pages: 2 * calls,
        faults: calls,
        fault_time: Nanos(1_400 * calls),
        mapping_calls: calls / 10,
        mapping_time: Nanos(mib * 1_000_000),
        leaked: bytes(leaked),
        leaked_allocs: leaked,
    };
    Account {
        began: Nanos(5_000_000_000),
        ended: Nanos(6_430_000_000),
        reserved_peak: Snapshot {
            at: Nanos(5_930_000_000),
            reserved: bytes(30_000),
            heap: bytes(29_990),
            mappings: bytes(10),
            resident: bytes(200),
            by_reserver: vec![
                (StackId(1), bytes(29_696)),
                (StackId(2), bytes(294)),
                (StackId(3), bytes(10)),
            ],
            ..Snapshot::default()
        },
        resident_peak: Snapshot {
            at: Nanos(6_300_000_000),
            reserved: bytes(29_900),
            resident: bytes(393),
            anon: bytes(361),
            file: bytes(30),
            shmem: bytes(2),
            by_reserver: vec![
                (StackId(1), bytes(29_600)),
                (StackId(2), bytes(297)),
                (StackId(3), bytes(3)),
            ],
            resident_by_reserver: resident,
            resident_by_toucher: vec![
                (StackId(4), bytes(300)),
                (StackId(2), bytes(53)),
                (StackId(0), bytes(40)),
            ],
            by_reserver_and_toucher: vec![
                (of(1), StackId(4), bytes(270)),
                (of(1), StackId(2), bytes(20)),
                (of(2), StackId(4), bytes(30)),
            ],
            slack: bytes(7),
            unexplained: 2 * MIB as i64,
            ..Snapshot::default()
        },
        stacks: vec![
            (StackId(1), totals(29, 29_696, 0)),
            (StackId(2), totals(12_345, 5_000, 3)),
            (StackId(3), totals(1, 10, 0)),
        ],
        stack_uses: vec![
            (StackId(1), Probe::Heap, 29),
            (StackId(2), Probe::Heap, 12_345),
            (StackId(2), Probe::Fault, 13_000),
            (StackId(3), Probe::Mapping, 1),
            (StackId(4), Probe::Fault, 25),
        ],
        allocs: 12_375,
        alloc_bytes: bytes(34_706),
        frees: 12_000,
        processes: vec![ProcessAccount {
            pid: Pid(77),
            parent: Pid(0),
            began: Nanos(5_000_000_000),
            reserved_peak: bytes(30_000),
            resident_peak: bytes(393),
            allocs: 12_375,
            mapped_peak: bytes(30_400),
            kernel: KernelCounts {
                resident_peak: 395 * MIB,
                virtual_peak: 30_500 * MIB,
                stack: 7,
            },
            space: Space {
                kernel: bytes(30_500),
                heap: bytes(29_990),
                allocator: 7 * MIB as i64,
                direct: bytes(10),
                stacks: bytes(48),
                files: bytes(100),
                libraries: bytes(340),
                program: bytes(6),
                unseen: -(MIB as i64),
            },
            status: Some(0),
        }],
        calls: vec![
            (
                9,
                CallTotals {
                    calls: 1_240,
                    failed: 1,
                    time: Nanos(30_000_000),
                },
            ),
            (
                11,
                CallTotals {
                    calls: 900,
                    failed: 0,
                    time: Nanos(2_000_000_000),
                },
            ),
        ],
        faults: FaultTotals {
            user: 12_000,
            kernel: 375,
            time: Nanos(17_325_000),
        },
        usage: Some(Usage {
            user: Nanos(900_000_000),
            system: Nanos(2_100_000_000),
        }),
        timeline: (0..=29).map(point).collect(),
        ..Account::default()
    }
}

fn point(step: u64) -> Point {
    Point {
        at: Nanos(5_000_000_000 + step * 45_000_000),
        reserved: Bytes(if step > 20 { 29_900 } else { step * 1_500 } * MIB),
        anon: Bytes(step * step * 2 / 5 * MIB),
        file: Bytes(step.min(15) * 2 * MIB),
        shmem: Bytes(step / 10 * MIB),
    }
}

#[test]
fn the_census_story() {
    compare_all("census", &census());
}

fn degraded(name: &str) -> Degraded {
    Degraded {
        name: name.to_owned(),
        text: "what is less exact \u{202e}and by how much".to_owned(),
    }
}

/// Where resident memory is not followed, no line says that there is none.
#[test]
fn degradations_are_named() {
    let mut stored = census();
    stored.run.degraded = vec![degraded("no_rss_stat"), degraded("no_map_files")];
    let input = stored.input();
    let style = Style {
        columns: 250,
        colour: true,
    };
    let text = summary(&input, &[], style);
    for words in [
        "not followed here, see no_rss_stat below",
        "not known, as resident memory was not followed",
        "no_rss_stat: what is less exact \\u{202e}and by how much",
        "no_map_files: ",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("every resident byte"), "{text}");
    let mut top = Vec::new();
    top::Top.write(&input, &mut top).expect("written to memory");
    let top = String::from_utf8(top).expect("UTF-8");
    assert!(top.contains("no_map_files"), "{top}");
}

#[test]
fn nothing_recorded() {
    let stored = Stored {
        run: Run {
            command: vec!["true".to_owned()],
            exit: Exit::from_status(9),
            ..Run::default()
        },
        ..Stored::default()
    };
    compare_all("nothing", &stored);
}

#[test]
fn a_command_that_was_killed_for_memory() {
    let mut stored = census();
    stored.run.exit = Exit::from_status(9);
    stored.run.limits = Some(Limits::exhausted(100 * MIB));
    let said = |stored: &Stored| {
        let text = summary(&stored.input(), &[], Style::PLAIN);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let text = said(&stored);
    let title = "killed for memory by its cgroup (limit 100 MiB), ";
    assert!(text.contains(title), "{text}");
    let line = "cgroup peak 100 MiB of a limit of 100 MiB, without swap \
                (it counts page cache and other processes too) virtual";
    assert!(text.contains(line), "{text}");
    // The machine's own shortage, and a kill that was somebody's wish.
    for (machine, title) in [
        (1, "killed for memory: the machine ran out, "),
        (0, "ended by signal 9, "),
    ] {
        stored.run.limits = Some(Limits {
            cgroup: None,
            machine_oom_kills: Some(machine),
        });
        let text = said(&stored);
        assert!(text.contains(title), "{text}");
        assert!(!text.contains("cgroup"), "{text}");
    }
}

/// Names and a command that try to break out of every format.
#[test]
fn hostile_names_and_losses() {
    let mut stored = census();
    let attack =
        "</title></text><script>alert(1)</script>]]>\";x 17 | `<b>` \u{1b}[31m\u{202e}\n# ";
    add_stack(
        &mut stored,
        1,
        &[
            attack,
            attack,
            "a;b 12",
            "# comment",
            "-",
            "--",
            "f_[k]",
            "",
        ],
    );
    stored.run.command = vec![attack.to_owned(), "\u{1}".to_owned()];
    stored.run.exit = Exit {
        code: None,
        signal: Some(9),
    };
    stored.incomplete = true;
    let lost = |cause, probe: &str, count| Lost {
        cause,
        probe: probe.to_owned(),
        count,
    };
    stored.lost = vec![
        lost(LossCause::RING_FULL, "alloc", 1_234),
        lost(LossCause::RING_FULL, "free", 5),
        lost(LossCause::Program(Loss::NoReturn), "alloc", 0),
        lost(LossCause::Torn, attack, 1),
    ];
    stored.account.oddities.unknown_frees = 3;
    compare_all("hostile", &stored);
}

#[test]
fn several_processes() {
    let mut stored = census();
    let mut child = stored.account.processes[0].clone();
    child.pid = Pid(78);
    child.parent = Pid(77);
    child.status = Some(139);
    stored.account.processes.push(child);
    let child = ["/usr/bin/child", "/srv/it's.py"].map(ToOwned::to_owned);
    stored.run.commands = vec![stored.run.command.clone(), child.to_vec()];
    compare_all("processes", &stored);
}

#[test]
fn every_field_of_the_statistics_is_documented() {
    fn keys(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                found.extend(fields.keys().cloned());
                fields.values().for_each(|value| keys(value, found));
            }
            serde_json::Value::Array(values) => values.iter().for_each(|v| keys(v, found)),
            _ => {}
        }
    }
    let mut stored = census();
    stored.lost = vec![Lost {
        cause: LossCause::Torn,
        probe: "probe".to_owned(),
        count: 1,
    }];
    stored.run.limits = Some(Limits::exhausted(100 * MIB));
    stored.run.degraded = vec![degraded("perf_uprobes")];
    let mut out = Vec::new();
    stats::Stats
        .write(&stored.input(), &mut out)
        .expect("written to memory");
    let mut found = Vec::new();
    keys(&serde_json::from_slice(&out).expect("JSON"), &mut found);
    assert!(found.len() > 60, "{found:?}");
    found.extend(LossCause::all().map(|cause| cause.name().to_owned()));
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/stats.md");
    let docs = std::fs::read_to_string(docs).expect("docs/stats.md");
    for key in found {
        assert!(
            docs.contains(&format!("`{key}`")),
            "{key} is not in docs/stats.md"
        );
    }
}

#[test]
fn wait_statuses() {
    let exit = |code, signal| Exit { code, signal };
    assert_eq!(Exit::from_status(0), exit(Some(0), None));
    assert_eq!(Exit::from_status(3 << 8), exit(Some(3), None));
    assert_eq!(Exit::from_status(9), exit(None, Some(9)));
    assert_eq!(Exit::from_status(0x80 | 11), exit(None, Some(11)));
}
