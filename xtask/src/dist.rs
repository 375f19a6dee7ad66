//! `cargo xtask dist`: what people install who build nothing: a tarball and a Debian package with
//! one static program, the same bit for bit wherever they are made.

mod archive;
mod build;
mod check;
mod deb;
mod licences;

pub(crate) use build::manual;

use crate::command::{command, line, root};
use crate::packages::{self, For};
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Options of `cargo xtask dist`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build once more, from a copy elsewhere, and compare; then run what was made, unpacked, on this
    /// system and within others
    #[arg(long)]
    check: bool,
}

/// What was made.
struct Made {
    tarball: PathBuf,
    package: PathBuf,
}

/// Makes both in `target/dist`, with their checksums, and names them.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.check {
        return check();
    }
    made().map(drop)
}

/// Makes them, and tries them.
fn check() -> Result<()> {
    packages::ensure(&[For::Demo, For::Dist, For::DistCheck])?;
    let made = made()?;
    check::same_from_elsewhere(&made.tarball)?;
    check::runs_everywhere(&made)
}

fn made() -> Result<Made> {
    packages::ensure(&[For::Dist])?;
    let dist = root().join("target/dist");
    fs::create_dir_all(&dist).with_context(|| format!("can't create {}", dist.display()))?;
    let time = source_time(&root())?;
    let made = Made {
        tarball: tarball(&root(), &root().join("target"), &dist, time)?,
        package: deb::package(&dist, time)?,
    };
    write_checksums(&dist, &[&made.tarball, &made.package])?;
    for file in [&made.tarball, &made.package] {
        println!("{}", file.display());
    }
    Ok(made)
}

/// Builds the program of the tree `source`, and packs it into `dist` with all that belongs to it,
/// which stays in `dist/tracer`.
fn tarball(source: &Path, target: &Path, dist: &Path, time: u64) -> Result<PathBuf> {
    let program = build::program(source, target)?;
    let stage = dist.join("tracer");
    build::stage(source, &program, &stage)?;
    let name = format!("tracer-{}-x86_64-linux", env!("CARGO_PKG_VERSION"));
    let tarball = dist.join(format!("{name}.tar.gz"));
    archive::pack(&stage, &name, time, &tarball)?;
    Ok(tarball)
}

/// When the source was as it is, in seconds since 1970: what files are dated by
/// (reproducible-builds.org's `SOURCE_DATE_EPOCH`), else the last commit.
fn source_time(source: &Path) -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => {
            printed(
                command("git")
                    .arg("-C")
                    .arg(source)
                    .args(["log", "-1", "--format=%ct"]),
            )?
        }
    };
    let time = text.trim().parse();
    time.with_context(|| format!("`{}` is no time in seconds since 1970", text.trim()))
}

/// What a command prints.
fn printed(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("can't run {}", line(command)))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} ended with {}: {said}",
        line(command),
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// `SHA256SUMS`, as `sha256sum --check` reads it.
fn write_checksums(dist: &Path, files: &[&PathBuf]) -> Result<()> {
    let mut sums = String::new();
    for file in files {
        let name = file.file_name().context("a file has a name")?;
        writeln!(sums, "{}  {}", digest(file)?, name.to_string_lossy())?;
    }
    fs::write(dist.join("SHA256SUMS"), sums).context("can't write the checksums")
}

fn digest(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
    let hex = |text, byte| format!("{text}{byte:02x}");
    Ok(Sha256::digest(bytes).iter().fold(String::new(), hex))
}
