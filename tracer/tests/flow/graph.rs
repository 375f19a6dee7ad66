//! The modules of a crate, and which names things of which.
//!
//! It reads the sources as rustc does (by `syn`), test modules left out: each path that begins
//! with `crate`, `super`, `self`, the crate's name or a module's name is followed to the module
//! that defines what it ends at, through re-exports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

/// The path of a module below its crate.
pub(crate) type Name = Vec<String>;

/// A module that a file holds.
#[derive(Default)]
struct Module {
    /// Paths as they stand in it.
    paths: Vec<Vec<String>>,
    /// What it exports under which name: the path that stands there.
    exports: BTreeMap<String, Vec<String>>,
    children: BTreeSet<String>,
}

/// Modules, and those that each names.
#[derive(Default)]
pub(crate) struct Graph {
    crate_name: String,
    modules: BTreeMap<Name, Module>,
}

impl Graph {
    /// Reads a crate, or what is given of one, from its root file.
    pub(crate) fn read(crate_name: &str, root: &Path) -> Self {
        let mut graph = Self {
            crate_name: crate_name.to_owned(),
            modules: BTreeMap::new(),
        };
        let folder = root.parent().expect("a folder").to_owned();
        graph.file(Vec::new(), root, &folder);
        graph
    }

    /// A crate made of texts, by the names of its modules.
    pub(crate) fn of(texts: &[(&str, &str)]) -> Self {
        let mut graph = Self::default();
        for (name, text) in texts {
            let name: Name = name
                .split("::")
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect();
            let (module, _) = read(&syn::parse_file(text).expect("Rust"));
            graph.modules.insert(name, module);
        }
        graph
    }

    fn file(&mut self, name: Name, file: &Path, folder: &Path) {
        let text =
            fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let (module, files) = read(&parsed);
        for child in files {
            let flat = folder.join(&child).with_extension("rs");
            let nested = folder.join(&child).join("mod.rs");
            let file: PathBuf = if flat.is_file() { flat } else { nested };
            let mut name = name.clone();
            name.push(child.clone());
            self.file(name, &file, &folder.join(&child));
        }
        self.modules.insert(name, module);
    }

    /// Each module, and the others that it names things of.
    pub(crate) fn arrows(&self) -> BTreeMap<Name, BTreeSet<Name>> {
        let arrows = self.modules.iter().map(|(from, module)| {
            let named = module
                .paths
                .iter()
                .filter_map(|path| self.resolve(from, path, 0));
            (from.clone(), named.filter(|to| to != from).collect())
        });
        arrows.collect()
    }

    /// The module that defines what a path ends at; nothing where it leaves the crate.
    fn resolve(&self, from: &Name, path: &[String], depth: usize) -> Option<Name> {
        assert!(depth < 32, "re-exports in a circle: {path:?}");
        let (first, rest) = path.split_first()?;
        let (start, rest) = match first.as_str() {
            "crate" => (Vec::new(), rest),
            "self" => (from.clone(), rest),
            "super" => (from[..from.len().checked_sub(1)?].to_vec(), rest),
            name if name == self.crate_name => (Vec::new(), rest),
            name if self.modules[from].children.contains(name) => (from.clone(), path),
            _ => return None,
        };
        self.descend(start, rest, depth)
    }

    fn descend(&self, mut at: Name, path: &[String], depth: usize) -> Option<Name> {
        for (position, part) in path.iter().enumerate() {
            let module = self.modules.get(&at)?;
            if part == "super" {
                at.pop()?;
            } else if module.children.contains(part) {
                at.push(part.clone());
            } else if let Some(target) = module.exports.get(part) {
                let mut target = target.clone();
                target.extend_from_slice(&path[position + 1..]);
                // What comes from another crate is defined by who exports it.
                return Some(self.resolve(&at, &target, depth + 1).unwrap_or(at));
            } else {
                return Some(at);
            }
        }
        Some(at)
    }

    /// Parts of a folder that name each other in a circle, each circle once: a part is a module
    /// with all that it holds. What a folder's own file shares with its parts is no circle.
    pub(crate) fn circles(&self) -> BTreeSet<BTreeSet<Name>> {
        let mut parts: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
        for (from, to) in self
            .arrows()
            .iter()
            .flat_map(|(from, to)| to.iter().map(move |to| (from, to)))
        {
            let common = from
                .iter()
                .zip(to)
                .take_while(|(one, other)| one == other)
                .count();
            if common < from.len() && common < to.len() {
                let part = from[..=common].to_vec();
                parts
                    .entry(part)
                    .or_default()
                    .insert(to[..=common].to_vec());
            }
        }
        let reached: BTreeMap<&Name, BTreeSet<&Name>> = parts
            .keys()
            .map(|from| (from, reach(&parts, from)))
            .collect();
        let circle = |from: &Name, to: &BTreeSet<&Name>| {
            let back = |other: &Name| reached.get(other).is_some_and(|back| back.contains(from));
            to.iter()
                .filter(|other| back(other))
                .map(|other| (*other).clone())
                .collect()
        };
        let within = reached.iter().filter(|(from, to)| to.contains(**from));
        within.map(|(from, to)| circle(from, to)).collect()
    }
}

/// All that can be reached from a module along arrows.
fn reach<'a>(arrows: &'a BTreeMap<Name, BTreeSet<Name>>, from: &Name) -> BTreeSet<&'a Name> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&Name> = arrows[from].iter().collect();
    while let Some(name) = next.pop() {
        if seen.insert(name) {
            next.extend(arrows.get(name).into_iter().flatten());
        }
    }
    seen
}

/// What stands in a file, and the children that have files of their own.
fn read(file: &syn::File) -> (Module, Vec<String>) {
    let mut reader = Reader::default();
    reader.visit_file(file);
    (reader.module, reader.files)
}

#[derive(Default)]
struct Reader {
    module: Module,
    files: Vec<String>,
}

impl Reader {
    /// The leaves of a `use`.
    fn uses(&mut self, tree: &syn::UseTree, mut path: Vec<String>, exported: bool) {
        match tree {
            syn::UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.uses(&tree.tree, path, exported);
            }
            syn::UseTree::Group(tree) => {
                for tree in &tree.items {
                    self.uses(tree, path.clone(), exported);
                }
            }
            syn::UseTree::Glob(_) => self.module.paths.push(path),
            syn::UseTree::Name(tree) => self.leaf(path, &tree.ident, &tree.ident, exported),
            syn::UseTree::Rename(tree) => self.leaf(path, &tree.ident, &tree.rename, exported),
        }
    }

    fn leaf(
        &mut self,
        mut path: Vec<String>,
        name: &syn::Ident,
        as_name: &syn::Ident,
        exported: bool,
    ) {
        if name != "self" {
            path.push(name.to_string());
        }
        if exported {
            // Who exports needs nothing of it.
            self.module.exports.insert(as_name.to_string(), path);
        } else {
            self.module.paths.push(path);
        }
    }
}

/// Whether an item is there in tests alone.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list();
        list.is_ok_and(|list| list.path.is_ident("cfg") && list.tokens.to_string() == "test")
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_test(&item.attrs) {
            return;
        }
        match &item.content {
            None => {
                self.module.children.insert(item.ident.to_string());
                self.files.push(item.ident.to_string());
            }
            // It counts as part of its file.
            Some(_) => syn::visit::visit_item_mod(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) {
            let exported = !matches!(item.vis, syn::Visibility::Inherited);
            self.uses(&item.tree, Vec::new(), exported);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        self.module.paths.push(names.collect());
        syn::visit::visit_path(self, path);
    }
}
