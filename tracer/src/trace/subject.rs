//! What to trace.

use super::options::Follow;
use crate::probes::objects::{CommandError, Finder, Found};
use crate::tracee::{Command, Environment};

/// A command, and what its files say before it runs.
pub struct Subject {
    pub(super) command: Command,
    pub(super) environment: Environment,
    pub(super) finder: Finder,
    pub(super) found: Found,
}

impl Subject {
    /// Looks at the files of a command: at its program, its interpreter, its libraries.
    ///
    /// # Errors
    /// Where its heap is to be followed, and it is no program whose heap can be.
    pub fn command(
        command: Command,
        environment: Environment,
        follow: Follow,
    ) -> Result<Self, CommandError> {
        let mut finder = Finder::default();
        let found = finder.command(&command, &environment);
        let found = match follow {
            Follow::Heap => found?,
            // Only to know the files: nothing of them is probed.
            Follow::Pages => found.unwrap_or_default(),
        };
        Ok(Self {
            command,
            environment,
            finder,
            found,
        })
    }

    /// Has unwind tables of these files made beforehand as well.
    pub fn also_walk(&mut self, files: &[std::path::PathBuf]) {
        self.found.files.extend_from_slice(files);
    }

    /// The command and its environment, to launch it.
    #[must_use]
    pub fn words(&self) -> (&Command, &Environment) {
        (&self.command, &self.environment)
    }

    /// Whether there is a file to be executed.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.command.file(&self.environment).is_some()
    }
}
