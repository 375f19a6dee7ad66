//! What commands need of the system: looked for before anything else, all at once.
//!
//! What is missing is installed where there is apt and the right to; elsewhere one message names
//! it, with a line to install it for each family of distributions.

use crate::command::{command, run, succeeds};
use crate::root::Root;
use anyhow::{Result, bail};
use std::path::PathBuf;

/// Commands of ours that need something of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// `cargo xtask demo`, and whatever else fetches libtiledb.
    Demo,
    /// `cargo xtask dist`
    Dist,
    /// `cargo xtask dist --check`
    DistCheck,
    /// `cargo xtask python`
    Python,
    /// `cargo xtask test`
    Test,
    /// `cargo xtask vm`
    Vm,
}

/// How to see that something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// A program of the name is in `PATH`, or where administrators' programs are.
    Program,
    /// The program succeeds with these arguments: Ubuntu's `bpftool` can be an empty shell.
    Answers(&'static [&'static str]),
    /// Python has these modules.
    Modules(&'static str),
    /// The C compiler links with a file of the name.
    Library,
}

/// Something that commands need.
#[derive(Debug)]
struct Need {
    name: &'static str,
    proof: Proof,
    by: &'static [For],
    /// The packages that have it, of Debian, Fedora and Arch.
    packages: [&'static str; 3],
}

const fn need(
    name: &'static str,
    proof: Proof,
    by: &'static [For],
    packages: [&'static str; 3],
) -> Need {
    Need {
        name,
        proof,
        by,
        packages,
    }
}

use For::{Demo, Dist, DistCheck, Python, Test, Vm};
use Proof::{Answers, Library, Modules, Program};

/// The distributions of [`Need::packages`], each with its line but for the packages.
const DISTRIBUTIONS: [(&str, &str); 3] = [
    ("Debian, Ubuntu", "apt-get install"),
    ("Fedora", "dnf install"),
    ("Arch", "pacman -S"),
];

/// All that the commands need beside Rust.
static NEEDS: [Need; 24] = [
    need(
        "cc",
        Program,
        &[Demo, Dist, Test, Vm],
        ["gcc libc6-dev", "gcc", "gcc"],
    ),
    need("c++", Program, &[Test, Vm], ["g++", "gcc-c++", "gcc"]),
    need(
        "libc.a",
        Library,
        &[Test, Vm],
        ["libc6-dev", "glibc-static", "glibc"],
    ),
    need(
        "musl-gcc",
        Program,
        &[Dist, Test, Vm],
        ["musl-tools", "musl-gcc musl-libc-static", "musl"],
    ),
    need(
        "strip",
        Program,
        &[Test, Vm],
        ["binutils", "binutils", "binutils"],
    ),
    need(
        "python3",
        Program,
        &[Demo, Python, Test, Vm],
        ["python3", "python3", "python"],
    ),
    need(
        "pip of python3",
        Modules("pip"),
        &[Demo, Python, Test],
        ["python3-pip", "python3-pip", "python-pip"],
    ),
    need(
        "venv of python3",
        Modules("venv, ensurepip"),
        &[Python, Test],
        ["python3-venv", "python3", "python"],
    ),
    need("debootstrap", Program, &[DistCheck], ["debootstrap"; 3]),
    need("curl", Program, &[Test], ["curl"; 3]),
    need("bash", Program, &[Test], ["bash"; 3]),
    need("sudo", Program, &[Test], ["sudo"; 3]),
    need("strace", Program, &[Test, Vm], ["strace"; 3]),
    need(
        "bpftool",
        Answers(&["version"]),
        &[Test, Vm],
        ["bpftool", "bpftool", "bpf"],
    ),
    need(
        "setpriv",
        Program,
        &[Test, Vm],
        ["util-linux", "util-linux", "util-linux"],
    ),
    need(
        "mount",
        Program,
        &[Test, Vm],
        ["mount", "util-linux", "util-linux"],
    ),
    need("ps", Program, &[Vm], ["procps", "procps-ng", "procps-ng"]),
    need(
        "setcap",
        Program,
        &[Vm],
        ["libcap2-bin", "libcap", "libcap"],
    ),
    need(
        "qemu-system-x86_64",
        Program,
        &[Vm],
        ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86"],
    ),
    need(
        "busybox",
        Program,
        &[Vm],
        ["busybox-static", "busybox", "busybox"],
    ),
    need("depmod", Program, &[Vm], ["kmod"; 3]),
    need("cpio", Program, &[Vm], ["cpio"; 3]),
    need("mke2fs", Program, &[Vm], ["e2fsprogs"; 3]),
    need("xz", Program, &[Vm], ["xz-utils", "xz", "xz"]),
];

/// Sees to it that all is there that `commands` need.
pub(crate) fn ensure(commands: &[For]) -> Result<()> {
    let lacking = lacking(commands, Need::is_met);
    if lacking.is_empty() {
        return Ok(());
    }
    if let (Some(_), Some(root)) = (find("apt-get"), Root::silent()) {
        install(root, &packages(&lacking, 0))?;
        // A Python of one's own, for example, gets no modules from Debian's packages.
        let still = lacking.into_iter().filter(|need| !need.is_met());
        let still: Vec<_> = still.collect();
        if still.is_empty() {
            return Ok(());
        }
        bail!("after the installation {}", message(&still));
    }
    bail!("{}", message(&lacking))
}

/// Installs packages of Debian.
pub(crate) fn install(root: Root, packages: &[&str]) -> Result<()> {
    eprintln!("Installing {} …", packages.join(" "));
    let quiet = [("DEBIAN_FRONTEND", "noninteractive".to_owned())];
    let apt = || {
        let mut apt = root.command("apt-get", &quiet);
        apt.stdout(std::io::stderr());
        apt
    };
    // A fresh machine has no list of packages. Where one of several sources can't be reached, the
    // packages may still be had from the others.
    if let Err(error) = run(apt().args(["update", "-qq"])) {
        eprintln!("{error:#}");
    }
    run(apt()
        .args([
            "install",
            "-y",
            "-qq",
            "-oDpkg::Use-Pty=0",
            "--no-install-recommends",
        ])
        .args(packages))
}

/// What `commands` need and `is_met` denies.
fn lacking(commands: &[For], is_met: impl Fn(&Need) -> bool) -> Vec<&'static Need> {
    let wanted = NEEDS
        .iter()
        .filter(|need| need.by.iter().any(|by| commands.contains(by)));
    wanted.filter(|need| !is_met(need)).collect()
}

/// Their packages in a distribution, each once.
fn packages(needs: &[&Need], distribution: usize) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for package in needs
        .iter()
        .flat_map(|need| need.packages[distribution].split(' '))
    {
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    packages
}

/// What is missing, and how to install it.
fn message(needs: &[&Need]) -> String {
    let names: Vec<_> = needs.iter().map(|need| need.name).collect();
    let mut message = format!(
        "not found: {}. To install what is missing:",
        names.join(", ")
    );
    for (number, (distribution, install)) in DISTRIBUTIONS.iter().enumerate() {
        let packages = packages(needs, number).join(" ");
        message += &format!("\n  {distribution:15} sudo {install} {packages}");
    }
    if names.contains(&"bpftool") {
        message += "\n(Ubuntu before 25.04 has bpftool in linux-tools-generic.)";
    }
    message
}

impl Need {
    fn is_met(&self) -> bool {
        match self.proof {
            Program => find(self.name).is_some(),
            Answers(arguments) => {
                find(self.name).is_some_and(|file| succeeds(command(file).args(arguments)))
            }
            Modules(modules) => {
                succeeds(command("python3").args(["-c", &format!("import {modules}")]))
            }
            // The compiler answers with a path if it finds the file, else with the bare name.
            Library => command("cc")
                .arg(format!("-print-file-name={}", self.name))
                .output()
                .is_ok_and(|said| said.stdout.starts_with(b"/")),
        }
    }
}

/// Where a program lies, also where administrators' programs are not in the user's `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests;
