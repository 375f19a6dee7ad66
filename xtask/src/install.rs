//! `cargo xtask install`: puts the commands where a shell, and sudo, find them.

use crate::command::build;
use crate::packages::{self, For};
use crate::{census, dist, libtiledb};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Installs `tracer` and `workload` in `prefix/bin`, the manual's pages and completions in
/// `prefix/share`, libtiledb in `prefix/lib/tracer` and the
/// small synthetic Census in `prefix/share/tracer`.
pub(crate) fn install(prefix: &Path) -> Result<()> {
    packages::ensure(&[For::Demo])?;
    build(&["tracer", "workload"])?;
    let libtiledb = libtiledb::ensure()?;
    let census = census::ensure_default()?;

    for program in ["tracer", "workload"] {
        let built = libtiledb::release(program)?;
        copy_file(&built, &prefix.join("bin").join(program))?;
    }
    dist::manual(&prefix.join("bin/tracer"), prefix)?;
    // The wheel's library finds its siblings beside it, by RPATH.
    let lib = prefix.join("lib/tracer");
    replace_dir(
        libtiledb.parent().context("libtiledb lies in no folder")?,
        &lib,
    )?;
    replace_dir(&census, &prefix.join("share/tracer/census"))?;
    let bin = prefix.join("bin");
    println!("installed in {}; try: {}", prefix.display(), first(&bin));
    Ok(())
}

/// A first command to type. sudo has a PATH of its own (`secure_path`), which need not have the
/// folder that the shell finds.
fn first(bin: &Path) -> String {
    let mut ask = Command::new("sudo");
    let found = ask.args(["-n", "sh", "-c", "command -v tracer"]).output();
    let tracer = bin.join("tracer");
    let finds_it = found
        .is_ok_and(|found| Path::new(String::from_utf8_lossy(&found.stdout).trim_end()) == tracer);
    match finds_it {
        true => "sudo tracer -- workload -t ureter".to_owned(),
        false => format!(
            "sudo {} -- {} -t ureter",
            tracer.display(),
            bin.join("workload").display()
        ),
    }
}

/// Copies beside the destination, then renames: a running binary or a reader never sees half.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let dir = to.parent().context("a file needs a folder")?;
    fs::create_dir_all(dir).with_context(|| format!("can't create {}", dir.display()))?;
    let temporary = to.with_extension("new");
    fs::copy(from, &temporary)
        .and_then(|_| fs::rename(&temporary, to))
        .with_context(|| format!("can't install {}", to.display()))
}

/// Replaces the folder `to` by a copy of `from`.
fn replace_dir(from: &Path, to: &Path) -> Result<()> {
    let fresh = to.with_extension("new");
    for old in [&fresh, &to.to_owned()] {
        match fs::remove_dir_all(old) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("can't replace {}", old.display()));
            }
            _ => {}
        }
    }
    copy_dir(from, &fresh)?;
    fs::rename(&fresh, to).with_context(|| format!("can't install {}", to.display()))
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("can't create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("can't read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("can't install {}", target.display()))?;
        }
    }
    Ok(())
}
