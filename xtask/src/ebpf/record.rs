//! The file beside the object that says from what and by what it was made.

use super::digest;
use super::toolchain::Toolchain;
use super::{OBJECT, RECORD};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// What is recorded. A TOML file of strings, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    source: String,
    object: String,
    toolchain: [(&'static str, String); 3],
}

/// The keys of the toolchain's part.
const TOOLCHAIN: [&str; 3] = ["rustc", "llvm", "bpf-linker"];

impl Record {
    /// What is to be recorded of an object that was just built.
    pub(super) fn new(root: &Path, object: &[u8], toolchain: &Toolchain) -> Result<Self> {
        Ok(Self {
            source: digest::of_sources(root)?,
            object: digest::of_bytes(object),
            toolchain: versions(toolchain),
        })
    }

    /// What was recorded.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(root.join(RECORD)).context(RECORD)?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let values: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .map(|(key, value)| (key, value.trim_matches('"')))
            .collect();
        let value = |key: &str| {
            let value = values
                .get(key)
                .with_context(|| format!("{RECORD} has no {key}"));
            value.map(|value| (*value).to_owned())
        };
        let [rustc, llvm, linker] = TOOLCHAIN;
        Ok(Self {
            source: value("source")?,
            object: value("object")?,
            toolchain: [
                (rustc, value(rustc)?),
                (llvm, value(llvm)?),
                (linker, value(linker)?),
            ],
        })
    }

    /// Fails unless the sources are those that the object was made from.
    pub(super) fn check_source(&self, root: &Path) -> Result<()> {
        let now = digest::of_sources(root)?;
        if now != self.source {
            bail!(
                "{OBJECT} is stale: it was made from sources of digest {}, which now is {now}.\n\
                 Run `cargo xtask ebpf` and commit what it writes",
                self.source
            );
        }
        Ok(())
    }

    /// Fails unless an object is the recorded one.
    pub(super) fn check_object(&self, object: &[u8]) -> Result<()> {
        let digest = digest::of_bytes(object);
        if digest != self.object {
            bail!(
                "the object of {} bytes has digest {digest}, and {} is recorded in {RECORD}",
                object.len(),
                self.object
            );
        }
        Ok(())
    }

    /// In what a toolchain differs from the recorded one.
    pub(super) fn other_toolchain(&self, toolchain: &Toolchain) -> Option<String> {
        let now = versions(toolchain);
        let pairs = self.toolchain.iter().zip(&now);
        let differences: Vec<_> = pairs
            .filter(|(recorded, now)| recorded != now)
            .map(|((key, recorded), (_, now))| format!("{key}: {recorded} recorded, {now} here"))
            .collect();
        (!differences.is_empty()).then(|| differences.join("; "))
    }
}

fn versions(toolchain: &Toolchain) -> [(&'static str, String); 3] {
    let [rustc, llvm, linker] = TOOLCHAIN;
    [
        (rustc, toolchain.rustc_version.clone()),
        (llvm, toolchain.llvm_version.clone()),
        (linker, toolchain.linker_version.clone()),
    ]
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Written by `cargo xtask ebpf`, with the object beside it."
        )?;
        writeln!(f, "source = \"{}\"", self.source)?;
        writeln!(f, "object = \"{}\"", self.object)?;
        for (key, value) in &self.toolchain {
            writeln!(f, "{key} = \"{value}\"")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_as_written() {
        let record = Record {
            source: "ab".into(),
            object: "cd".into(),
            toolchain: [
                ("rustc", "1.96.0 (x y)".into()),
                ("llvm", "22.1".into()),
                ("bpf-linker", "0.13.0".into()),
            ],
        };
        assert_eq!(Record::parse(&record.to_string()).unwrap(), record);
        assert!(Record::parse("source = \"ab\"\n").is_err());
    }
}
