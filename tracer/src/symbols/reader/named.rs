//! What is wanted of a file, and the reading of it.

use crate::files::{BuildId, Source};
use crate::symbols::Frame;
use crate::symbols::debug_files::DebugFiles;
use crate::symbols::file_names::{Debug, FileNames};
use crate::symbols::files;
use crate::symbols::reason::Reason;
use serde::{Deserialize, Serialize};

/// Frames by offset.
pub(crate) type Named = Vec<(u64, Vec<Frame>)>;

/// What is wanted of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// What frames call it.
    pub(crate) name: String,
    /// Where it stood: its debug file may stand beside it.
    pub(crate) path: String,
    /// The build-id that it must have, where nothing else tells that it is the file.
    pub(crate) expected: Option<BuildId>,
    /// Whether its debug information is read, too.
    pub(crate) debug: bool,
    /// Offsets in the file.
    pub(crate) offsets: Vec<u64>,
}

impl Wanted {
    /// Reads the file.
    pub(crate) fn read(&self, source: Source, files: &mut dyn DebugFiles) -> Result<Named, Reason> {
        let elf = files::parse(source, self.expected.as_ref())?;
        let debug = match self.debug {
            true => Debug::find(&elf, &self.path, files),
            false => Debug::default(),
        };
        let offsets = self.offsets.clone();
        Ok(FileNames::resolve(&elf, &debug, &self.name, offsets))
    }
}
