//! Which file a module is: completes what the kernel's record leaves out.

use super::{Identity, identity};
use crate::events::Module;
use rustc_hash::FxHashMap;
use std::path::PathBuf;

/// Files that were looked at, by what the records said of them.
#[derive(Debug, Default)]
pub(in crate::probes) struct Identities(FxHashMap<(String, Identity), Identity>);

impl Identities {
    /// Fills in device and inode where the record has the build-id, and the
    /// build-id where it has those, from the file, if that still is the same.
    pub(in crate::probes) fn complete(&mut self, module: &mut Module) {
        if !module.path.starts_with('/') || module.path.starts_with("//") {
            return;
        }
        let key = (module.path.clone(), told(module));
        let found = self.0.entry(key).or_insert_with(|| look(module));
        module.device = found.device;
        module.inode = found.inode;
        module.build_id.clone_from(&found.build_id);
    }
}

/// What the record says.
fn told(module: &Module) -> Identity {
    Identity {
        device: module.device,
        inode: module.inode,
        build_id: module.build_id.clone(),
    }
}

fn look(module: &Module) -> Identity {
    candidates(module)
        .filter_map(|path| identity(&path).ok())
        .find(|found| is_same(found, module))
        .unwrap_or_else(|| told(module))
}

/// A path by which this process can open a module's file, whatever its mount
/// namespace, and even if it was deleted while the process lives. `None` if
/// there is no such file any more, or another one in its place.
#[must_use]
pub fn file_of(module: &Module) -> Option<PathBuf> {
    candidates(module).find(|path| identity(path).is_ok_and(|found| is_same(&found, module)))
}

/// The mapping's own link; the path in the process's root; the path in ours
/// (for a process that has ended).
fn candidates(module: &Module) -> impl Iterator<Item = PathBuf> {
    let process = format!("/proc/{}", module.pid.0);
    let (begin, length) = (module.address.0, module.length.0);
    let end = begin.saturating_add(length);
    let path = module
        .path
        .strip_suffix(" (deleted)")
        .unwrap_or(&module.path);
    [
        format!("{process}/map_files/{begin:x}-{end:x}"),
        format!("{process}/root{path}"),
        path.to_owned(),
    ]
    .into_iter()
    .map(PathBuf::from)
}

/// Whether a file is the one that was mapped: by build-id where both have one,
/// else by device and inode.
fn is_same(found: &Identity, module: &Module) -> bool {
    match module.build_id.is_empty() || found.build_id.is_empty() {
        false => found.build_id == module.build_id,
        true => module.inode != 0 && (found.device, found.inode) == (module.device, module.inode),
    }
}
