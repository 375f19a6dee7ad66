//! The licences of all that the program is linked from.

use super::build::cargo;
use super::printed;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// How the names of files begin that hold a licence.
const FILES: [&str; 6] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "COPYRIGHT",
    "NOTICE",
    "UNLICENSE",
];

/// One text: each crate that `tracer` of the tree `source` is linked from, with its licences; a
/// text that several share stands once.
pub(super) fn notices(source: &Path, target: &str) -> Result<String> {
    let mut cargo = cargo(source);
    cargo.args(["metadata", "--format-version=1", "--locked"]);
    cargo.args(["--filter-platform", target]);
    let metadata: Value = serde_json::from_str(&printed(&mut cargo)?)?;
    let mut text = String::from(
        "tracer is linked from the Rust standard library (MIT OR Apache-2.0, \
         https://github.com/rust-lang/rust), from musl (MIT, https://musl.libc.org), and from these \
         crates. Their licences follow.\n\n",
    );
    // By text, so that the many copies of the Apache licence are one.
    let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in linked(&metadata)? {
        let [name, version, licence, manifest] = ["name", "version", "license", "manifest_path"]
            .map(|key| package[key].as_str().unwrap_or("?"));
        writeln!(text, "{name} {version}: {licence}")?;
        let folder = Path::new(manifest).parent().context("a crate's folder")?;
        for licence in texts(folder)? {
            let users = by_text.entry(licence).or_default();
            users.push(format!("{name} {version}"));
        }
    }
    let mut groups: Vec<(String, String)> = by_text
        .into_iter()
        .map(|(licence, users)| (users.join(", "), licence))
        .collect();
    groups.sort();
    for (users, licence) in groups {
        write!(
            text,
            "\n{}\n{users}\n\n{}\n",
            "=".repeat(80),
            licence.trim()
        )?;
    }
    Ok(text)
}

/// The packages of other people that `tracer` is linked from, in order.
fn linked(metadata: &Value) -> Result<Vec<&Value>> {
    let array = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let nodes: BTreeMap<String, Value> = array(&metadata["resolve"]["nodes"])
        .into_iter()
        .map(|node| (node["id"].to_string(), node))
        .collect();
    let packages = metadata["packages"].as_array().context("no packages")?;
    let own = packages
        .iter()
        .find(|package| package["name"] == "tracer")
        .context("tracer is no package of the workspace")?;
    let mut seen = BTreeSet::new();
    let mut rest = vec![own["id"].to_string()];
    while let Some(id) = rest.pop() {
        let Some(node) = nodes.get(&id).filter(|_| seen.insert(id)) else {
            continue;
        };
        for dependency in array(&node["deps"]) {
            // A kind that is null is an ordinary dependency: neither of tests nor of build scripts.
            let kinds = array(&dependency["dep_kinds"]);
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                rest.push(dependency["pkg"].to_string());
            }
        }
    }
    let others = packages.iter().filter(|package| {
        seen.contains(&package["id"].to_string()) && !package["source"].is_null()
    });
    Ok(others.collect())
}

/// The licences that lie in a crate's folder.
fn texts(folder: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    let entries = fs::read_dir(folder);
    for entry in entries.with_context(|| format!("can't read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let is_licence = FILES.iter().any(|start| name.starts_with(start));
        if is_licence && entry.file_type()?.is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let read = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(paths.iter().map(read).collect::<Result<_, _>>()?)
}
