//! Datasets of many runs, as DuckDB reads them.

use crate::harness::{build_dir, program, trace};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// Commits and hosts of the dataset: each commit ran on each host.
const COMMITS: usize = 10;
const HOSTS: usize = 20;
/// From this commit on the program is the later one.
const CHANGED: usize = 5;
/// The host on which it always was.
const WORST: usize = 7;
const DAY: u64 = 24 * 3600 * 1_000_000_000;

/// Runs a query and prints its rows, a line each.
const QUERY: &str = "
import duckdb, sys
for row in duckdb.sql(sys.argv[1]).fetchall():
    print(*row)
";

/// The recording of a real run, as another host would have made it at another time.
fn made_elsewhere(recording: &Path, host: &str, began: u64, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(recording).expect("a recording") {
        let path = entry.expect("an entry").path();
        let reader = StreamReader::try_new(File::open(&path).expect("a stream"), None);
        let reader = reader.expect("Arrow");
        let mut schema = reader.schema().as_ref().clone();
        let entries = [
            ("host", host.to_owned()),
            ("started_unix_ns", began.to_string()),
        ];
        for (key, value) in entries {
            schema.metadata.insert(key.to_owned(), value);
        }
        let file = File::create(to.join(path.file_name().expect("a name"))).expect("made");
        let mut writer = StreamWriter::try_new(file, &schema).expect("begun");
        for batch in reader {
            writer.write(&batch.expect("a batch")).expect("written");
        }
        writer.finish().expect("ended");
    }
}

/// The queries of `docs/dataset.md`, for a dataset.
fn queries(dataset: &Path) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dataset.md");
    let text = fs::read_to_string(path).expect("the page");
    let blocks = text.split("```sql\n").skip(1);
    let query = |block: &str| block.split("```").next().unwrap_or_default().to_owned();
    let place = dataset.to_str().expect("UTF-8");
    blocks
        .map(|block| query(block).replace("DIR", place))
        .collect()
}

fn rows(query: &str) -> Vec<String> {
    // Where `cargo xtask python` installs it.
    let python = build_dir().with_file_name("python").join("bin/python");
    let output = Command::new(python).args(["-c", QUERY, query]).output();
    let output = output.expect("an interpreter with DuckDB: `cargo xtask python` installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn duckdb_finds_what_grew_and_where_over_two_hundred_recordings() {
    let builds = [&[][..], &["-DLATER"]].map(|flags| {
        let run = trace(&["-q"], &program("builds", flags), &[]);
        run.assert_nothing_lost();
        run
    });
    let folder = tempfile::tempdir().expect("a folder");
    let dataset = folder.path().join("dataset");
    for commit in 0..COMMITS {
        let name = format!("c{commit}");
        let mut export = Command::new(env!("CARGO_BIN_EXE_tracer"));
        export.args([
            "export",
            "--label",
            "branch=main",
            "--commit",
            &name,
            "--dataset",
        ]);
        export.arg(&dataset);
        for host in 0..HOSTS {
            let later = commit >= CHANGED || host == WORST;
            let recording = folder.path().join(format!("{name}-{host}"));
            let began = (20_000 + commit as u64) * DAY + host as u64;
            let host = format!("host-{host:02}");
            let of = &builds[usize::from(later)];
            made_elsewhere(&of.out().join("recording"), &host, began, &recording);
            export.arg(recording);
        }
        let output = export.output().expect("tracer runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
    }

    let [growth, worst] = <[String; 2]>::try_from(queries(&dataset)).expect("two queries");
    let changed = format!("c{CHANGED}");
    // One host had it before.
    let mean = |bytes: u32| f64::from(bytes) * (HOSTS - 1) as f64 / HOSTS as f64;
    let expected = [
        format!("{changed} doubled {:.1}", mean(1000 << 10)),
        format!("{changed} added {:.1}", mean(700 << 10)),
    ];
    assert_eq!(rows(&growth), expected);
    let worst = rows(&worst);
    assert_eq!(worst.len(), 5, "{worst:?}");
    assert!(
        worst[0].starts_with(&format!("host-{WORST:02} {COMMITS} ")),
        "{worst:?}"
    );
    assert!(
        worst.iter().all(|row| row.ends_with(" 0")),
        "all complete: {worst:?}"
    );

    // Nothing is counted twice or left out: the sum over 200 runs is that of the two kinds of them.
    let peak = |of: usize| {
        let text = fs::read_to_string(builds[of].out().join("stats.json")).expect("stats");
        let stats: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        stats["resident"]["peak_bytes"].as_u64().expect("a peak")
    };
    let earlier = (CHANGED * (HOSTS - 1)) as u64;
    let all = (COMMITS * HOSTS) as u64;
    let sum = format!("{all} {}", earlier * peak(0) + (all - earlier) * peak(1));
    let place = dataset.display();
    for (table, column) in [
        ("runs", "resident_peak_bytes"),
        ("stacks", "resident_at_peak_bytes"),
    ] {
        let query = format!(
            "SELECT count(DISTINCT run), sum({column})::BIGINT FROM '{place}/{table}/*/*.parquet'"
        );
        assert_eq!(rows(&query), [sum.as_str()], "{table}");
    }
    let days = format!("SELECT count(DISTINCT date) FROM '{place}/runs/*/*.parquet'");
    assert_eq!(rows(&days), [COMMITS.to_string()]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_can_not_be_exported_is_said_in_one_line() {
    let run = trace(&["-q"], &program("builds", &[]), &[]);
    let file = run.dir.path().join("file");
    fs::write(&file, "").expect("a file");
    for (dataset, recording) in [(&file, &run.out()), (&run.out().join("d"), &file)] {
        let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
            .args(["export", "--dataset"])
            .args([dataset, recording])
            .output()
            .expect("tracer runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    }
}
