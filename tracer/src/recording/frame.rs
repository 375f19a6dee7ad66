//! A frame with its name.

use serde::{Deserialize, Serialize};

/// One frame of a stack, as reports show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Frame {
    /// Demangled function, or the reason in brackets why there is none.
    /// Control characters are escaped.
    pub function: Option<String>,
    /// Source file.
    pub file: Option<String>,
    /// Line in it, from 1.
    pub line: Option<u32>,
    /// File name of the module, without its directories.
    pub module: Option<String>,
    /// Where in the module: the address as the file itself counts them (what
    /// `addr2line` takes) of the instruction that was running or that made the
    /// call; of a function without a name its beginning, where unwind information tells it;
    /// the offset in the file where that is all that is known.
    pub offset: u64,
    /// Whether the compiler inlined it into the next frame.
    pub inlined: bool,
}

impl Frame {
    /// Whether the function is a reason or category rather than a name.
    #[must_use]
    pub fn is_bracketed(&self) -> bool {
        let bracketed = |name: &String| name.starts_with('[') && name.ends_with(']');
        self.function.as_ref().is_some_and(bracketed)
    }

    /// `function`, or `libfoo.so+0x1234`, or `[reason]`: the name without its place.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.function, &self.module) {
            (Some(function), _) => function.clone(),
            (None, Some(module)) => format!("{module}+{:#x}", self.offset),
            (None, None) => "[unknown]".to_owned(),
        }
    }
}

impl std::fmt::Display for Frame {
    /// `function:/path/file.rs:12`, or `function`, or `libfoo.so+0x1234`, or `[reason]`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.function, &self.file, &self.line, &self.module) {
            (Some(function), Some(file), Some(line), _) => write!(f, "{function}:{file}:{line}"),
            (Some(function), Some(file), None, _) => write!(f, "{function}:{file}"),
            (Some(function), None, ..) => f.write_str(function),
            (None, _, _, Some(module)) => write!(f, "{module}+{:#x}", self.offset),
            (None, _, _, None) => f.write_str("[unknown]"),
        }
    }
}
