//! Fetches libtiledb: the PyPI wheel `tiledb` carries it, by version and hash.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::packages::{self, For};

/// A wheel that carries libtiledb (MIT licence). Of the wheels of a release the one for CPython
/// 3.11 is taken, whatever Python runs here: only the shared library inside is used.
struct Wheel {
    /// The version of libtiledb.
    libtiledb: &'static str,
    /// The version of the PyPI project `tiledb`.
    version: &'static str,
    sha256: &'static str,
    platform: &'static str,
}

const OLD: &str = "manylinux2014_x86_64";
const NEW: &str = "manylinux_2_28_x86_64";

/// The newest release, and the one that is used.
const NEWEST: Wheel = Wheel {
    libtiledb: "2.30",
    version: "0.36.1",
    sha256: "28031477d62b74ded0123559f02f784913bb440bc4d739c0d2de8334a372015b",
    platform: NEW,
};

/// Older ones, which the workload must work with as well.
const OLDER: [Wheel; 5] = [
    Wheel {
        libtiledb: "2.25",
        version: "0.31.1",
        sha256: "4dbf5429d6c2dba29de3844c8096c92f14e961c39305b2a854f13b2ed926e57c",
        platform: OLD,
    },
    Wheel {
        libtiledb: "2.26",
        version: "0.32.5",
        sha256: "0387dab032ea14bd6bf0c3187d23e9c6a1a5382c12ff9beb8ade97afd4275971",
        platform: OLD,
    },
    Wheel {
        libtiledb: "2.27",
        version: "0.33.6",
        sha256: "10ef71b005b06d54fe5f3ac38b29684d7fe09ba03c40bc176ea6f6823a542990",
        platform: OLD,
    },
    Wheel {
        libtiledb: "2.28",
        version: "0.34.2",
        sha256: "ee75f808f504d3b06bd8b7c9bf400beb5d958897f30906afc0ef44620469cec0",
        platform: NEW,
    },
    Wheel {
        libtiledb: "2.29",
        version: "0.35.2",
        sha256: "db66439fa5f2582d242f86a08b786d880d4a2bce27b3128065094cf9488f9cb0",
        platform: NEW,
    },
];

/// What to fetch.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fetch the older releases as well, 2.25 to 2.29, which a test of the workload needs
    #[arg(long)]
    all: bool,
}

/// Fetches, and prints where libtiledb is.
pub(crate) fn run(args: &Args) -> Result<()> {
    packages::ensure(&[For::Demo])?;
    println!("{}", ensure()?.display());
    if args.all {
        for path in ensure_older()? {
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// The library, fetched through pip into `target/libtiledb/` the first time.
pub(crate) fn ensure() -> Result<PathBuf> {
    fetch(&NEWEST, &target_directory()?.join("libtiledb"))
}

/// The older libraries, fetched into `target/libtiledb-2.25/` and so on the first time.
pub(crate) fn ensure_older() -> Result<Vec<PathBuf>> {
    let target = target_directory()?;
    OLDER
        .iter()
        .map(|wheel| {
            fetch(
                wheel,
                &target.join(format!("libtiledb-{}", wheel.libtiledb)),
            )
        })
        .collect()
}

/// The library in `directory`, put there if it isn't yet.
fn fetch(wheel: &Wheel, directory: &Path) -> Result<PathBuf> {
    if let Some(library) = library_in(directory) {
        return Ok(library);
    }
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the wheels known here are for x86_64; set TILEDB_LIB"
    );
    eprintln!(
        "Fetching libtiledb {}: PyPI's tiledb {}, through pip …",
        wheel.libtiledb, wheel.version
    );
    let parent = directory.parent().context("target/ has no parent")?;
    let work = tempfile::Builder::new()
        .prefix("libtiledb-")
        .tempdir_in(parent)?;
    download(wheel, work.path())?;
    let unpacked = work.path().join("unpacked");
    unpack(work.path(), &unpacked)?;
    let library = ["tiledb.libs", "tiledb"]
        .iter()
        .find_map(|place| library_in(&unpacked.join(place)));
    let library = library.context("no libtiledb in the wheel")?;
    let staged = work.path().join("libtiledb");
    fs::create_dir(&staged)?;
    fs::rename(
        &library,
        staged.join(library.file_name().context("a library without a name")?),
    )?;
    // Somebody else may have been faster; theirs is as good.
    let renamed = fs::rename(&staged, directory);
    match library_in(directory) {
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

/// Where cargo puts a program of the workspace that it builds for release.
pub(crate) fn release(program: &str) -> Result<PathBuf> {
    Ok(target_directory()?.join("release").join(program))
}

fn download(wheel: &Wheel, into: &Path) -> Result<()> {
    let Wheel {
        version,
        sha256,
        platform,
        ..
    } = wheel;
    let requirements = into.join("requirements.txt");
    fs::write(
        &requirements,
        format!("tiledb=={version} --hash=sha256:{sha256}\n"),
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
        .args([
            "--only-binary",
            ":all:",
            "--require-hashes",
            "--python-version",
            "3.11",
        ])
        .args([
            "--implementation",
            "cp",
            "--abi",
            "cp311",
            "--platform",
            platform,
        ])
        .arg("--requirement")
        .arg(&requirements)
        .arg("--dest")
        .arg(into)
        .output()
        .context("python3 doesn't start; libtiledb is fetched through its pip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "pip could not fetch tiledb {version} (without a network: \
         set TILEDB_LIB to a libtiledb of your own):\n{}",
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

/// `libtiledb.so.2.25` or `libtiledb-edd2b82f.so.2.30`; not Python's own `libtiledb.cpython-….so`.
fn library_in(directory: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    entries.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix("libtiledb").is_some_and(|rest| {
            rest.starts_with(".so") || rest.starts_with('-') && rest.contains(".so")
        })
    })
}
