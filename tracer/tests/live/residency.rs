//! Every way to make a page resident, or to lose it: per site, against what the program says.

use crate::harness::{build_dir, number, program, runs, trace};
use serde_json::Value;
use std::collections::BTreeMap;

/// Cases of truth.c; the flag says whether the sites are calls of malloc, which `--trace pages`
/// sees only through the mappings behind them.
const CASES: [(&str, bool); 29] = [
    ("first_write", false),
    ("zero_reads", false),
    ("kernel_read", false),
    ("populate", false),
    ("locked", false),
    ("locked_all", false),
    ("direct_io", false),
    ("huge_pages", false),
    ("huge_split", false),
    ("private_file", false),
    ("shared", false),
    ("memfd", false),
    ("system_v", false),
    ("forked", false),
    ("stack_growth", false),
    ("dont_need", false),
    ("freed_lazily", false),
    ("removed", false),
    ("unmapped_in_part", false),
    ("mapped_over", false),
    ("remapped", false),
    ("break_both_ways", false),
    ("protected", false),
    ("small_blocks", true),
    ("large_blocks", true),
    ("threads", false),
    ("paged_out", false),
    ("collapsed", false),
    ("remapped_over", false),
];

/// Cases of unseen.c that need nothing of the machine.
const UNSEEN: [(&str, bool); 14] = [
    ("punched", false),
    ("truncated", false),
    ("advised_by_another", false),
    ("regrown", false),
    ("populated_and_gone", false),
    ("populated_over", false),
    ("locked_in_future", false),
    ("not_inherited", false),
    ("grown_downwards", false),
    ("own_reservation", false),
    ("freed_first", true),
    ("written_by_child", false),
    ("written_from_outside", false),
    ("locked_and_allowed", false),
];

/// A number may be off by the larger of 1 % and this.
const SITE: u64 = 64 << 10;
const TOTAL: u64 = 256 << 10;
/// By how much VmHWM itself may be off when somebody else's reclaim notes the peak: it adds the
/// counts of anonymous and of file pages up from what each processor has told, and each keeps less
/// than a batch of each count to itself (`percpu_counter_batch`). Before Linux 6.2 it was each
/// thread, with as many pages as two processors have (`TASK_RSS_EVENTS_THRESH`).
fn of_the_kernel() -> u64 {
    let processors = std::thread::available_parallelism().map_or(1, |all| all.get() as u64);
    2 * 4096 * (processors * (2 * processors).max(32)).max(64)
}

/// Sums a field over all entries of a list whose location is in `function`.
fn sum(list: &Value, function: &str, field: &str) -> u64 {
    list.as_array()
        .expect("a list")
        .iter()
        .filter(|entry| {
            entry["location"]
                .as_str()
                .is_some_and(|at| at.split(':').next() == Some(function))
        })
        .map(|entry| number(&entry[field]))
        .sum()
}

/// What differs from the truth, in words.
fn wrong(what: &str, got: u64, truth: u64, allowed: u64) -> Option<String> {
    let allowed = (truth / 100).max(allowed);
    (got.abs_diff(truth) > allowed).then(|| format!("{what}: {got}, should be {truth} ± {allowed}"))
}

fn differences(name: &str, args: &[&str], of_malloc: bool, mode: &str) -> Vec<String> {
    let truth = program(name, &[]);
    let case = args.join(" ");
    let run = trace(&["-q", "--trace", mode], &truth, args);
    assert_eq!(run.code(), Some(0), "{case}: {}", run.stderr());
    run.assert_nothing_lost();
    let stats = run.stats();
    let mut said: BTreeMap<(String, String), u64> = BTreeMap::new();
    for line in run.stdout().lines() {
        let (what, rest) = line.split_once(' ').unwrap();
        let (site, bytes) = rest.rsplit_once(' ').unwrap();
        let sum = said.entry((what.to_owned(), site.to_owned())).or_default();
        *sum += bytes.parse::<u64>().unwrap();
    }
    let mut wrongs = Vec::new();
    for ((what, at), truth) in &said {
        if of_malloc && mode == "pages" {
            continue;
        }
        let name = format!("{case} ({mode}): {what} {at}");
        wrongs.extend(match what.as_str() {
            "reserved" => wrong(
                &name,
                sum(&stats["top_allocs"], at, "reserved_at_peak_bytes"),
                *truth,
                0,
            ),
            "resident" => wrong(
                &name,
                sum(&stats["top_allocs"], at, "resident_at_peak_bytes"),
                *truth,
                SITE,
            ),
            _ => wrong(
                &name,
                sum(&stats["top_touchers"], at, "resident_at_peak_bytes"),
                *truth,
                SITE,
            ),
        });
    }
    // What VmPeak has and no event told of: the kernel's page for uprobes.
    let space = &stats["address_space"];
    let unseen = space["unseen_bytes"].as_i64().expect("a difference");
    wrongs.extend(wrong(
        &format!("{case} ({mode}): address space beside VmPeak"),
        number(&space["kernel_peak_bytes"]).saturating_add_signed(-unseen),
        number(&space["kernel_peak_bytes"]),
        TOTAL,
    ));
    let resident = &stats["resident"];
    wrongs.extend(wrong(
        &format!("{case} ({mode}): unexplained"),
        resident["unexplained_bytes"]
            .as_i64()
            .expect("a difference")
            .unsigned_abs(),
        0,
        TOTAL,
    ));
    wrongs.extend(wrong(
        &format!("{case} ({mode}): resident peak beside VmHWM"),
        number(&resident["peak_bytes"]),
        number(&resident["kernel_peak_bytes"]),
        TOTAL + of_the_kernel(),
    ));
    wrongs
}

fn every_case(mode: &str) {
    std::env::set_current_dir(build_dir()).expect("files for O_DIRECT need a real disk");
    let wrongs: Vec<_> = CASES
        .iter()
        .flat_map(|&(case, of_malloc)| {
            (0..runs()).flat_map(move |_| differences("truth", &[case], of_malloc, mode))
        })
        .chain(UNSEEN.iter().flat_map(|&(case, of_malloc)| {
            (0..runs()).flat_map(move |_| differences("unseen", &[case], of_malloc, mode))
        }))
        // What the image before an exec held is in none of the numbers.
        .chain(
            (0..runs()).flat_map(|_| differences("truth", &["exec", "first_write"], false, mode)),
        )
        .collect();
    assert!(wrongs.is_empty(), "\n{}", wrongs.join("\n"));
}

/// A setting of the machine; as before when it is dropped.
struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    fn new(path: &'static str, value: u64) -> Self {
        Self::of_words(path, &value.to_string())
    }

    /// One that shows all that it can be, and in brackets what it is.
    fn of_words(path: &'static str, value: &str) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let chosen = text
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'));
        let before = chosen.map_or(text.clone(), |(word, _)| word.to_owned());
        std::fs::write(path, value).unwrap();
        Self { path, before }
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = std::fs::write(self.path, &self.before);
    }
}

/// Some room to swap to, until it is dropped.
struct Swap {
    file: std::path::PathBuf,
    _alone: std::sync::MutexGuard<'static, ()>,
}

/// One at a time: the end of a swap space brings back what is in it, whose test that may be.
static SWAPPING: std::sync::Mutex<()> = std::sync::Mutex::new(());

impl Swap {
    fn of_mib(size: usize) -> Self {
        let _alone = SWAPPING.lock().unwrap_or_else(|broken| broken.into_inner());
        let file = build_dir().join(format!("swap-{size}"));
        // Written out: a file with holes is refused.
        std::fs::write(&file, vec![0; size << 20]).unwrap();
        let set = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, set).unwrap();
        let swap = Self { file, _alone };
        for tool in ["mkswap", "swapon"] {
            let ran = std::process::Command::new(tool).arg(&swap.file).output();
            let ran = ran.unwrap();
            assert!(ran.status.success(), "{tool}: {ran:?}");
        }
        swap
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = std::process::Command::new("swapoff")
            .arg(&self.file)
            .status();
        let _ = std::fs::remove_file(&self.file);
    }
}

/// A memory control group with a limit, until it is dropped.
struct Group(std::path::PathBuf);

impl Group {
    fn of_mib(limit: u64) -> Self {
        let name = format!("tracer-test-{}", std::process::id());
        let [old, new] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
        let (top, file) = match std::path::Path::new(old).exists() {
            true => (old, "memory.limit_in_bytes"),
            false => (new, "memory.max"),
        };
        let group = Self(std::path::Path::new(top).join(name));
        std::fs::create_dir(&group.0).unwrap();
        std::fs::write(group.0.join(file), (limit << 20).to_string()).unwrap();
        group
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Some runs of a case of truth.c in both modes.
fn in_both_modes(case: &str) {
    both_modes("truth", &[case]);
}

/// Some runs in both modes.
fn both_modes(name: &str, args: &[&str]) {
    std::env::set_current_dir(build_dir()).unwrap();
    let modes = ["heap", "pages"].into_iter();
    let wrongs: Vec<_> = modes
        .flat_map(|mode| (0..runs()).map(move |_| mode))
        .flat_map(|mode| differences(name, args, false, mode))
        .collect();
    assert!(wrongs.is_empty(), "\n{}", wrongs.join("\n"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_swapped_out_is_not_resident() {
    let _swap = Swap::of_mib(64);
    in_both_modes("swapped_out");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_swapped_out_after_the_peak_was_in_it() {
    let _swap = Swap::of_mib(65);
    both_modes("unseen", &["left_after_the_peak"]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn all_that_swaps_within_a_limit_has_its_owner() {
    let _swap = Swap::of_mib(160);
    let group = Group::of_mib(48);
    both_modes("unseen", &["within_a_limit", group.0.to_str().unwrap()]);
}

/// Linux has them from 6.8 on.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn huge_pages_of_a_medium_size_are_their_touchers() {
    const SIZE: &str = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled";
    if std::path::Path::new(SIZE).exists() {
        let _on = Setting::of_words(SIZE, "madvise");
        both_modes("unseen", &["medium_pages"]);
    } else {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let numbers: Vec<u32> = release.split('.').map_while(|n| n.parse().ok()).collect();
        assert!(
            numbers.as_slice() < [6, 8].as_slice(),
            "{SIZE} is missing on {release}"
        );
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn khugepaged_leaves_no_page_without_an_owner() {
    const SLEEP: &str = "/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs";
    const PAGES: &str = "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan";
    let _hurry = [Setting::new(SLEEP, 10), Setting::new(PAGES, 100_000)];
    in_both_modes("collapsed_later");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn huge_pages_of_hugetlbfs_are_told_of_apart() {
    std::env::set_current_dir(build_dir()).unwrap();
    const POOL: &str = "/proc/sys/vm/nr_hugepages";
    let pool = || {
        let count = std::fs::read_to_string(POOL).unwrap();
        count.trim().parse::<u64>().unwrap()
    };
    let wanted = pool() + 8;
    std::fs::write("/proc/sys/vm/compact_memory", "1").unwrap();
    let _pool = Setting::new(POOL, wanted);
    assert_eq!(pool(), wanted, "memory is too fragmented");
    in_both_modes("huge_tlb");
    for mode in ["heap", "pages"] {
        let stats = trace(
            &["-q", "--trace", mode],
            &program("truth", &[]),
            &["huge_tlb"],
        )
        .stats();
        let hugetlb = &stats["hugetlb"];
        assert_eq!(number(&hugetlb["peak_bytes"]), 8 << 20);
        let mut brought: Vec<_> = hugetlb["brought"].as_array().unwrap().iter().collect();
        brought.sort_by_key(|entry| entry.to_string());
        let name = |of: &Value| of.as_str().unwrap().split(':').next().unwrap().to_owned();
        let brought: Vec<_> = brought
            .iter()
            .map(|e| {
                (
                    name(&e["reserver"]),
                    name(&e["toucher"]),
                    number(&e["bytes"]),
                )
            })
            .collect();
        let said = |reserver: &str, toucher: &str| (reserver.into(), toucher.into(), 4 << 20);
        assert_eq!(
            brought,
            [
                said("site_a", "site_a"),
                said("site_a", "touch_a"),
                said("site_b", "site_b")
            ]
        );
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn with_the_malloc_family() {
    every_case("heap");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_it() {
    every_case("pages");
}
