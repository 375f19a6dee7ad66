//! The programs of the host that virtual machines are made with.

use crate::command::{command, run};
use anyhow::{Result, bail};
use std::os::unix::fs::MetadataExt;

/// A program that must be there, and Debian's package that has it.
const TOOLS: [(&str, &str); 11] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("depmod", "kmod"),
    ("cpio", "cpio"),
    ("mke2fs", "e2fsprogs"),
    ("xz", "xz-utils"),
    ("bpftool", "bpftool"),
    ("strace", "strace"),
    ("python3", "python3"),
    ("ps", "procps"),
    ("gcc", "gcc"),
];

/// Finds them all; what is missing is installed where that is possible, else named in the error.
pub(crate) fn ensure() -> Result<()> {
    if find("apt-get").is_none() {
        bail!("the kernels come from Debian's packages, through apt-get, which is not here");
    }
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    if std::fs::metadata("/proc/self")?.uid() != 0 {
        bail!(
            "missing tools: run `apt-get install {}` as root",
            missing.join(" ")
        );
    }
    eprintln!("Installing {} …", missing.join(" "));
    run(command("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::io::stderr()))
}

fn missing() -> Vec<&'static str> {
    TOOLS
        .into_iter()
        .filter(|(tool, _)| find(tool).is_none())
        .map(|(_, package)| package)
        .collect()
}

/// Where a program lies, also where administrators' programs are not in the user's `PATH`.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}
