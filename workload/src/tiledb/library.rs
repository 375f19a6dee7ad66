use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use super::{Error, Result, ffi};
use crate::beside;

/// A loaded libtiledb.
pub struct Library {
    pub(super) functions: ffi::Functions,
    path: PathBuf,
    /// Keeps the code behind `functions` mapped; last, so dropped last.
    _library: libloading::Library,
}

impl Library {
    /// Loads the library that the search order finds first.
    ///
    /// A file named by the user (`explicit`, or else `TILEDB_LIB`) is the only candidate. Without
    /// one, in this order: `../lib/tracer/` beside the executable (an installed copy),
    /// `$CONDA_PREFIX/lib`, `libtiledb.so` by the dynamic linker, `libtiledb/` under the `target`
    /// directory that the executable was built into (`cargo xtask libtiledb` puts it there), and
    /// the wheels `tiledb` and `tiledbsoma` in the active Python's site-packages.
    pub fn find(explicit: Option<&Path>) -> Result<Arc<Self>> {
        let named = explicit.map(Path::to_owned).or_else(|| {
            env::var_os("TILEDB_LIB")
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        });
        if let Some(path) = named {
            return Self::load(&path);
        }
        let mut searched = Vec::new();
        for place in places() {
            match place.candidate() {
                Some(path) => match Self::load(&path) {
                    Ok(library) => return Ok(library),
                    Err(error) => searched.push(format!("{} ({error})", place.label)),
                },
                None => searched.push(place.label),
            }
        }
        Err(Error::NoLibrary { searched })
    }

    /// Loads one file, or what the dynamic linker finds by a bare name.
    pub fn load(path: &Path) -> Result<Arc<Self>> {
        // SAFETY: loading runs the library's initialisers; the caller, or the search order
        // above, has said that this file is libtiledb.
        let library = unsafe { libloading::Library::new(path) }.map_err(|error| Error::Load {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let functions = ffi::Functions::load(&library, path)?;
        Ok(Arc::new(Self {
            functions,
            path: path.to_owned(),
            _library: library,
        }))
    }

    /// Where it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version: major, minor, patch.
    pub fn version(&self) -> (i32, i32, i32) {
        let (mut major, mut minor, mut patch) = (0, 0, 0);
        // SAFETY: three out-arguments.
        unsafe { (self.functions.version)(&mut major, &mut minor, &mut patch) };
        (major, minor, patch)
    }
}

/// One step of the search order.
struct Place {
    label: String,
    at: At,
}

enum At {
    /// A name for the dynamic linker.
    Name(&'static str),
    /// A directory that may hold `libtiledb*.so*`.
    Directory(PathBuf),
}

impl Place {
    fn directory(path: PathBuf) -> Self {
        Self {
            label: path.display().to_string(),
            at: At::Directory(path),
        }
    }

    fn candidate(&self) -> Option<PathBuf> {
        match &self.at {
            At::Name(name) => Some(PathBuf::from(name)),
            At::Directory(path) => library_in(path),
        }
    }
}

fn places() -> Vec<Place> {
    let mut places = Vec::new();
    if let Some(prefix) = beside::prefix() {
        places.push(Place::directory(prefix.join("lib/tracer")));
    }
    if let Some(conda) = env::var_os("CONDA_PREFIX") {
        places.push(Place::directory(Path::new(&conda).join("lib")));
    }
    let name = "libtiledb.so";
    places.push(Place {
        label: format!("{name} by the dynamic linker"),
        at: At::Name(name),
    });
    let built = beside::target_directories();
    places.extend(
        built
            .into_iter()
            .map(|target| Place::directory(target.join("libtiledb"))),
    );
    for packages in site_packages() {
        // Where the wheels have put it over the years.
        for wheel in ["tiledb.libs", "tiledbsoma.libs", "tiledb"] {
            places.push(Place::directory(packages.join(wheel)));
        }
    }
    places
}

/// The site-packages directories of the active virtual environment, or of the `python3` on PATH.
fn site_packages() -> Vec<PathBuf> {
    let on_path = || {
        env::split_paths(&env::var_os("PATH")?)
            .find(|directory| directory.join("python3").is_file())?
            .parent()
            .map(Path::to_owned)
    };
    let Some(prefix) = env::var_os("VIRTUAL_ENV")
        .map(PathBuf::from)
        .or_else(on_path)
    else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(prefix.join("lib")) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"))
        .map(|entry| entry.path().join("site-packages"))
        .collect();
    found.sort();
    found
}

/// `libtiledb.so`, or else the file of that family with the greatest name.
fn library_in(directory: &Path) -> Option<PathBuf> {
    let plain = directory.join("libtiledb.so");
    if plain.is_file() {
        return Some(plain);
    }
    fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| {
                    name.contains(".so")
                        && name
                            .strip_prefix("libtiledb")
                            .is_some_and(|rest| rest.starts_with(".so") || rest.starts_with('-'))
                })
        })
        .max()
}
