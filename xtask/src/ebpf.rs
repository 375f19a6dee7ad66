//! Builds the BPF programs into the object that is committed beside their
//! sources, so that building the tracer needs nothing but stable Rust.

mod depth;
mod digest;
mod record;
mod toolchain;

use crate::command::root;
use anyhow::{Context, Result, bail};
use record::Record;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use toolchain::Toolchain;

/// Where the object lies.
const OBJECT: &str = "tracer-ebpf/tracer.bpf.o";
/// Where it is recorded from what and by what it was made.
const RECORD: &str = "tracer-ebpf/tracer.bpf.toml";
/// The BPF target.
const TARGET: &str = "bpfel-unknown-none";

/// How to build the BPF programs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing: rebuild in a clean place, and fail unless it gives the same object
    #[arg(long)]
    check: bool,
}

/// `cargo xtask ebpf`
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.check { check() } else { build() }
}

/// Builds the object, and records what it was made from.
fn build() -> Result<()> {
    let root = root();
    let toolchain = Toolchain::find(&root)?;
    eprintln!("building the BPF programs with {toolchain}");
    let object = compile(&toolchain, &root, &root.join("target/bpf"))?;
    let record = Record::new(&root, &object, &toolchain)?;
    depth::check(&object)?;
    std::fs::write(root.join(OBJECT), &object)?;
    std::fs::write(root.join(RECORD), record.to_string())?;
    eprintln!("{OBJECT}: {} bytes", object.len());
    Ok(())
}

/// Rebuilds the object in a clean place. With the recorded toolchain it must be
/// the same bit for bit; with another one it must pass the live tests.
pub(crate) fn check() -> Result<()> {
    let root = root();
    let recorded = Record::read(&root)?;
    recorded.check_source(&root)?;
    let committed = std::fs::read(root.join(OBJECT))?;
    recorded.check_object(&committed)?;
    depth::check(&committed)?;
    let toolchain = Toolchain::find(&root)?;
    eprintln!("rebuilding the BPF programs with {toolchain}");
    let clean = tempfile::tempdir()?;
    copy_sources(&root, clean.path())?;
    let object = compile(&toolchain, clean.path(), &clean.path().join("target"))?;
    if let Some(difference) = recorded.other_toolchain(&toolchain) {
        eprintln!(
            "another toolchain than the recorded one ({difference}): running the live tests on its object"
        );
        std::fs::write(clean.path().join(OBJECT), &object)?;
        return live_tests(clean.path(), &root);
    }
    recorded
        .check_object(&object)
        .context("rebuilt with the recorded toolchain")?;
    eprintln!("{OBJECT} is what its sources give, bit for bit");
    Ok(())
}

/// Compiles the work tree at `root` and returns the object, without DWARF: the
/// kernel wants BTF only.
fn compile(toolchain: &Toolchain, root: &Path, target_dir: &Path) -> Result<Vec<u8>> {
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--package",
            "tracer-ebpf",
        ])
        .args([
            "--features",
            "programs",
            "--bin",
            "tracer-ebpf",
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(target_dir)
        // aya-ebpf's build script asks for the architecture of the host's
        // registers by this name.
        .env("CARGO_CFG_BPF_TARGET_ARCH", "x86_64")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(root)?)
        .env_remove("RUSTFLAGS")
        // It cuts the code into other units, which gives another object.
        .env("CARGO_INCREMENTAL", "0")
        // Not by a flag: flags go into symbol hashes, and this is a path.
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", toolchain.linker());
    execute(&mut cargo)?;
    let built = target_dir.join(TARGET).join("release/tracer-ebpf");
    let stripped = target_dir.join("tracer.bpf.o");
    execute(
        Command::new(toolchain.objcopy())
            .arg("--strip-debug")
            .args([&built, &stripped]),
    )?;
    std::fs::read(&stripped).with_context(|| stripped.display().to_string())
}

/// Flags of rustc, as cargo wants them in one variable.
fn rustflags(root: &Path) -> Result<OsString> {
    let mut flags: Vec<OsString> = [
        "--cfg=bpf_target_arch=\"x86_64\"",
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // Atomic exchange: Linux 5.12.
        "-Ctarget-cpu=v3",
    ]
    .map(OsString::from)
    .to_vec();
    // Line information names source files: by names that are the same on every
    // machine.
    for (from, to) in remapped(root)? {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    }
    Ok(flags.join("\u{1f}".as_ref()))
}

/// Directories of this machine that sources are compiled from.
fn remapped(root: &Path) -> Result<Vec<(PathBuf, &'static str)>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registry = home
        .context("neither CARGO_HOME nor HOME is set")?
        .join("registry/src");
    let mut remapped = vec![(root.to_owned(), "tracer")];
    if let Ok(registries) = std::fs::read_dir(&registry) {
        for entry in registries {
            remapped.push((entry?.path(), "registry"));
        }
    }
    Ok(remapped)
}

/// Copies what git knows of, as it stands in the work tree.
fn copy_sources(root: &Path, to: &Path) -> Result<()> {
    let mut list = Command::new("git");
    list.current_dir(root).args(["ls-files", "-z", "--cached"]);
    let output = list.output().context("can't run git")?;
    if !output.status.success() {
        bail!("git ls-files ended with {}", output.status);
    }
    for name in String::from_utf8(output.stdout)?.split_terminator('\0') {
        let target = to.join(name);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        // A file that was deleted and not yet committed is no source.
        if root.join(name).is_file() {
            std::fs::copy(root.join(name), target).with_context(|| name.to_owned())?;
        }
    }
    Ok(())
}

/// Runs the tracer's tests in a copy of the work tree that has another object.
fn live_tests(copy: &Path, root: &Path) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(copy)
        .args(["test", "--release", "--locked", "--package", "tracer"])
        .args(["--test", "live", "--test", "probes", "--test", "chains"])
        .arg("--target-dir")
        .arg(root.join("target/ebpf-check"))
        // Python is installed for the tests of the work tree itself.
        .args(["--", "--include-ignored", "--skip", "pyarrow"]);
    execute(&mut cargo)
}

/// Runs a command to its end; anything but success is an error that names it.
fn execute(command: &mut Command) -> Result<()> {
    let line = format!("{command:?}");
    let status = command
        .status()
        .with_context(|| format!("can't run {line}"))?;
    if !status.success() {
        bail!("{line} ended with {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The committed object is the one of the committed sources: if this fails,
    /// run `cargo xtask ebpf` and commit what it writes.
    #[test]
    fn the_object_is_not_stale() {
        let recorded = Record::read(&root()).unwrap();
        recorded.check_source(&root()).unwrap();
        let object = std::fs::read(root().join(OBJECT)).unwrap();
        recorded.check_object(&object).unwrap();
    }

    /// No kernel is needed to see this: a newer one would accept an object that older ones refuse.
    #[test]
    fn the_object_fits_the_stack_of_every_kernel() {
        depth::check(&std::fs::read(root().join(OBJECT)).unwrap()).unwrap();
    }

    #[test]
    fn the_object_names_no_path_of_a_machine() {
        let object = std::fs::read(root().join(OBJECT)).unwrap();
        // Not /usr/src: there Debian's own compiler was built, which is the same everywhere.
        for place in [
            "/root/",
            "/home/",
            "/tmp/",
            "/work/",
            ".cargo/",
            "registry/src/",
            "/usr/local/",
        ] {
            let found = object
                .windows(place.len())
                .position(|w| w == place.as_bytes());
            assert_eq!(found, None, "{place}");
        }
    }
}
