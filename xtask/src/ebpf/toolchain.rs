//! Finds, or installs, what compiles Rust to BPF. There are two ways: Debian's
//! packages, whose rustc has a `core` for the BPF target; and a rustup nightly
//! with the component rust-src, which builds `core` itself.

use super::{TARGET, execute};
use crate::packages;
use crate::root::Root;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian's rustc with a `core` for BPF, and the LLVM that it is built on.
const PACKAGES: [&str; 3] = ["rustc-web", "libstd-rust-web-dev-bpf", "llvm-22-dev"];
/// Where Debian's rustc lies, whatever comes first in `PATH`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// Where the LLVM lies that bpf-linker is built on.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
/// The linker's version: with another one the object would differ.
const LINKER_VERSION: &str = "0.13.0";

/// A way to compile Rust to BPF.
pub(super) struct Toolchain {
    way: Way,
    linker: PathBuf,
    objcopy: PathBuf,
    /// As `rustc --version` says it.
    pub(super) rustc_version: String,
    /// rustc's LLVM.
    pub(super) llvm_version: String,
    /// bpf-linker's.
    pub(super) linker_version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Debian,
    Nightly,
}

impl Toolchain {
    /// Finds a toolchain; installs Debian's packages where they are to be had
    /// and we are root, and bpf-linker into `target/`.
    pub(super) fn find(root: &Path) -> Result<Self> {
        let way = find_way()?;
        let linker = find_linker(root)?;
        let verbose = output(way.rustc().arg("-vV"))?;
        let rustc_version = verbose.lines().next().unwrap_or_default().to_owned();
        let llvm_version = verbose
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: "));
        Ok(Self {
            llvm_version: llvm_version
                .context("rustc names no LLVM version")?
                .to_owned(),
            rustc_version,
            linker_version: linker_version(&linker).context("bpf-linker tells no version")?,
            linker,
            objcopy: find_objcopy(way)?,
            way,
        })
    }

    /// The cargo that compiles with it, but for what to compile.
    pub(super) fn cargo(&self) -> Command {
        match self.way {
            Way::Debian => {
                let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
                let mut cargo = Command::new(cargo);
                // Inline assembly for BPF is unstable; nothing else is used.
                cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
            Way::Nightly => {
                let mut cargo = Command::new("rustup");
                cargo.args(["run", "nightly", "cargo", "-Zbuild-std=core"]);
                cargo.env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
                cargo
            }
        }
    }

    /// bpf-linker.
    pub(super) fn linker(&self) -> &Path {
        &self.linker
    }

    /// An objcopy that knows BPF.
    pub(super) fn objcopy(&self) -> &Path {
        &self.objcopy
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.way {
            Way::Debian => "Debian's packages",
            Way::Nightly => "rustup's nightly and its rust-src",
        };
        write!(
            f,
            "{origin}: {}, LLVM {}, bpf-linker {}",
            self.rustc_version, self.llvm_version, self.linker_version
        )
    }
}

impl Way {
    fn rustc(self) -> Command {
        match self {
            Self::Debian => Command::new(DEBIAN_RUSTC),
            Self::Nightly => {
                let mut rustc = Command::new("rustup");
                rustc.args(["run", "nightly", "rustc"]);
                rustc
            }
        }
    }

    /// Whether it is there, and whole.
    fn works(self) -> bool {
        match self {
            Self::Debian => {
                let libraries =
                    output(
                        self.rustc()
                            .args(["--print", "target-libdir", "--target", TARGET]),
                    );
                libraries.is_ok_and(|path| has_core(Path::new(path.trim())))
                    && linker_llvm().is_file()
            }
            Self::Nightly => {
                let sysroot = output(self.rustc().args(["--print", "sysroot"]));
                let core = "lib/rustlib/src/rust/library/core/Cargo.toml";
                sysroot.is_ok_and(|path| Path::new(path.trim()).join(core).is_file())
            }
        }
    }
}

fn linker_llvm() -> PathBuf {
    Path::new(LLVM_PREFIX).join("bin/llvm-config")
}

fn has_core(libraries: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(libraries) else {
        return false;
    };
    entries
        .filter_map(Result::ok)
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

fn find_way() -> Result<Way> {
    for way in [Way::Debian, Way::Nightly] {
        if way.works() {
            return Ok(way);
        }
    }
    install_packages()?;
    if !Way::Debian.works() {
        bail!(
            "{} were installed, and give no rustc for {TARGET}",
            PACKAGES.join(", ")
        );
    }
    Ok(Way::Debian)
}

fn install_packages() -> Result<()> {
    let packages = PACKAGES.join(" ");
    let help = format!(
        "nothing here compiles Rust to BPF. On Debian 12:\n    \
         sudo apt-get install {packages}\n\
         Elsewhere:\n    rustup toolchain install nightly --component rust-src"
    );
    let known = output(
        Command::new("apt-cache")
            .args(["show", "--no-all-versions"])
            .args(PACKAGES),
    );
    let root = Root::silent().filter(|_| known.is_ok());
    let Some(root) = root else { bail!("{help}") };
    eprintln!("nothing here compiles Rust to BPF");
    packages::install(root, &PACKAGES).context(help)
}

/// bpf-linker of the right version, in `target/`, built there if need be.
fn find_linker(root: &Path) -> Result<PathBuf> {
    let place = root.join("target/bpf-linker");
    let linker = place.join("bin/bpf-linker");
    if linker_version(&linker).as_deref() == Some(LINKER_VERSION) {
        return Ok(linker);
    }
    eprintln!(
        "building bpf-linker {LINKER_VERSION} into {}",
        place.display()
    );
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "install",
            "bpf-linker",
            "--version",
            LINKER_VERSION,
            "--locked",
            "--quiet",
        ])
        .args(["--no-default-features", "--features", "llvm-22", "--root"])
        .arg(&place)
        .env("LLVM_PREFIX", LLVM_PREFIX);
    execute(&mut cargo).with_context(|| {
        format!(
            "bpf-linker needs LLVM 22's development files in {LLVM_PREFIX} (Debian: llvm-22-dev)"
        )
    })?;
    Ok(linker)
}

/// `bpf-linker 0.13.0` → `0.13.0`
fn linker_version(linker: &Path) -> Option<String> {
    let text = output(Command::new(linker).arg("--version")).ok()?;
    let word = text.split_whitespace().nth(1)?;
    Some(word.to_owned())
}

/// LLVM's, which comes with Debian's packages, or rustup's own.
fn find_objcopy(way: Way) -> Result<PathBuf> {
    let llvm = Path::new(LLVM_PREFIX).join("bin/llvm-objcopy");
    if llvm.is_file() {
        return Ok(llvm);
    }
    let host = output(way.rustc().arg("-vV"))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let sysroot = output(way.rustc().args(["--print", "sysroot"]))?;
    let own = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(host.unwrap_or_default())
        .join("bin/rust-objcopy");
    if !own.is_file() {
        bail!("neither {} nor {} is there", llvm.display(), own.display());
    }
    Ok(own)
}

/// What a command prints; an error where it can't be run or fails.
fn output(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("can't run {line}"))?;
    if !output.status.success() {
        bail!("{line} ended with {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
