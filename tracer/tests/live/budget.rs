//! Budgets: what is kept, what is exceeded and said of it, what can't be checked.

use crate::harness::{Trace, number, program, trace};
use std::path::Path;
use std::process::{Command, Output};

/// Reserves 768 MiB at once: 256 by a mapping, of which 32 are touched, and 512 by a block, of
/// which 16 are.
fn reserve(options: &[&str]) -> Trace {
    trace(options, &program("reserve", &[]), &[])
}

fn verdict(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = stderr.lines().filter(|line| line.contains("budget: "));
    said.collect::<Vec<_>>().join("\n")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_budget_that_is_kept_is_one_line_and_no_failure() {
    let kept = [
        "--max-reserved",
        "1G",
        "--max-resident",
        "100MiB",
        "--max-allocs",
        "1000",
    ];
    let run = reserve(&kept);
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    let said = verdict(&run.output);
    assert!(
        said.starts_with("tracer: budget: PASS: reserved "),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
    let quiet = [&["-q"], &kept[..]].concat();
    assert_eq!(verdict(&reserve(&quiet).output), "");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_budget_that_is_exceeded_says_by_whom() {
    let run = reserve(&["-q", "--max-reserved", "512MiB", "--max-leaked", "1TiB"]);
    assert_eq!(run.code(), Some(123), "{}", run.stderr());
    let peak = number(&run.stats()["reserved"]["peak_bytes"]);
    let stderr = run.stderr();
    assert_eq!(stderr.matches("budget: FAIL").count(), 1, "{stderr}");
    // Every digit, and the largest first, with its stack.
    let lines: Vec<&str> = stderr.lines().collect();
    let digits = lines[0].replace(',', "");
    assert!(digits.contains(&format!("({peak} bytes)")), "{stderr}");
    assert!(lines[1].contains("malloc_512_touch_16"), "{stderr}");
    assert!(lines[1].trim_start().starts_with("512 MiB"), "{stderr}");
    assert!(lines[2].trim_start().starts_with("at "), "{stderr}");
    assert!(stderr.contains("at main"), "{stderr}");
    // A limit to the byte is kept, and one less is not.
    let recording = run.out();
    for (most, code) in [(peak, 0), (peak - 1, 123)] {
        let output = report(&recording, &["--max-reserved", &most.to_string()]);
        assert_eq!(output.status.code(), Some(code), "{}", verdict(&output));
    }
}

fn report(recording: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.arg("report").arg("-q").arg(recording).args(options);
    command.output().expect("tracer runs")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_commands_own_failure_goes_before() {
    let run = trace(
        &["-q", "--max-resident", "4KiB"],
        Path::new("/bin/sh"),
        &["-c", "exit 3"],
    );
    assert_eq!(run.code(), Some(3));
    assert!(
        verdict(&run.output).contains("FAIL: resident"),
        "{}",
        run.stderr()
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_process_has_a_budget_of_its_own() {
    let script = "sleep 0; exec sleep 0";
    let of = |limit: &str| {
        let run = trace(
            &["-q", "--max-resident", limit],
            Path::new("/bin/sh"),
            &["-c", script],
        );
        (run.code(), verdict(&run.output))
    };
    assert_eq!(of("sleep=1GiB").0, Some(0));
    let (code, said) = of("sleep=4KiB");
    assert_eq!(code, Some(123));
    assert!(said.contains("resident of sleep (process "), "{said}");
    // A name that is misspelt must not pass.
    let (code, said) = of("slep=1GiB");
    assert_eq!(code, Some(123));
    assert!(
        said.contains("resident of slep: no process of that name ran"),
        "{said}"
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn where_events_are_missing_a_budget_is_not_kept_by_chance() {
    let run = reserve(&["-q"]);
    // As where the tracer was killed: the stream that is written last is not there.
    std::fs::remove_file(run.out().join("recording/losses.arrows")).expect("removed");
    let kept = ["--max-reserved", "1TiB"];
    let output = report(&run.out(), &kept);
    assert_eq!(output.status.code(), Some(123));
    let said = verdict(&output);
    assert!(said.contains("FAIL: the recording is incomplete"), "{said}");
    let output = report(&run.out(), &[&kept[..], &["--allow-lost"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", verdict(&output));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_committed_file_is_read_and_what_is_wrong_with_it_said_before_anything_runs() {
    let dir = tempfile::tempdir().expect("a folder");
    let run = |text: &str, options: &[&str]| {
        std::fs::write(dir.path().join("tracer.toml"), text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
        command
            .args(["-q", "-o", "out"])
            .args(options)
            .current_dir(dir.path());
        command.args(["--", "sh", "-c", "touch ran"]);
        let _ = std::fs::remove_file(dir.path().join("ran"));
        let output = command.output().expect("tracer runs");
        let ran = dir.path().join("ran").exists();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
            ran,
        )
    };
    let small = "[budget]\nmax-resident = \"4KiB\"\n";
    assert_eq!(run(small, &[]).0, Some(123));
    // An option goes before.
    assert_eq!(run(small, &["--max-resident", "1GiB"]).0, Some(0));
    for (text, options, said) in [
        (
            "[budget]\nmax-residnet = 1\n",
            &[][..],
            "tracer.toml: budget: `max-residnet`",
        ),
        ("", &["--budget", "absent.toml"], "absent.toml"),
        (
            "[budget]\nmax-leaked = 1\n",
            &["--trace", "pages"],
            "--trace pages",
        ),
    ] {
        let (code, stderr, ran) = run(text, options);
        assert_eq!((code, ran), (Some(125), false), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_run_is_held_against_an_earlier_one() {
    let base = trace(&["-q"], &program("builds", &[]), &[]);
    base.assert_nothing_lost();
    let stats = base.out().join("stats.json");
    let stats = stats.to_str().expect("UTF-8");
    let later = |options: &[&str], flags: &[&str]| {
        let options = [&["-q", "--baseline", stats], options].concat();
        let run = trace(&options, &program("builds", flags), &[]);
        (run.code(), run.stderr())
    };
    // The same build asks for the same, to the byte.
    let exact = ["--max-growth", "0%", "--max-growth", "resident=20%"];
    let (code, said) = later(&exact, &[]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let some = ["--max-growth", "10%", "--max-growth", "allocs=100%"];
    let (code, said) = later(&some, &["-DLATER"]);
    assert_eq!(code, Some(123), "{said}");
    for metric in ["reserved", "resident", "leaked"] {
        assert!(
            said.contains(&format!("budget: FAIL: {metric}: ")),
            "{said}"
        );
    }
    // One allocation more is not twice as many.
    assert!(!said.contains("FAIL: allocs"), "{said}");
    assert!(said.contains("doubled"), "{said}");
    assert_eq!(later(&["--max-growth", "1000%"], &["-DLATER"]).0, Some(0));
    let (code, said) = later(&["--trace", "pages"], &[]);
    assert_eq!(code, Some(125), "{said}");
    assert!(said.contains("--trace heap"), "{said}");
    let absent = trace(&["--baseline", "absent.json"], Path::new("/bin/true"), &[]);
    assert_eq!(absent.code(), Some(125));
    assert!(
        absent.stderr().contains("no baseline: absent.json"),
        "{}",
        absent.stderr()
    );
}
