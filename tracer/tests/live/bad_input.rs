//! Bad input: a clear message, the right exit status, nothing left.

use crate::harness::{build, need_root, program, trace, tracer};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Runs it; asserts status and that stderr has every word.
fn refused(command: &mut Command, code: i32, words: &[&str]) {
    let output = command.output().expect("tracer runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {stderr}");
    for word in words {
        assert!(
            stderr.contains(word),
            "{command:?} should say `{word}`: {stderr}"
        );
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_such_command() {
    refused(
        tracer(&[]).0.args(["--", "no-such-command-here"]),
        127,
        &["no-such-command-here", "not found"],
    );
    refused(
        tracer(&[]).0.args(["--", "/no/such/file"]),
        127,
        &["/no/such/file"],
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_command_that_can_not_be_executed() {
    let (mut command, dir) = tracer(&[]);
    let file = dir.path().join("plain-file");
    std::fs::write(&file, "not a program").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(
        command.arg("--").arg(&file),
        126,
        &["plain-file", "ermission denied"],
    );
    refused(
        tracer(&[]).0.args(["--", "/tmp"]),
        126,
        &["/tmp", "ermission denied"],
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_file_that_is_no_program_ends_as_without_the_tracer() {
    let (mut command, dir) = tracer(&["-q"]);
    let file = dir.path().join("garbage");
    std::fs::write(&file, b"\x7fELF\x02\x01\x01garbage").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    // execvp(3) hands what is no program to the shell, and so does the tracer.
    let alone = Command::new("env").arg(&file).output().unwrap();
    refused(
        command.arg("--").arg(&file),
        alone.status.code().unwrap(),
        &["garbage"],
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_folder_that_can_not_be_written() {
    need_root();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command.args(["-o", "/proc/none", "--", "true"]);
    refused(&mut command, 125, &["/proc/none"]);
    let (mut command, dir) = tracer(&[]);
    std::fs::write(dir.path().join("out"), "a file").unwrap();
    refused(command.args(["--", "true"]), 125, &["out"]);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("out")).unwrap(),
        "a file"
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_disk_that_fills_up_is_told_and_the_rest_reported() {
    need_root();
    let dir = tempfile::tempdir().unwrap();
    let storm = program("storm", &[]);
    let script = format!(
        "mount -t tmpfs -o size=1m none {dir} && {tracer} -q -o {dir}/out -- {storm} 2 200000; \
         code=$?; ls {dir}/out >&2; exit $code",
        dir = dir.path().display(),
        tracer = env!("CARGO_BIN_EXE_tracer"),
        storm = storm.display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let output = command.output().expect("unshare runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("No space left"), "{stderr}");
    assert!(stderr.contains(" events could not be written"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(
        output.status.code(),
        Some(125),
        "results are missing: {stderr}"
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_static_program_without_symbols_runs_and_is_told() {
    let musl = build("musl-gcc", "ends", &["-static", "-s"]);
    let run = trace(&[], &musl, &["exit", "5"]);
    assert_eq!(run.code(), Some(5), "{}", run.stderr());
    assert!(
        run.stderr().contains("malloc"),
        "says that the heap is not traced: {}",
        run.stderr()
    );
    assert!(run.stats()["resident"]["peak_bytes"].as_u64().unwrap() > 0);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn usage_errors() {
    for args in [
        &["--trace", "everything", "--", "true"][..],
        &["--ring-buffer", "lots", "--", "true"],
        &["--ring-buffer", "5", "--", "true"],
        &[],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
            .args(args)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(125), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn unknown_options_are_told_as_such_with_the_nearest() {
    let tracer = || Command::new(env!("CARGO_BIN_EXE_tracer"));
    refused(
        tracer().args(["--traces", "pages", "true"]),
        125,
        &["--traces", "'--trace'"],
    );
    refused(tracer().args(["-x", "1"]), 125, &["unexpected", "-x"]);
    refused(
        tracer().args(["report", "--outdir", "x", "y"]),
        125,
        &["--outdir", "'--out-dir'"],
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_folder_with_files_of_others_is_refused_and_left_alone() {
    let (mut command, dir) = tracer(&[]);
    let file = dir.path().join("out/stats.json");
    std::fs::create_dir(dir.path().join("out")).unwrap();
    std::fs::write(&file, "{\"mine\": true}").unwrap();
    let witness = dir.path().join("witness");
    let command = command.arg("--").arg("touch").arg(&witness);
    refused(command, 125, &["stats.json", "not this tool's", "-o"]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"mine\": true}");
    assert!(!witness.exists());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn recordings_that_are_none() {
    let tracer = || Command::new(env!("CARGO_BIN_EXE_tracer"));
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("such/recording");
    refused(
        tracer().arg("report").arg(&none),
        125,
        &[&none.to_string_lossy()],
    );
    refused(tracer().arg("report").arg(dir.path()), 125, &["recording"]);
    for name in ["events.arrows", "events.arrow"] {
        std::fs::write(dir.path().join(name), [0xff; 4096]).unwrap();
    }
    refused(tracer().arg("report").arg(dir.path()), 125, &["recording"]);
    assert!(Path::new(dir.path()).exists());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_doctor_that_is_asked_about_machines_and_files() {
    need_root();
    let tracer = || Command::new(env!("CARGO_BIN_EXE_tracer"));
    let output = tracer().arg("doctor").output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1000 of 1000 blocks"), "{said}");
    let output = tracer()
        .args(["doctor", "--unwind"])
        .arg(program("family", &[]))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("functions "));
    refused(
        tracer().args(["doctor", "--unwind", "/etc/passwd"]),
        125,
        &["/etc/passwd"],
    );
}
