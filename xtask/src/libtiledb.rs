//! Fetches libtiledb: the PyPI wheel `tiledb` carries it, by version and hash.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The release of the wheel; it carries libtiledb 2.30 (MIT licence).
const VERSION: &str = "0.36.1";
/// The wheel's SHA-256. Of the wheels of this release the one for CPython 3.11 is taken, whatever
/// Python runs here: only the shared library inside is used.
const SHA256: &str = "28031477d62b74ded0123559f02f784913bb440bc4d739c0d2de8334a372015b";
/// The wheel's tags.
const TAGS: [&str; 8] = [
    "--python-version",
    "3.11",
    "--implementation",
    "cp",
    "--abi",
    "cp311",
    "--platform",
    "manylinux_2_28_x86_64",
];

/// Prints where libtiledb is, fetched if need be.
pub(crate) fn run() -> Result<()> {
    println!("{}", ensure()?.display());
    Ok(())
}

/// The library, fetched through pip into `target/libtiledb/` the first time.
pub(crate) fn ensure() -> Result<PathBuf> {
    let directory = target_directory()?.join("libtiledb");
    if let Some(library) = library_in(&directory) {
        return Ok(library);
    }
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the wheel known here is for x86_64; set TILEDB_LIB"
    );
    eprintln!("Fetching libtiledb: PyPI's tiledb {VERSION}, through pip …");
    let parent = directory.parent().context("target/ has no parent")?;
    let work = tempfile::Builder::new()
        .prefix("libtiledb-")
        .tempdir_in(parent)?;
    download(work.path())?;
    let unpacked = work.path().join("unpacked");
    unpack(work.path(), &unpacked)?;
    let library = library_in(&unpacked.join("tiledb.libs")).context("no libtiledb in the wheel")?;
    let staged = work.path().join("libtiledb");
    fs::create_dir(&staged)?;
    fs::rename(
        &library,
        staged.join(library.file_name().context("a library without a name")?),
    )?;
    // Somebody else may have been faster; theirs is as good.
    let renamed = fs::rename(&staged, &directory);
    match library_in(&directory) {
        Some(library) => Ok(library),
        None => bail!("{}: {:?}", directory.display(), renamed.err()),
    }
}

/// The cargo target directory that this program was built into.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let mut targets = workload::beside::target_directories().into_iter();
    targets
        .next()
        .context("cargo xtask must run from cargo's target directory")
}

fn download(into: &Path) -> Result<()> {
    let requirements = into.join("requirements.txt");
    fs::write(
        &requirements,
        format!("tiledb=={VERSION} --hash=sha256:{SHA256}\n"),
    )?;
    let output = Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ])
        .args(["--only-binary", ":all:", "--require-hashes"])
        .args(TAGS)
        .arg("--requirement")
        .arg(&requirements)
        .arg("--dest")
        .arg(into)
        .output()
        .context("python3 doesn't start; libtiledb is fetched through its pip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "pip could not fetch tiledb {VERSION} (without pip: apt-get install python3-pip; without \
         a network: set TILEDB_LIB to a libtiledb of your own):\n{}",
        said.trim()
    );
    Ok(())
}

fn unpack(directory: &Path, into: &Path) -> Result<()> {
    let wheel = fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip left no wheel")?;
    let status = Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .arg(wheel)
        .arg(into)
        .status()?;
    ensure!(status.success(), "the wheel could not be unpacked");
    Ok(())
}

fn library_in(directory: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    entries.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libtiledb") && name.contains(".so")
    })
}
