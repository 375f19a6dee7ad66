//! The recording is standard Arrow, and every report is a pure function of it.

use crate::harness::{build_dir, program, trace};
use std::process::Command;

/// Opens every file and counts its rows.
const READ_ALL: &str = "
import pathlib, pyarrow.ipc, sys
files = sorted(p for p in pathlib.Path(sys.argv[1]).rglob('*') if p.is_file())
assert files, 'no files'
for path in files:
    with path.open('rb') as f:
        table = pyarrow.ipc.open_stream(f).read_all()
    table.validate(full=True)
    print(path.stem, table.num_rows)
";

#[test]
#[ignore = "needs root: cargo xtask test"]
fn pyarrow_opens_every_file() {
    let run = trace(&[], &program("ends", &[]), &["exit"]);
    run.assert_nothing_lost();
    // Where `cargo xtask python` installs it.
    let python = build_dir().with_file_name("python").join("bin/python");
    let output = Command::new(python)
        .args(["-c", READ_ALL])
        .arg(run.out().join("recording"))
        .output()
        .expect("an interpreter with pyarrow: `cargo xtask python` installs it");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let events = stdout
        .lines()
        .find_map(|line| line.strip_prefix("events "))
        .expect("events");
    assert!(events.parse::<u64>().unwrap() >= 1000, "{stdout}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_report_made_again_is_the_same() {
    let run = trace(&[], &program("ends", &[]), &["exit"]);
    let again = run.dir.path().join("again");
    let status = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .arg("report")
        .arg(run.out().join("recording"))
        .arg("-o")
        .arg(&again)
        .output()
        .expect("tracer runs");
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );
    for file in [
        "stats.json",
        "top.md",
        "reserved.svg",
        "resident.svg",
        "touched.svg",
    ] {
        let first = std::fs::read(run.out().join(file)).expect(file);
        assert_eq!(
            first,
            std::fs::read(again.join(file)).expect(file),
            "{file}"
        );
    }
}
