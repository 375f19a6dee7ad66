//! Places relative to the executable: what is found there needs no environment, which `sudo` may
//! clear.

use std::env;
use std::path::{Path, PathBuf};

/// The file that cargo keeps at the top of a target directory, whatever its name.
const CARGO_MARK: &str = ".rustc_info.json";

/// The prefix that this executable is installed in: `/usr/local` of `/usr/local/bin/workload`.
pub fn prefix() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.parent()?.parent()?.to_owned())
}

/// The cargo target directories that this executable lies in, the innermost first.
pub fn target_directories() -> Vec<PathBuf> {
    let executable = env::current_exe().unwrap_or_default();
    executable
        .ancestors()
        .skip(1)
        .filter(|path| is_target(path))
        .map(Path::to_owned)
        .collect()
}

fn is_target(path: &Path) -> bool {
    path.join(CARGO_MARK).is_file()
}
