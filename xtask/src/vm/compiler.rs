//! The guest's compiler is the host's: emulated processors are slow at it.

use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
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
            built: Vec::new(),
        });
        if answer.send(&mut answers).is_err() {
            return;
        }
    }
}

/// What a compiler gave.
struct Answer {
    status: i32,
    said: Vec<u8>,
    built: Vec<u8>,
}

impl Answer {
    fn send(&self, to: &mut UnixStream) -> std::io::Result<()> {
        let header = format!("{} {} {}\n", self.status, self.said.len(), self.built.len());
        to.write_all(&[header.as_bytes(), &self.said, &self.built].concat())
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
    let built = place.path().join("built");
    let mut arguments = arguments.to_vec();
    let output = arguments.iter().position(|word| word == "-o");
    let output = output.and_then(|at| arguments.get_mut(at + 1));
    *output.context("no `-o FILE`")? = built.to_string_lossy().into_owned();
    let output = Command::new(driver)
        .args(&arguments)
        .current_dir(place.path())
        .output()
        .with_context(|| format!("the host has no {driver}"))?;
    Ok(Answer {
        status: output.status.code().unwrap_or(1),
        said: output.stderr,
        built: std::fs::read(&built).unwrap_or_default(),
    })
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
    fn only_compilers_are_run() {
        assert!(compile(&["sh".into(), "-o".into(), "x".into()]).is_err());
        assert!(compile(&["cc".into()]).is_err());
    }
}
