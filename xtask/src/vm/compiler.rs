//! The guest's compiler is the host's: emulated processors are slow at it.

use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the guest may ask for.
pub(crate) const DRIVERS: [&str; 5] = ["cc", "gcc", "c++", "g++", "musl-gcc"];

/// Compiles what comes through the port until the guest is gone.
pub(crate) fn serve(port: UnixStream) {
    let mut requests = match port.try_clone() {
        Ok(port) => BufReader::new(port),
        Err(_) => return,
    };
    let mut answers = port;
    while let Some(request) = next(&mut requests) {
        let answer = compile(&request).unwrap_or_else(|error| Answer {
            status: 1,
            said: format!("{error:#}\n").into_bytes(),
            ..Answer::default()
        });
        if answer.send(&mut answers).is_err() {
            return;
        }
    }
}

/// What a compiler gave.
#[derive(Default)]
struct Answer {
    status: i32,
    said: Vec<u8>,
    built: Vec<u8>,
    /// The debug information that `-gsplit-dwarf` put into a file beside the program.
    split: Option<Split>,
}

/// A `.dwo` file, by the name that the program knows it by.
struct Split {
    name: String,
    bytes: Vec<u8>,
}

impl Answer {
    fn send(&self, to: &mut UnixStream) -> std::io::Result<()> {
        let (split, name) = match &self.split {
            Some(split) => (split.bytes.as_slice(), split.name.as_str()),
            None => (&[][..], "-"),
        };
        let lengths = [self.said.len(), self.built.len(), split.len()].map(|len| len.to_string());
        let header = format!("{} {} {name}\n", self.status, lengths.join(" "));
        to.write_all(&[header.as_bytes(), &self.said, &self.built, split].concat())
    }
}

/// The words of the next request: a driver and its arguments.
fn next(requests: &mut impl BufRead) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for line in requests.lines() {
        match line.ok()?.as_str() {
            "" => return Some(words),
            word => words.push(word.to_owned()),
        }
    }
    None
}

fn compile(words: &[String]) -> Result<Answer> {
    let (driver, arguments) = words.split_first().context("a request without a word")?;
    ensure!(
        DRIVERS.contains(&driver.as_str()),
        "`{driver}` is no compiler"
    );
    let place = tempfile::tempdir()?;
    let mut arguments = arguments.to_vec();
    let output = arguments.iter().position(|word| word == "-o");
    let output = output.and_then(|at| arguments.get_mut(at + 1));
    let output = output.context("no `-o FILE`")?;
    let wanted = PathBuf::from(std::mem::take(output));
    let name = wanted.file_name().context("`-o` names no file")?;
    *output = name.to_str().context("a name that is no text")?.to_owned();
    let built = place.path().join(name);
    // The program shall look for its `.dwo` file where the guest puts it.
    let there = wanted.parent().unwrap_or(Path::new("."));
    arguments.push(format!(
        "-fdebug-prefix-map={}={}",
        place.path().display(),
        there.display()
    ));
    let output = Command::new(driver)
        .args(&arguments)
        .current_dir(place.path())
        .output()
        .with_context(|| format!("the host has no {driver}"))?;
    Ok(Answer {
        status: output.status.code().unwrap_or(1),
        said: output.stderr,
        built: std::fs::read(&built).unwrap_or_default(),
        split: split(place.path())?,
    })
}

/// The `.dwo` file of this folder, if there is one.
fn split(place: &Path) -> Result<Option<Split>> {
    for entry in std::fs::read_dir(place)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "dwo") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return Ok(Some(Split {
                name: name.into_owned(),
                bytes: std::fs::read(&path)?,
            }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{compile, next};

    #[test]
    fn requests_are_words_on_lines() {
        let mut lines = &b"cc\n-o\nout\n\ng++\n\n"[..];
        assert_eq!(next(&mut lines).unwrap(), ["cc", "-o", "out"]);
        assert_eq!(next(&mut lines).unwrap(), ["g++"]);
        assert_eq!(next(&mut lines), None);
    }

    #[test]
    fn debug_information_beside_the_program_comes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("main.c");
        std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
        let source = source.to_str().unwrap();
        let words = ["cc", "-g", "-gsplit-dwarf", "-o", "/there/built", source];
        let answer = compile(&words.map(str::to_owned)).unwrap();
        let split = answer.split.expect("a .dwo file");
        assert_eq!(split.name, "built-main.dwo");
        let held = |word: &str| {
            let mut windows = answer.built.windows(word.len());
            windows.any(|window| window == word.as_bytes())
        };
        assert!(held("/there\0") && held("built-main.dwo\0"));
    }

    #[test]
    fn only_compilers_are_run() {
        assert!(compile(&["sh".into(), "-o".into(), "x".into()]).is_err());
        assert!(compile(&["cc".into()]).is_err());
    }
}
