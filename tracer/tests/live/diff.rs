//! Two builds of one program, side by side.

use crate::harness::{Trace, program, trace};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn diff(options: &[&str], base: &Path, head: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.arg("diff").args(options).args([base, head]);
    command.output().expect("tracer runs")
}

fn builds() -> [Trace; 2] {
    [&[][..], &["-DLATER"]].map(|flags| {
        let run = trace(&["-q"], &program("builds", flags), &[]);
        run.assert_nothing_lost();
        run
    })
}

/// Name, and the changes of reserved, leaked and calls.
fn rows(output: &Output) -> Vec<[String; 4]> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = text.lines().filter(|line| line.ends_with("builds.c"));
    let cells = rows.map(|line| {
        let cells: Vec<&str> = line.split("  ").map(str::trim).collect();
        cells.into_iter().filter(|cell| !cell.is_empty()).collect()
    });
    let rows: Vec<Vec<&str>> = cells.collect();
    rows.iter()
        .map(|row| [4, 0, 2, 3].map(|at: usize| row[at].to_owned()))
        .collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn exactly_what_changed_is_named() {
    let [base, head] = builds();
    let files: [fn(&Trace) -> PathBuf; 2] = [Trace::out, |run| run.out().join("stats.json")];
    for file in files {
        let output = diff(&[], &file(&base), &file(&head));
        assert_eq!(output.status.code(), Some(0));
        let told = rows(&output);
        let text = String::from_utf8_lossy(&output.stdout);
        let of = |name: &str| told.iter().find(|row| row[0] == name);
        let row = |name: &str, reserved: &str, leaked: &str, calls: &str| {
            Some([name, reserved, leaked, calls].map(str::to_owned))
        };
        let added = row("added", "+700 KiB", "+700 KiB", "+1");
        assert_eq!(of("added").cloned(), added, "{text}");
        let doubled = row("doubled", "+0.98 MiB", "+0.98 MiB", "=");
        assert_eq!(of("doubled").cloned(), doubled, "{text}");
        let touched = row("touched_later", "=", "=", "=");
        assert_eq!(of("touched_later").cloned(), touched, "{text}");
        assert_eq!(told.len(), 3, "nothing else: {text}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_same_is_no_change_and_markdown_is_a_table() {
    let [base, head] = builds();
    let output = diff(&[], &base.out(), &base.out());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.ends_with("no change beyond noise\n"), "{text}");
    let output = diff(&["--markdown"], &base.out(), &head.out());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("|---:|---:|---:|---:|---|\n"), "{text}");
    assert!(text.contains("| +700 KiB |"), "{text}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_can_not_be_compared_is_said_in_one_line() {
    let [base, _] = builds();
    let pages = trace(&["-q", "--trace", "pages"], &program("builds", &[]), &[]);
    let absent = base.dir.path().join("absent");
    let strange = base.dir.path().join("strange.json");
    std::fs::write(&strange, "{\"schema_version\": 7}").expect("written");
    for (head, said) in [
        (pages.out(), "--trace pages"),
        (absent, "no recording"),
        (strange, "schema_version is 7"),
    ] {
        let output = diff(&[], &base.out(), &head);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn stacks_are_compared_and_drawn() {
    let [base, head] = builds();
    let picture = base.dir.path().join("change.svg");
    let path = picture.to_str().expect("UTF-8");
    let output = diff(&["--stacks", "--flame", path], &base.out(), &head.out());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let of = |name: &str| {
        text.lines()
            .find(|line| line.contains(&format!("  {name} < main < ")))
    };
    assert!(
        of("added").is_some_and(|row| row.contains("+700 KiB")),
        "{text}"
    );
    assert!(
        of("doubled").is_some_and(|row| row.contains("+0.98 MiB")),
        "{text}"
    );
    assert!(of("moved").is_none() && of("same").is_none(), "{text}");
    let svg = std::fs::read_to_string(&picture).expect("drawn");
    let title = |name: &str| {
        let start = svg.find(&format!("<title>{name}\n")).expect(name);
        svg[start..]
            .lines()
            .nth(1)
            .expect("a second line")
            .to_owned()
    };
    assert_eq!(
        title("doubled"),
        "0.98 MiB before, 1.95 MiB now (+0.98 MiB, 100 %)"
    );
    assert_eq!(title("added"), "0 B before, 700 KiB now (+700 KiB, –)");
    assert_eq!(title("moved"), "300 KiB before, 300 KiB now (no change)");
    // Of leaked bytes likewise, and of what has no stacks nothing is made.
    let leaked = ["--flame", path, "--metric", "leaked"];
    assert_eq!(
        diff(&leaked, &base.out(), &head.out()).status.code(),
        Some(0)
    );
    let stats = base.out().join("stats.json");
    let output = diff(&["--stacks"], &stats, &head.out());
    assert_eq!(output.status.code(), Some(125));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("a stats.json has no stacks"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
