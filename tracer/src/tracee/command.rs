//! A command and its environment, and the file that `execvp` will find for it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where `execvp` looks when `PATH` is not set (`confstr(_CS_PATH)`).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A program's name and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// As it was typed.
    pub program: OsString,
    /// Without the program's name.
    pub arguments: Vec<OsString>,
}

/// The variables that decide which files a program is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `PATH`
    pub path: Option<OsString>,
    /// `LD_LIBRARY_PATH`
    pub library_path: Option<OsString>,
    /// `LD_PRELOAD`
    pub preload: Option<OsString>,
}

impl Environment {
    /// That of this process, which the command inherits.
    #[must_use]
    pub fn current() -> Self {
        let variable = |name| std::env::var_os(name);
        Self {
            path: variable("PATH"),
            library_path: variable("LD_LIBRARY_PATH"),
            preload: variable("LD_PRELOAD"),
        }
    }
}

impl Command {
    /// From the words of a command line; `None` if there are none.
    #[must_use]
    pub fn new(words: &[OsString]) -> Option<Self> {
        words.split_first().map(|(program, arguments)| Self {
            program: program.clone(),
            arguments: arguments.to_vec(),
        })
    }

    /// The paths that `execvp(3)` tries, in order. None for an empty name.
    #[must_use]
    pub fn candidates(&self, environment: &Environment) -> Vec<PathBuf> {
        let program = &self.program;
        if program.is_empty() {
            return Vec::new();
        }
        if program.as_bytes().contains(&b'/') {
            return vec![program.into()];
        }
        let path = environment.path.as_deref();
        path.unwrap_or(OsStr::new(DEFAULT_PATH))
            .as_bytes()
            .split(|&byte| byte == b':')
            // An empty element is the working directory.
            .map(|directory| Path::new(OsStr::from_bytes(directory)).join(program))
            .collect()
    }

    /// The first candidate that is an executable file: what will most likely run.
    #[must_use]
    pub fn file(&self, environment: &Environment) -> Option<PathBuf> {
        self.candidates(environment)
            .into_iter()
            .find(|path| is_executable(path))
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(program: &str) -> Command {
        Command {
            program: program.into(),
            arguments: Vec::new(),
        }
    }

    fn with_path(path: &str) -> Environment {
        Environment {
            path: Some(path.into()),
            ..Environment::default()
        }
    }

    #[test]
    fn candidates_are_those_of_execvp() {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        let environment = with_path("/a::/b");
        assert_eq!(
            command("x").candidates(&environment),
            paths(&["/a/x", "x", "/b/x"])
        );
        assert_eq!(command("./x").candidates(&environment), paths(&["./x"]));
        assert_eq!(command("").candidates(&environment), paths(&[]));
        assert_eq!(
            command("x").candidates(&Environment::default()),
            paths(&["/bin/x", "/usr/bin/x"])
        );
    }

    #[test]
    fn the_first_executable_file_wins() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (place, mode) in [("1", 0o644), ("2", 0o755), ("3", 0o755)] {
            std::fs::create_dir(at(place)).unwrap();
            let file = at(place).join("x");
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        }
        std::fs::create_dir_all(at("0/x")).unwrap();
        let path = ["0", "1", "2", "3"].map(|place| at(place).display().to_string());
        let environment = with_path(&path.join(":"));
        assert_eq!(command("x").file(&environment), Some(at("2/x")));
        assert_eq!(command("y").file(&environment), None);
    }
}
