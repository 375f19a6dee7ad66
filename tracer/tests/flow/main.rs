//! Data flows one way: a stage that names a later one fails here, and so do parts of a folder
//! that name each other in a circle.

mod graph;

use graph::Graph;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each stage, and those that it may name besides itself.
const MAY_NAME: [(&str, &[&str]); 12] = [
    ("units", &[]),
    ("arch", &[]),
    ("files", &["arch", "units"]),
    ("events", &["files", "arch", "units"]),
    ("tracee", &["arch", "units"]),
    ("unwind", &["files", "arch", "units"]),
    (
        "probes",
        &["tracee", "unwind", "events", "files", "arch", "units"],
    ),
    ("recording", &["events", "files", "arch", "units"]),
    ("ledger", &["events", "arch", "units"]),
    (
        "symbols",
        &["recording", "events", "files", "arch", "units"],
    ),
    (
        "trace",
        &[
            "symbols",
            "ledger",
            "recording",
            "events",
            "probes",
            "unwind",
            "tracee",
            "files",
            "arch",
            "units",
        ],
    ),
    (
        "reports",
        &["symbols", "ledger", "recording", "events", "arch", "units"],
    ),
];

#[test]
fn no_arrow_points_against_the_flow() {
    let wrong = against_the_flow(&Graph::read("tracer", &source("lib.rs")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_of_the_crate_is_a_stage() {
    let graph = Graph::read("tracer", &source("lib.rs"));
    let arrows = graph.arrows();
    let declared: BTreeSet<&str> = arrows
        .keys()
        .filter_map(|name| Some(name.first()?.as_str()))
        .collect();
    let stages: BTreeSet<&str> = MAY_NAME.iter().map(|(stage, _)| *stage).collect();
    assert_eq!(declared, stages);
}

#[test]
fn the_flow_that_is_told_is_the_one_that_is_checked() {
    let contributing = Path::new(env!("CARGO_MANIFEST_DIR")).join("../CONTRIBUTING.md");
    let stages: BTreeSet<&str> = MAY_NAME.iter().map(|(stage, _)| *stage).collect();
    let beside = ["units", "arch", "files", "trace"];
    for file in [contributing, source("lib.rs")] {
        let text = std::fs::read_to_string(&file).expect("a file");
        let line = text.lines().find(|line| line.contains("─(ring buffer)─"));
        let line = line.expect("the line").replace("(ring buffer)", "");
        let words = line.split(|c: char| !c.is_ascii_lowercase());
        let told: BTreeSet<&str> = words
            .filter(|word| !word.is_empty())
            .chain(beside)
            .collect();
        assert_eq!(told, stages, "{}", file.display());
    }
}

#[test]
fn no_parts_name_each_other_in_a_circle() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tracer-ebpf/src/main.rs");
    let crates = [
        ("tracer", source("lib.rs")),
        ("", source("main.rs")),
        ("", programs),
    ];
    let circles = crates.iter().flat_map(|(name, root)| {
        let circles = Graph::read(name, root).circles();
        circles
            .into_iter()
            .map(|circle| format!("{}: {}", root.display(), told(&circle)))
    });
    let circles: Vec<String> = circles.collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn an_arrow_against_the_flow_is_found() {
    let root = ("", "mod events; mod ledger; mod reports;");
    let ledger = ("ledger", "mod sums; fn f() { crate::events::g() }");
    let right = Graph::of(&[
        root,
        ledger,
        ("ledger::sums", ""),
        ("events", ""),
        ("reports", ""),
    ]);
    assert!(against_the_flow(&right).is_empty());
    let sums = (
        "ledger::sums",
        "use crate::{events::E, reports::{self as r}};",
    );
    let wrong = Graph::of(&[root, ledger, sums, ("events", ""), ("reports", "")]);
    assert_eq!(against_the_flow(&wrong), ["ledger::sums names reports"]);
}

#[test]
fn a_circle_is_found_through_a_re_export_and_tests_are_no_part_of_it() {
    let root = (
        "",
        "mod a; mod b; mod c; #[cfg(test)] mod tests { use crate::a; }",
    );
    let a = ("a", "mod inner; pub use inner::Thing; use super::b::f;");
    let inner = (
        "a::inner",
        "pub struct Thing; impl super::super::c::Trait for Thing {}",
    );
    let (open, closed) = ("fn f() {}", "use crate::a::Thing; fn f(_: Thing) {}");
    let of = |b, c| Graph::of(&[root, a, inner, ("b", b), ("c", c)]).circles();
    assert!(of(open, open).is_empty());
    let circle = |names: [&str; 2]| BTreeSet::from(names.map(|name| vec![name.to_owned()]));
    assert_eq!(of(closed, open), BTreeSet::from([circle(["a", "b"])]));
    assert_eq!(of(open, closed), BTreeSet::from([circle(["a", "c"])]));
}

/// Arrows between stages that may not be.
fn against_the_flow(graph: &Graph) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, to) in graph.arrows() {
        let Some((_, allowed)) = MAY_NAME
            .iter()
            .find(|(stage, _)| from.first().is_some_and(|first| first == stage))
        else {
            continue;
        };
        for name in to
            .iter()
            .filter_map(|to| to.first())
            .filter(|name| **name != from[0])
        {
            if !allowed.contains(&name.as_str()) {
                wrong.push(format!("{} names {name}", from.join("::")));
            }
        }
    }
    wrong
}

fn told(circle: &BTreeSet<graph::Name>) -> String {
    let names: Vec<String> = circle.iter().map(|name| name.join("::")).collect();
    names.join(", ")
}

fn source(root: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(root)
}
