//! Budgets: what is kept, what is exceeded and said of it, what can't be checked.

use crate::harness::{Trace, number, program, trace, tracer};
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

#[test]
#[ignore = "needs root: cargo xtask test"]
fn one_location_may_not_grow_where_another_shrinks() {
    let sites = |first: &str, second: &str| {
        let program = program("sites", &[]);
        trace(&["-q"], &program, &[first, second])
    };
    let base = sites("3000", "3000");
    base.assert_nothing_lost();
    let held = |options: &[&str], first: &str, second: &str| {
        let stats = base.out().join("stats.json");
        let options = [
            &["-q", "--baseline", stats.to_str().expect("UTF-8")],
            options,
        ];
        let run = trace(&options.concat(), &program("sites", &[]), &[first, second]);
        (run.code(), run.stderr())
    };
    let exact = ["--max-growth", "1%", "--max-growth", "resident=50%"];
    assert_eq!(held(&exact, "3000", "3000"), (Some(0), String::new()));
    let (code, said) = held(&exact, "4000", "2000");
    assert_eq!(code, Some(123), "{said}");
    assert!(
        said.contains("budget: FAIL: reserved at first_site  sites.c: "),
        "{said}"
    );
    assert!(!said.contains("at second_site"), "{said}");
    assert!(
        !said.contains("FAIL: reserved: "),
        "the whole is as it was: {said}"
    );
    let more = [&exact[..], &["--max-growth", "location=50%"]].concat();
    assert_eq!(held(&more, "4000", "2000").0, Some(0));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn of_several_runs_the_median_is_held_against_the_budget() {
    // Each run reserves more than the one before, in KiB: 1000, 2000, 3000.
    let run = |options: &[&str]| {
        let (mut command, dir) = tracer(&[&["--repeat", "3"], options].concat());
        let counter = dir.path().join("counter");
        let script = "echo x >>\"$1\"; exec \"$2\" $(($(wc -l <\"$1\") * 1000)) 0";
        command.args(["--", "/bin/sh", "-c", script, "sh"]);
        command.arg(&counter).arg(program("sites", &[]));
        let output = command.output().expect("tracer runs");
        Trace { dir, output }
    };
    let peak = |trace: &Trace, run: u32| {
        let path = trace.out().join(format!("run-{run}/stats.json"));
        let text = std::fs::read_to_string(path).expect("stats.json");
        let stats: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        number(&stats["reserved"]["peak_bytes"])
    };
    let three = run(&["--max-reserved", "1GiB"]);
    let stderr = three.stderr();
    assert_eq!(three.code(), Some(0), "{stderr}");
    let [least, middle, most] = [1, 2, 3].map(|number| peak(&three, number));
    assert!(least < middle && middle < most);
    assert_eq!(most - middle, 1000 << 10);
    let result = format!("tracer: result: exit=0 reserved={middle} ");
    let last = stderr.lines().find(|line| line.ends_with(" runs=3"));
    assert!(
        last.is_some_and(|line| line.starts_with(&result)),
        "{stderr}"
    );
    assert!(stderr.contains("tracer: runs: reserved "), "{stderr}");
    assert!(stderr.contains("budget: PASS: reserved "), "{stderr}");
    // The same sizes again: what the middle one came to is enough, a byte less is not.
    let limit = |most: u64| run(&["-q", "--max-reserved", &most.to_string()]);
    assert_eq!(limit(middle).code(), Some(0));
    let less = limit(middle - 1);
    assert_eq!(less.code(), Some(123), "{}", less.stderr());
    assert!(
        less.stderr().contains("the median of 3 runs"),
        "{}",
        less.stderr()
    );
    assert!(less.stderr().contains("first_site"), "{}", less.stderr());
    // Their folder is a baseline, by its median.
    let folder = three.out();
    let folder = folder.to_str().expect("UTF-8");
    let growth = ["--max-growth", "100%", "--max-growth", "reserved=0%"];
    let again = run(&[&["-q", "--baseline", folder], &growth[..]].concat());
    assert_eq!(again.code(), Some(0), "{}", again.stderr());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn of_several_runs_the_first_that_fails_is_the_last() {
    let run = trace(&["--repeat", "3"], Path::new("/bin/sh"), &["-c", "exit 7"]);
    assert_eq!(run.code(), Some(7), "{}", run.stderr());
    assert!(
        run.stderr().contains("run 1 of 3 ended with status 7"),
        "{}",
        run.stderr()
    );
    assert!(run.out().join("run-1/stats.json").exists());
    assert!(!run.out().join("run-2").exists());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_verdict_is_told_in_the_forms_that_machines_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("summary.md"), "# Before\n").expect("written");
    let run = |most: &str| {
        let (mut command, out) = tracer(&["-q", "--max-reserved", most, "--github"]);
        command.arg("--junit").arg(path("junit.xml"));
        command.arg("--verdict").arg(path("verdict.json"));
        command.env("GITHUB_STEP_SUMMARY", path("summary.md"));
        command.env("GITHUB_WORKSPACE", env!("CARGO_MANIFEST_DIR"));
        command.arg("--").arg(program("reserve", &[]));
        let output = command.output().expect("tracer runs");
        Trace { dir: out, output }
    };
    let read = |name: &str| std::fs::read_to_string(path(name)).expect("written");
    let json =
        || -> serde_json::Value { serde_json::from_str(&read("verdict.json")).expect("JSON") };
    let kept = run("1GiB");
    assert_eq!((kept.code(), kept.stderr().as_str()), (Some(0), ""));
    assert!(read("junit.xml").contains("failures=\"0\""));
    assert_eq!(json()["kept"], true);
    let exceeded = run("512MiB");
    let stderr = exceeded.stderr();
    assert_eq!(exceeded.code(), Some(123), "{stderr}");
    let annotation =
        "::error file=tests/programs/reserve.c,line=16,title=tracer%3A reserved::512 MiB";
    assert!(
        stderr.lines().any(|line| line.starts_with(annotation)),
        "{stderr}"
    );
    assert!(
        read("junit.xml").contains("failures=\"1\""),
        "{}",
        read("junit.xml")
    );
    let told = json();
    assert_eq!(told["kept"], false);
    let peak = number(&exceeded.stats()["reserved"]["peak_bytes"]);
    assert_eq!(number(&told["checks"][0]["value"]), peak);
    let summary = read("summary.md");
    assert!(summary.starts_with("# Before\n"), "{summary}");
    assert_eq!(summary.matches("## Budget").count(), 2, "{summary}");
    assert!(summary.contains("**exceeded**"), "{summary}");
    // A place that can't be written to is said before anything runs.
    let refused = trace(
        &["--junit", "/no/such/junit.xml"],
        Path::new("/bin/true"),
        &[],
    );
    assert_eq!(refused.code(), Some(125));
    assert!(!refused.out().exists());
}
