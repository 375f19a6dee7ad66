//! The Debian package, made by cargo-deb from the files of the tarball.

use crate::command::{command, root, run};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of cargo-deb that makes it.
const VERSION: &str = "3.8.0";

/// Makes the package in `dist` of what lies in `dist/tracer`, dated `time` (seconds since 1970).
/// `[package.metadata.deb]` of `tracer/Cargo.toml` says which file goes where.
pub(super) fn package(dist: &Path, time: u64) -> Result<PathBuf> {
    let name = format!("tracer_{}_amd64.deb", env!("CARGO_PKG_VERSION"));
    let package = dist.join(name);
    let mut deb = command(cargo_deb()?);
    deb.current_dir(root().join("tracer"))
        .args(["--no-build", "--no-strip", "--locked", "--quiet"])
        // By gzip itself: cargo-deb's own takes a minute for the last three per cent.
        .args(["--compress-type", "gzip", "--compress-system", "--output"])
        .arg(&package)
        .env("SOURCE_DATE_EPOCH", time.to_string());
    run(&mut deb)?;
    ensure!(
        package.is_file(),
        "cargo-deb wrote no {}",
        package.display()
    );
    Ok(package)
}

/// cargo-deb of the right version, in `target/`, built there if need be.
fn cargo_deb() -> Result<PathBuf> {
    let place = root().join("target/cargo-deb");
    let program = place.join("bin/cargo-deb");
    let told = Command::new(&program).arg("--version").output();
    let is_right = |told: std::process::Output| {
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        text.split_whitespace().next_back() == Some(VERSION)
    };
    if told.is_ok_and(is_right) {
        return Ok(program);
    }
    eprintln!("building cargo-deb {VERSION} into {}", place.display());
    fs::create_dir_all(&place)?;
    let mut cargo = crate::command::cargo();
    cargo
        .args(["install", "cargo-deb", "--version", VERSION])
        .args(["--locked", "--quiet", "--no-default-features", "--root"])
        .arg(&place);
    run(&mut cargo).context("cargo-deb makes the Debian package")?;
    Ok(program)
}
