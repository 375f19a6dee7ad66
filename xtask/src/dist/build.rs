//! One program for every Linux on x86-64: static, and free of the paths it was built in.

use super::licences;
use crate::command::{run, succeeds};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Static, position-independent, with a C library of its own.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Where shells look for completions, below a prefix.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/tracer"),
    ("zsh", "share/zsh/site-functions/_tracer"),
    ("fish", "share/fish/vendor_completions.d/tracer.fish"),
];

/// Builds `tracer` of the tree `source` in the folder `target`.
pub(super) fn program(source: &Path, target: &Path) -> Result<PathBuf> {
    ensure_target()?;
    // All crates lie in their folders before these are named.
    run(cargo(source).args(["fetch", "--locked", "--target", TARGET]))?;
    let separator = "\x1f";
    let mut flags = vec!["-Cforce-frame-pointers=yes".to_owned()];
    flags.extend(renamed(source)?);
    let mut cargo = cargo(source);
    cargo
        .args(["build", "--release", "--locked", "--package", "tracer"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join(separator))
        .env("CC_x86_64_unknown_linux_musl", "musl-gcc")
        // Names stay, for its own stacks; lines, which are most of it, go.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    run(&mut cargo)?;
    Ok(target.join(TARGET).join("release/tracer"))
}

/// The cargo that runs us, in another tree.
pub(super) fn cargo(tree: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(tree);
    // This tree's own, as `cargo xtask` was given it.
    cargo.env_remove("CARGO_MANIFEST_DIR");
    cargo
}

/// The compiler's library for the target.
fn ensure_target() -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let ask = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let there = ask
        .is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim_end()).is_dir());
    if there || succeeds(Command::new("rustup").args(["target", "add", TARGET])) {
        return Ok(());
    }
    bail!("rustc has no library for {TARGET}: `rustup target add {TARGET}`")
}

/// Flags that give the folders of sources names that are the same everywhere: crates', whose folder
/// is named after the registry's address, and the tree's own.
fn renamed(source: &Path) -> Result<Vec<String>> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir()
            .context("no home folder")?
            .join(".cargo"),
    };
    let rename = |from: &Path, to| format!("--remap-path-prefix={}={to}", from.display());
    let mut flags = vec![rename(source, "tracer")];
    let registries = home.join("registry/src");
    let entries = fs::read_dir(&registries);
    for entry in entries.with_context(|| format!("can't read {}", registries.display()))? {
        flags.push(rename(&entry?.path(), "crates"));
    }
    Ok(flags)
}

/// Lays out, in the folder `stage`, what belongs below a prefix such as `/usr/local`.
pub(super) fn stage(source: &Path, program: &Path, stage: &Path) -> Result<()> {
    match fs::remove_dir_all(stage) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("can't replace {}", stage.display()));
        }
        _ => {}
    }
    let binary = stage.join("bin/tracer");
    write(&binary, &fs::read(program)?)?;
    fs::set_permissions(&binary, PermissionsExt::from_mode(0o755))?;
    manual(program, stage)?;
    let documents = stage.join("share/doc/tracer");
    for name in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        write(&documents.join(name), &fs::read(source.join(name))?)?;
    }
    for entry in fs::read_dir(source.join("docs"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.file_name().context("a file has a name")?;
            write(&documents.join("docs").join(name), &fs::read(&path)?)?;
        }
    }
    let notices = licences::notices(source, TARGET)?;
    write(&documents.join("THIRD-PARTY"), notices.as_bytes())
}

/// The manual's pages, and what completes command lines, below the folder `prefix`: as the program
/// itself tells them.
pub(crate) fn manual(program: &Path, prefix: &Path) -> Result<()> {
    let pages = prefix.join("share/man/man1");
    fs::create_dir_all(&pages)?;
    run(Command::new(program).arg("man-pages").arg(&pages))?;
    for (shell, path) in COMPLETIONS {
        let script = super::printed(Command::new(program).args(["completions", shell]))?;
        write(&prefix.join(path), script.as_bytes())?;
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file needs a folder")?)?;
    fs::write(path, content).with_context(|| format!("can't write {}", path.display()))
}
