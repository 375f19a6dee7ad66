//! From addresses to names.

/// One frame of a stack, as reports show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Frame {
    /// Demangled function, or the reason in brackets why there is none.
    pub function: Option<String>,
    /// Source file.
    pub file: Option<String>,
    /// Line in it, from 1.
    pub line: Option<u32>,
    /// File name of the module, without its directories.
    pub module: Option<String>,
    /// Offset in the module.
    pub offset: u64,
    /// Whether the compiler inlined it into the next frame.
    pub inlined: bool,
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
