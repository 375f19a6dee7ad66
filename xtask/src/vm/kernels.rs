//! Debian's kernels: found by apt, fetched and unpacked, never installed.

use crate::command::{command, run};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// What the guest needs before it has a disk, and a port to talk through.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "virtio_console", "overlay"];

/// A kernel, unpacked.
#[derive(Clone)]
pub(crate) struct Kernel {
    /// As users name it: `6.1`, `6.12-rt`.
    pub(crate) name: String,
    /// The package and its version.
    pub(crate) package: String,
    /// What to boot.
    pub(crate) image: PathBuf,
    /// The modules to load at the start, dependencies first.
    pub(crate) modules: Vec<PathBuf>,
}

/// The kernel of that name: the newest that apt knows, fetched into `directory` the first time.
pub(crate) fn ensure(name: &str, directory: &Path) -> Result<Kernel> {
    let package = newest(name)?;
    let version = version(&package)?;
    let unpacked = directory.join(format!("{package}_{version}"));
    let release = package
        .strip_prefix("linux-image-")
        .context("the package of a kernel names its release")?;
    if !unpacked.is_dir() {
        eprintln!("Fetching {package} {version} …");
        fetch(&package, directory, &unpacked)?;
    }
    Ok(Kernel {
        name: name.to_owned(),
        package: format!("{package} {version}"),
        image: unpacked.join(format!("boot/vmlinuz-{release}")),
        modules: modules(&unpacked, release)?,
    })
}

/// The newest package of a kernel by its short name: a series, and a flavour after a dash
/// (`cloud` where none is said, `rt`, or `generic` for the one with every driver).
fn newest(name: &str) -> Result<String> {
    let (series, flavour) = name.split_once('-').unwrap_or((name, "cloud"));
    let suffix = match flavour {
        "cloud" | "rt" => format!("-{flavour}-amd64"),
        "generic" => "-amd64".to_owned(),
        _ => bail!("no kernel `{name}`: names are like 6.1, 6.12, 6.1-rt, 6.12-generic"),
    };
    let listed = command("apt-cache")
        .args(["search", "--names-only", "^linux-image-[0-9]"])
        .output();
    let listed = listed.context("Debian's kernels are found by apt-cache, which doesn't start")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    listed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter_map(|package| Some((build_number(package, series, &suffix)?, package)))
        .max()
        .map(|(_, package)| package.to_owned())
        .with_context(|| {
            format!(
                "apt knows no linux-image-{series}…{suffix}: run `apt-get update`, on Debian 12"
            )
        })
}

/// The number that tells builds of a series apart, if the package is one of them:
/// 56 of `linux-image-6.1.0-56-cloud-amd64`, 117 of `linux-image-6.12.117+deb12-cloud-amd64`.
fn build_number(package: &str, series: &str, suffix: &str) -> Option<u32> {
    let release = package
        .strip_prefix("linux-image-")?
        .strip_suffix(suffix)?
        .strip_prefix(series)?
        .strip_prefix('.')?;
    let release = release.strip_prefix("0-").unwrap_or(release);
    release.split('+').next()?.parse().ok()
}

/// The version of a package that apt would fetch.
fn version(package: &str) -> Result<String> {
    let shown = command("apt-cache").args(["policy", package]).output()?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let candidate = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "));
    let candidate = candidate.filter(|version| *version != "(none)");
    candidate
        .map(str::to_owned)
        .with_context(|| format!("apt has no candidate for {package}"))
}

fn fetch(package: &str, directory: &Path, unpacked: &Path) -> Result<()> {
    let temporary = tempfile::tempdir_in(directory)?;
    run(command("apt-get")
        .args(["download", "-qq", package])
        // Without a terminal apt says in a warning that it works as root.
        .args(["-o", "APT::Sandbox::User=root"])
        .current_dir(temporary.path()))?;
    let archive = fs::read_dir(temporary.path())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get download {package} left no package"))?;
    let fresh = temporary.path().join("fresh");
    run(command("dpkg-deb").arg("-x").args([&archive, &fresh]))?;
    fs::rename(&fresh, unpacked)?;
    Ok(())
}

/// The files of the modules that the guest loads at its start, in an order in which they load.
fn modules(unpacked: &Path, release: &str) -> Result<Vec<PathBuf>> {
    let directory = unpacked.join("lib/modules").join(release);
    let index = directory.join("modules.dep");
    if !index.is_file() {
        run(command("depmod")
            .arg("-b")
            .args([unpacked.as_os_str(), release.as_ref()]))?;
    }
    let index = fs::read_to_string(&index)?;
    let mut found: Vec<PathBuf> = Vec::new();
    for wanted in MODULES {
        let line = index.lines().find(|line| module_name(line) == wanted);
        // What is built into the kernel is in no file.
        let Some((module, needed)) = line.and_then(|line| line.split_once(':')) else {
            continue;
        };
        // depmod lists what is needed in the order of unloading.
        let needed = needed.split_whitespace().rev();
        for file in needed.chain([module]) {
            let file = uncompressed(&directory.join(file))?;
            if !found.contains(&file) {
                found.push(file);
            }
        }
    }
    ensure!(
        !found.is_empty(),
        "no virtio modules in {}",
        directory.display()
    );
    Ok(found)
}

/// The name of the module that a line of `modules.dep` is of.
fn module_name(line: &str) -> &str {
    let file = line.split(':').next().unwrap_or(line);
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name)
}

/// A module as every insmod reads it: newer packages compress theirs.
fn uncompressed(module: &Path) -> Result<PathBuf> {
    if module.extension().is_none_or(|extension| extension != "xz") {
        return Ok(module.to_owned());
    }
    let plain = module.with_extension("");
    if !plain.is_file() {
        run(command("xz").args(["--decompress", "--keep"]).arg(module))?;
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::{build_number, module_name};

    #[test]
    fn builds_of_a_series_are_told_apart() {
        let number = |package, series, suffix| build_number(package, series, suffix);
        let cloud = "-cloud-amd64";
        assert_eq!(
            number("linux-image-6.1.0-56-cloud-amd64", "6.1", cloud),
            Some(56)
        );
        assert_eq!(
            number("linux-image-6.12.117+deb12-cloud-amd64", "6.12", cloud),
            Some(117)
        );
        assert_eq!(
            number("linux-image-6.12.117+deb12-rt-amd64", "6.12", "-rt-amd64"),
            Some(117)
        );
        assert_eq!(
            number("linux-image-6.1.0-56-amd64", "6.1", "-amd64"),
            Some(56)
        );
        for other in [
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64-unsigned",
            "linux-image-6.1.0-56-cloud-amd64-dbg",
            "linux-image-6.1.0-56-rt-amd64",
        ] {
            assert_eq!(number(other, "6.1", cloud), None, "{other}");
        }
        assert_eq!(
            number("linux-image-6.1.0-56-cloud-amd64", "6.1", "-amd64"),
            None
        );
    }

    #[test]
    fn modules_have_names() {
        assert_eq!(
            module_name("kernel/drivers/block/virtio_blk.ko.xz: a b"),
            "virtio_blk"
        );
    }
}
