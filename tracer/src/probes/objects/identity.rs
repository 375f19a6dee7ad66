//! Which file a module is: completes what the kernel's record leaves out.

use crate::events::Module;
use crate::files::Identity;
use rustc_hash::FxHashMap;
use std::path::PathBuf;

/// Files that were looked at, by what the records said of them.
#[derive(Debug, Default)]
pub(in crate::probes) struct Identities(FxHashMap<(String, Identity), Identity>);

impl Identities {
    /// Fills in device and inode where the record has the build-id, and the build-id where it has
    /// those, from the file, if that still is the same.
    pub(in crate::probes) fn complete(&mut self, module: &mut Module) {
        if !module.path.starts_with('/') || module.path.starts_with("//") {
            return;
        }
        let key = (module.path.clone(), module.identity.clone());
        let found = self.0.entry(key).or_insert_with(|| {
            let found = module.mapping().find().map(|found| found.identity);
            found.unwrap_or_else(|_| module.identity.clone())
        });
        module.identity.clone_from(found);
    }
}

/// A path by which this process can open a module's file, whatever its mount namespace, and even if
/// it was deleted while the process lives. `None` if there is no such file any more, or another one
/// in its place.
#[must_use]
pub fn file_of(module: &Module) -> Option<PathBuf> {
    Some(module.mapping().find().ok()?.path)
}
