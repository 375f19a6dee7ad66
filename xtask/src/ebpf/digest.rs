//! A digest of everything that decides what the BPF object is, but the toolchain.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// SHA-256 of some bytes, in hexadecimal.
pub(super) fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 over the sources of `tracer-ebpf`, its manifest, and the versions of
/// the crates that it is built on.
pub(super) fn of_sources(root: &Path) -> Result<String> {
    let package = root.join("tracer-ebpf");
    let mut files = vec![package.join("Cargo.toml")];
    collect(&package.join("src"), &mut files)?;
    files.sort();
    let mut digest = Sha256::new();
    for file in files {
        let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(root)?.to_string_lossy().into_owned();
        field(&mut digest, name.as_bytes());
        field(&mut digest, &text);
    }
    let lock = std::fs::read_to_string(root.join("Cargo.lock"))?;
    for package in aya_packages(&lock) {
        field(&mut digest, package.as_bytes());
    }
    Ok(hex(&digest.finalize()))
}

/// Adds a field with its length, so that fields can't run into each other.
fn field(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Name, version and checksum of the `aya-ebpf` crates in a lock file.
fn aya_packages(lock: &str) -> Vec<String> {
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default()
            .trim_matches([' ', '=', '"'])
            .to_owned()
    };
    let mut packages: Vec<String> = lock
        .split("[[package]]")
        .filter(|package| value(package, "name").starts_with("aya-ebpf"))
        .map(|package| {
            ["name", "version", "checksum"]
                .map(|key| value(package, key))
                .join(" ")
        })
        .collect();
    packages.sort();
    packages
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_files_give_name_version_and_checksum() {
        let lock = "version = 4\n\n[[package]]\nname = \"aya\"\nversion = \"1\"\n\n\
            [[package]]\nname = \"aya-ebpf\"\nversion = \"0.2.1\"\nchecksum = \"ab\"\n";
        assert_eq!(aya_packages(lock), ["aya-ebpf 0.2.1 ab"]);
    }

    #[test]
    fn digests_are_sha256() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(of_bytes(b""), empty);
    }
}
