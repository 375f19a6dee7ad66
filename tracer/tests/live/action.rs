//! The GitHub Action of this repository, as far as it can be run here: its script, on this machine.

use crate::harness::{need_root, program};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the step `Trace` runs.
fn script() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let action = std::fs::read_to_string(root.join("action.yml")).expect("action.yml");
    let step = action.split("- name: Trace").nth(1).expect("the step");
    let lines = step
        .lines()
        .skip_while(|line| line.trim() != "run: |")
        .skip(1);
    let script: Vec<&str> = lines.map(str::trim_start).collect();
    script.join("\n")
}

struct Runner {
    dir: tempfile::TempDir,
}

impl Runner {
    fn run(&self, command: &Path, inputs: &[(&str, &str)]) -> Output {
        let mut bash = Command::new("bash");
        bash.args([
            "--noprofile",
            "--norc",
            "-e",
            "-o",
            "pipefail",
            "-c",
            &script(),
        ]);
        for name in ["OPTIONS", "BASELINE", "MAX_GROWTH"] {
            bash.env(name, "");
        }
        bash.env("TRACER", env!("CARGO_BIN_EXE_tracer"));
        bash.env("GITHUB_ACTION_PATH", "/nowhere");
        bash.env("GITHUB_OUTPUT", self.path("output"));
        bash.env("GITHUB_STEP_SUMMARY", self.path("summary.md"));
        bash.env("GITHUB_WORKSPACE", env!("CARGO_MANIFEST_DIR"));
        bash.env("COMMAND", command).env("OUT_DIR", "out");
        bash.envs(inputs.iter().copied())
            .current_dir(self.dir.path());
        bash.output().expect("bash")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_action_gates_and_writes_the_jobs_summary() {
    need_root();
    let runner = Runner {
        dir: tempfile::tempdir().expect("a folder"),
    };
    let [base, later] = [&[][..], &["-DLATER"]].map(|flags| program("builds", flags));
    let output = runner.run(
        &base,
        &[("OPTIONS", "--max-reserved 1GiB --max-leaked 1GiB")],
    );
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(runner.read("output"), "stats=out/stats.json\n");
    assert!(
        runner.read("summary.md").contains("touched_later"),
        "{stderr}"
    );

    std::fs::rename(runner.path("out/stats.json"), runner.path("base.json")).expect("kept");
    let inputs = [
        ("BASELINE", "base.json"),
        ("MAX_GROWTH", "10%"),
        ("OUT_DIR", "later"),
    ];
    let output = runner.run(&later, &inputs);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(123), "{stderr}");
    assert!(stderr.contains("budget: FAIL: reserved: "), "{stderr}");
    let annotation = "::error file=tests/programs/builds.c,line=";
    assert!(stderr.contains(annotation), "{stderr}");
    let summary = runner.read("summary.md");
    assert!(summary.contains("## Since the baseline"), "{summary}");
    assert!(summary.contains("| +700 KiB |"), "{summary}");

    // Of several runs the folder is what the next one is held against, by the median.
    let output = runner.run(&base, &[("OPTIONS", "--repeat 3"), ("OUT_DIR", "three")]);
    assert_eq!(output.status.code(), Some(0));
    assert!(runner.read("output").ends_with("\nstats=three\n"));
    for (program, status) in [(&base, 0), (&later, 123)] {
        let inputs = [
            ("BASELINE", "three"),
            ("MAX_GROWTH", "10%"),
            ("OUT_DIR", "against"),
        ];
        let output = runner.run(program, &inputs);
        assert_eq!(output.status.code(), Some(status));
    }

    // A wrong option is the tracer's own error, and nothing of an input is run by the shell.
    let output = runner.run(&base, &[("OPTIONS", "--no-such-option; touch ran")]);
    assert_eq!(output.status.code(), Some(125));
    assert!(!runner.path("ran").exists());
}
