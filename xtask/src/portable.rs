//! Results that are committed look the same wherever they were made.

use crate::command::root;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Makes the paths of source files in the reports of `dir` independent of this machine: those of
/// the work tree become relative, those of crates begin with their name. Recordings are not
/// committed and stay as they are.
pub(crate) fn make_portable(dir: &Path) -> Result<()> {
    let cargo = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir()
            .context("no home folder")?
            .join(".cargo"),
    };
    let tree = format!("{}/", root().display());
    let registries = format!("{}/registry/src/", cargo.display());
    for entry in fs::read_dir(dir).with_context(|| format!("can't read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_file() {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("can't read {}", path.display()))?;
            let text = without_folder_after(&text.replace(&tree, ""), &registries);
            fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
        }
    }
    Ok(())
}

/// Drops every `prefix` with the one folder that follows it.
fn without_folder_after(text: &str, prefix: &str) -> String {
    let mut parts = text.split(prefix);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once('/').map_or(part, |(_, rest)| rest));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::without_folder_after;

    #[test]
    fn crates_begin_with_their_name() {
        let text =
            "f:/home/u/.cargo/registry/src/some-index-12ab/arrow-1.0/src/a.rs:7 and g:/x/y.rs";
        let short = without_folder_after(text, "/home/u/.cargo/registry/src/");
        assert_eq!(short, "f:arrow-1.0/src/a.rs:7 and g:/x/y.rs");
        assert_eq!(without_folder_after("none", "/home/u/"), "none");
    }
}
