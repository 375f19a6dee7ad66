//! The guest's disk: the files of this machine that the tests need, at the same paths.

use crate::command::{command, run};
use crate::packages;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// Debian's packages of which the guest gets the programs.
const PACKAGES: [&str; 17] = [
    "bash",
    "bpftool",
    "bsdutils",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "kmod",
    "libc-bin",
    "libcap2-bin",
    "mount",
    "procps",
    "sed",
    "strace",
    "util-linux",
    "util-linux-extra",
];
/// Libraries that nothing links and something opens.
const OPENED: [&str; 4] = ["libgcc_s.so.1", "libm.so.6", "libz.so.1", "libstdc++.so.6"];
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";
/// Room beside the files, for what tests write.
const FREE_MIB: u64 = 1536;

/// A tree that becomes a disk.
pub(crate) struct Tree {
    root: tempfile::TempDir,
    /// What is already in place, or on its way there.
    seen: BTreeSet<PathBuf>,
}

impl Tree {
    /// A tree with the programs that every guest has, made in `directory`.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let root = tempfile::tempdir_in(directory)?;
        fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755))?;
        let mut tree = Self {
            root,
            seen: BTreeSet::new(),
        };
        for path in ["/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/sbin"] {
            tree.mirror(Path::new(path))?;
        }
        for package in PACKAGES {
            tree.programs_of(package)?;
        }
        tree.python()?;
        for library in OPENED {
            tree.add(&Path::new(LIBRARIES).join(library))?;
        }
        tree.add(&packages::find("busybox").context("no busybox")?)?;
        tree.settings()?;
        Ok(tree)
    }

    /// Where a path of the guest lies here.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// Adds a file, and the libraries that it is linked with.
    pub(crate) fn add(&mut self, path: &Path) -> Result<()> {
        self.mirror(path)?;
        let linked = command("ldd")
            .arg(path)
            .stderr(std::process::Stdio::null())
            .output()?;
        for word in String::from_utf8_lossy(&linked.stdout).split_whitespace() {
            if word.starts_with('/') && word != "/" {
                self.mirror(Path::new(word.trim_end_matches(':')))?;
            }
        }
        Ok(())
    }

    /// Adds everything in a folder.
    pub(crate) fn add_tree(&mut self, path: &Path) -> Result<()> {
        self.mirror(path)?;
        for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
            let (path, kind) = entry.and_then(|e| Ok((e.path(), e.file_type()?)))?;
            if kind.is_dir() {
                self.add_tree(&path)?;
            } else if path.extension().is_some_and(|extension| extension == "so") {
                self.add(&path)?;
            } else {
                self.mirror(&path)?;
            }
        }
        Ok(())
    }

    /// Writes a file of its own.
    pub(crate) fn write(&self, path: &str, text: &str, mode: u32) -> Result<()> {
        let file = self.at(path);
        fs::create_dir_all(file.parent().context("a file lies in a folder")?)?;
        fs::write(&file, text)?;
        fs::set_permissions(&file, PermissionsExt::from_mode(mode))?;
        Ok(())
    }

    /// Makes the disk.
    pub(crate) fn into_disk(self, disk: &Path) -> Result<()> {
        run(command("ldconfig").arg("-r").arg(self.root.path()))?;
        let used = command("du").args(["-sm"]).arg(self.root.path()).output()?;
        let used: u64 = String::from_utf8_lossy(&used.stdout)
            .split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .context("du says no number")?;
        run(command("mke2fs")
            .args([
                "-q",
                "-t",
                "ext4",
                "-O",
                "^has_journal",
                "-E",
                "root_owner=0:0",
                "-d",
            ])
            .arg(self.root.path())
            .arg(disk)
            .arg(format!("{}M", used * 11 / 10 + FREE_MIB))
            .stdout(std::process::Stdio::null()))
    }

    /// Brings a path over with every symbolic link on its way.
    fn mirror(&mut self, path: &Path) -> Result<()> {
        if !self.seen.insert(path.to_owned()) {
            return Ok(());
        }
        let mut real = PathBuf::from("/");
        let mut rest: Vec<Component> = path.components().collect();
        rest.reverse();
        while let Some(part) = rest.pop() {
            match part {
                Component::Normal(name) => real.push(name),
                Component::ParentDir => {
                    real.pop();
                    continue;
                }
                _ => continue,
            }
            let there = self.root.path().join(real.strip_prefix("/")?);
            let meta = fs::symlink_metadata(&real).with_context(|| real.display().to_string())?;
            if meta.is_symlink() {
                let target = fs::read_link(&real)?;
                if fs::symlink_metadata(&there).is_err() {
                    symlink(&target, &there)?;
                }
                real.pop();
                let mut whole = real.join(target);
                whole.extend(rest.iter().rev());
                return self.mirror(&whole);
            } else if meta.is_dir() {
                if !there.is_dir() {
                    fs::create_dir(&there)?;
                    fs::set_permissions(&there, meta.permissions())?;
                }
            } else if !there.exists() && fs::hard_link(&real, &there).is_err() {
                fs::copy(&real, &there).with_context(|| real.display().to_string())?;
            }
        }
        Ok(())
    }

    fn programs_of(&mut self, package: &str) -> Result<()> {
        let listed = command("dpkg").args(["-L", package]).output()?;
        if !listed.status.success() {
            bail!("package {package} is not installed here");
        }
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            let path = Path::new(line);
            let folder = path.parent().and_then(Path::file_name);
            let program = folder.is_some_and(|name| name == "bin" || name == "sbin");
            if program && path.is_file() {
                self.add(path)?;
            }
        }
        Ok(())
    }

    /// Debian's Python, with its standard library.
    fn python(&mut self) -> Result<()> {
        let python = Path::new("/usr/bin/python3");
        self.add(python)?;
        let asked = "import sysconfig; print(sysconfig.get_path('stdlib'))";
        let output = command(python).args(["-c", asked]).output()?;
        let library = String::from_utf8(output.stdout)?;
        self.add_tree(Path::new(library.trim_end()))
    }

    fn settings(&self) -> Result<()> {
        self.write(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
            0o644,
        )?;
        self.write("/etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644)?;
        self.write(
            "/etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files\n",
            0o644,
        )?;
        self.write("/etc/hosts", "127.0.0.1 localhost guest\n", 0o644)?;
        self.write(
            "/etc/ld.so.conf",
            "/usr/lib/x86_64-linux-gnu\n/usr/local/lib\n",
            0o644,
        )?;
        for folder in [
            "dev",
            "proc",
            "sys",
            "run",
            "root",
            "usr/local/bin",
            "var/tmp",
            "tmp",
        ] {
            fs::create_dir_all(self.at(folder))?;
        }
        for folder in ["tmp", "var/tmp"] {
            fs::set_permissions(self.at(folder), PermissionsExt::from_mode(0o1777))?;
        }
        Ok(())
    }
}
