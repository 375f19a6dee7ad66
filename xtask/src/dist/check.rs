//! Whether what was made is the same from elsewhere, and runs where it was not made.

use super::{Made, digest, printed, source_time, tarball};
use crate::command::{command, line, root, run};
use crate::root::Root;
use crate::{census, libtiledb};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A release of Debian that is older than all whose kernels load the programs.
const OLDER: &str = "bullseye";
/// A program that knows what it does.
const KNOWN: &str = include_str!("known.c");
/// What the tracer says of it: the row of its largest location, and parts of the line for machines.
/// (The dynamic linker allocates too.)
const ROW: [&str; 8] = ["1", "MiB", "977", "KiB", "100", "%", "1,001", "main"];
const RESULT: [&str; 2] = ["tracer: result: exit=7 ", " complete=true"];
/// Runs the rest of its words in the root that is its first.
const WITHIN: &str = "mount --rbind /proc \"$1/proc\" && mount --rbind /sys \"$1/sys\" || exit 99
exec chroot \"$@\"";

/// Builds once more, of a copy of the tree in another folder, and compares bit for bit.
pub(super) fn same_from_elsewhere(first: &Path) -> Result<()> {
    let elsewhere = tempfile::tempdir()?;
    let tree = elsewhere.path().join("a/tree");
    copy_tree(&tree)?;
    let dist = elsewhere.path().join("dist");
    fs::create_dir(&dist)?;
    let time = source_time(&root())?;
    let second = tarball(&tree, &elsewhere.path().join("target"), &dist, time)?;
    if digest(first)? != digest(&second)? {
        let kept = elsewhere.keep();
        anyhow::bail!(
            "{} is another tarball than {}: compare what they hold",
            kept.join("dist").display(),
            first.display()
        );
    }
    println!("the same tarball from another folder");
    Ok(())
}

/// Copies what is committed, or would be.
fn copy_tree(to: &Path) -> Result<()> {
    let files = printed(command("git").args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    for file in files.split_terminator('\0') {
        let (from, to) = (root().join(file), to.join(file));
        fs::create_dir_all(to.parent().context("a file needs a folder")?)?;
        fs::copy(&from, &to).with_context(|| format!("can't copy {file}"))?;
    }
    Ok(())
}

/// Runs the unpacked tarball here, in a system of another C library, and in an older one, where the
/// package is installed too.
pub(super) fn runs_everywhere(made: &Made) -> Result<()> {
    let become_root = Root::find()?;
    let folder = tempfile::tempdir()?;
    let here = unpack(&made.tarball, folder.path())?;
    let source = folder.path().join("known.c");
    fs::write(&source, KNOWN)?;
    let known = folder.path().join("known");
    run(Command::new("cc")
        .args(["-O1", "-o"])
        .args([&known, &source]))?;
    let mut tracer = become_root.command(&here.join("bin/tracer").to_string_lossy(), &[]);
    tells(
        tracer
            .args(["-o"])
            .arg(folder.path().join("out"))
            .arg("--")
            .arg(&known),
    )?;
    main_job(become_root, &here, folder.path())?;
    in_musl(become_root, made, folder.path())?;
    in_older(become_root, made, folder.path())
}

/// Unpacks the tarball below a folder; the result is the folder within.
fn unpack(tarball: &Path, below: &Path) -> Result<PathBuf> {
    let file = fs::File::open(tarball)?;
    tar::Archive::new(flate2::read::GzDecoder::new(file)).unpack(below)?;
    Ok(below.join(inner(tarball)?))
}

/// Runs a tracer of [`KNOWN`], and compares what it says.
fn tells(tracer: &mut Command) -> Result<()> {
    let output = tracer
        .output()
        .with_context(|| format!("can't run {}", line(tracer)))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let is_row = |line: &str| {
        let mut words = line.split_whitespace();
        ROW.iter().all(|&word| words.next() == Some(word))
    };
    let is_result = |line: &str| RESULT.iter().all(|part| line.contains(part));
    let right =
        output.status.code() == Some(7) && said.lines().any(is_row) && said.lines().any(is_result);
    ensure!(
        right,
        "{} ended with {} and said:\n{said}",
        line(tracer),
        output.status
    );
    println!("right: {}", line(tracer));
    Ok(())
}

/// The main job, by the unpacked program.
fn main_job(become_root: Root, unpacked: &Path, folder: &Path) -> Result<()> {
    crate::command::build(&["workload"])?;
    libtiledb::ensure()?;
    census::ensure_default()?;
    let mut tracer = become_root.command(&unpacked.join("bin/tracer").to_string_lossy(), &[]);
    tracer.arg("-o").arg(folder.join("ureter")).arg("--");
    tracer.arg(libtiledb::release("workload")?);
    let output = tracer.args(["-t", "ureter"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let right = said.contains("workload::reserved::Reserved::reserve")
        && said.contains("tracer: result: exit=0 ")
        && said.contains(" complete=true");
    ensure!(right, "{} said:\n{said}", line(&tracer));
    println!("right: {}", line(&tracer));
    Ok(())
}

/// A root with musl and nothing else.
fn in_musl(become_root: Root, made: &Made, folder: &Path) -> Result<()> {
    let musl = folder.join("musl");
    for name in ["lib", "proc", "sys", "tmp"] {
        fs::create_dir_all(musl.join(name))?;
    }
    let loader = "lib/ld-musl-x86_64.so.1";
    fs::copy(Path::new("/").join(loader), musl.join(loader))?;
    let [known, source] = ["musl/known", "known.c"].map(|name| folder.join(name));
    run(Command::new("musl-gcc")
        .args(["-O1", "-o"])
        .args([&known, &source]))?;
    unpack(&made.tarball, &musl)?;
    let tracer = format!("/{}/bin/tracer", inner(&made.tarball)?);
    tells(within(become_root, &musl).args([&tracer, "-o", "/out", "--", "/known"]))
}

/// A system that is older than any that has a kernel for it, with its own compiler and the package.
fn in_older(become_root: Root, made: &Made, folder: &Path) -> Result<()> {
    let older = folder.join(OLDER);
    let mut bootstrap = become_root.command("debootstrap", &[]);
    bootstrap.args(["--variant=minbase", "--include=gcc,libc6-dev", OLDER]);
    run(bootstrap
        .arg(&older)
        .arg(mirror()?)
        .stdout(std::process::Stdio::null()))?;
    // The folder is root's.
    let mut copy = become_root.command("cp", &[]);
    run(copy
        .arg(&made.package)
        .arg(folder.join("known.c"))
        .arg(older.join("tmp")))?;
    let package = made.package.file_name().context("a file has a name")?;
    let package = Path::new("/tmp").join(package);
    run(within(become_root, &older)
        .args(["dpkg", "--install"])
        .arg(package))?;
    run(within(become_root, &older).args(["gcc", "-O1", "-o", "/tmp/known", "/tmp/known.c"]))?;
    tells(within(become_root, &older).args(["tracer", "-o", "/tmp/out", "--", "/tmp/known"]))?;
    run(become_root.command("rm", &[]).arg("-rf").arg(&older))
}

/// Where this system has its packages from.
fn mirror() -> Result<String> {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(REPO_URI)"]);
    let told = printed(apt.args(["Created-By: Packages", "Origin: Debian"]))?;
    let first = told
        .lines()
        .next()
        .context("apt has packages of Debian nowhere")?;
    Ok(first.to_owned())
}

/// A command within another root, that has this one's `/proc` and `/sys` while it runs.
fn within(become_root: Root, other: &Path) -> Command {
    let mut command = become_root.command("unshare", &[]);
    command
        .args(["--mount", "sh", "-c", WITHIN, "sh"])
        .arg(other);
    command
}

/// The name of the folder in a tarball.
fn inner(tarball: &Path) -> Result<String> {
    let name = tarball.file_name().context("a file has a name")?;
    Ok(name
        .to_string_lossy()
        .trim_end_matches(".tar.gz")
        .to_owned())
}
