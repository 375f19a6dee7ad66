//! The tracer's test binaries, which the guest runs where they lie here.

use super::compiler;
use super::disk::Tree;
use crate::command::{cargo, line, root};
use crate::libtiledb::target_directory;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The test targets that cases name: `$LIVE` and so on.
const TARGETS: [&str; 3] = ["live", "probes", "chains"];
/// Programs that tests use beside those that every guest has.
const PROGRAMS: [&str; 2] = ["strip", "objcopy"];

/// Builds the tests, with the tracer that they run.
pub(crate) fn build() -> Result<Vec<(&'static str, PathBuf)>> {
    let mut cargo = cargo();
    cargo.args(["test", "--release", "--package", "tracer", "--no-run"]);
    for target in TARGETS {
        cargo.args(["--test", target]);
    }
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("can't run {}", line(&cargo)))?;
    ensure!(output.status.success(), "{} failed", line(&cargo));
    let messages = String::from_utf8(output.stdout)?;
    let built: Vec<_> = messages.lines().filter_map(executable).collect();
    TARGETS
        .into_iter()
        .map(|target| {
            let found = built.iter().find(|(name, _)| name == target);
            let (_, file) = found.with_context(|| format!("cargo built no test {target}"))?;
            Ok((target, file.clone()))
        })
        .collect()
}

/// The test target and its file that a message of cargo tells of, if it does.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["profile"]["test"] != true {
        return None;
    }
    let name = message["target"]["name"].as_str()?;
    Some((name.to_owned(), message["executable"].as_str()?.into()))
}

/// Puts them on the guest's disk, and what they expect to find.
pub(crate) fn bring(tree: &mut Tree, tests: &[(&str, PathBuf)], runs: u32) -> Result<()> {
    let crate_folder = root().join("tracer");
    let mut settings = format!(
        "export TRACER_RUNS={runs} TRUTH_LINGER_MS=4000\ncd {}\n",
        crate_folder.display()
    );
    for (name, file) in tests {
        tree.add(file)?;
        let file = file.display();
        // One at a time: what a test waits for shall not wait for others.
        settings += &format!(
            "{}='{file} --include-ignored --test-threads=1'\n",
            name.to_uppercase()
        );
        settings += &format!("export {}\n", name.to_uppercase());
    }
    for folder in ["tests/programs", "tests/chains"] {
        tree.add_tree(&crate_folder.join(folder))?;
    }
    for program in PROGRAMS {
        if let Some(file) = crate::packages::find(program) {
            tree.add(&file)?;
        }
    }
    // Where cargo has tests write: `CARGO_TARGET_TMPDIR`.
    let build_dir = target_directory()?.join("tmp");
    std::fs::create_dir_all(tree.at(&build_dir.to_string_lossy()))?;
    tree.write("/vm/settings", &settings, 0o644)?;
    tree.write("/vm/verified.py", include_str!("verified.py"), 0o644)?;
    let constrained = Path::new("/usr/local/bin/constrained");
    tree.write(
        &constrained.to_string_lossy(),
        include_str!("constrained.sh"),
        0o755,
    )
}

/// Puts the guest's compiler there: the host's.
pub(crate) fn bring_compiler(tree: &Tree) -> Result<()> {
    for driver in compiler::DRIVERS {
        let path = format!("/usr/local/bin/{driver}");
        tree.write(&path, include_str!("cc.sh"), 0o755)?;
    }
    Ok(())
}
