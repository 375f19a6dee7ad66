//! The folder for the results.
//!
//! A run never writes over an earlier one: that moves to `previous/` in the same folder, and
//! only what was there is replaced. Files of the same names that are not this tool's are left
//! alone; the run is refused.

mod label;

pub(crate) use label::default_out_dir;

use crate::cli::Job;
use crate::terminal::{Summary, warn};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use tracer::recording::schema::Stream;
use tracer::reports::{self, Between, Concluded, Counted, LoadError, OutDir, Owner};
use tracer::tracee::Capabilities;

/// Where the last run is kept when another one takes its place.
const PREVIOUS: &str = "previous";

/// The folder of the recording.
const RECORDING: &str = "recording";

/// How the folders of several runs of one command begin, before a number.
const RUN: &str = "run-";

/// So much of `stats.json` is enough to know it.
const HEAD: usize = 256;

/// Makes the folder, and sees to it that files can be created in it, before anything runs.
/// Under sudo it belongs to the user who called it.
pub(crate) fn prepare(dir: &Path) -> Result<OutDir> {
    OutDir::create(dir, Owner::from_sudo()).with_context(|| {
        format!(
            "can't write results to {} (name another folder with -o)",
            dir.display()
        )
    })
}

/// Moves what an earlier run left in the folder to `previous/`, so that nothing of it can be
/// taken for a result of the run that begins, whatever becomes of that.
pub(crate) fn retire(dir: &Path) -> Result<()> {
    refuse_foreign(dir)?;
    let old = there(dir);
    if old.is_empty() {
        return Ok(());
    }
    let previous = dir.join(PREVIOUS);
    refuse_foreign(&previous)?;
    let known = there(&previous);
    let strange = entries(&previous)
        .into_iter()
        .find(|entry| !known.iter().any(|name| entry == name.as_str()));
    if let Some(strange) = strange {
        bail!(
            "{} would be replaced by the last run, and {} in it is not this tool's: name another \
             folder with -o",
            previous.display(),
            Path::new(&strange).display()
        );
    }
    let replace = || -> io::Result<()> {
        match std::fs::remove_dir_all(&previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir(&previous)?,
        }
        old.iter()
            .try_for_each(|name| std::fs::rename(dir.join(name), previous.join(name)))
    };
    as_owner(replace).with_context(|| format!("can't move the last run to {}", previous.display()))
}

/// Refuses a folder where somebody else's files have the names of results.
pub(crate) fn refuse_foreign(dir: &Path) -> Result<()> {
    let there = there(dir);
    let is_ours = |name: &&String| match name.as_str() {
        RECORDING => is_recording(&dir.join(name)),
        run if is_run_name(run) => {
            let run = dir.join(run);
            is_stats(&run.join("stats.json")) || is_recording(&run.join(RECORDING))
        }
        "stats.json" => is_stats(&dir.join(name)),
        // They can't be told from others' by themselves, but come with one of these.
        _ => is_stats(&dir.join("stats.json")) || is_recording(&dir.join(RECORDING)),
    };
    match there.iter().find(|name| !is_ours(name)) {
        None => Ok(()),
        Some(name) => bail!(
            "{} is not this tool's and would be replaced: name another folder with -o",
            dir.join(name).display()
        ),
    }
}

/// What the folder of one of several runs is called, from 1 on.
pub(crate) fn run_name(run: u32) -> String {
    format!("{RUN}{run}")
}

/// The folders of several runs of one command, in their order; none where there was one run.
pub(crate) fn runs(dir: &Path) -> Vec<PathBuf> {
    let paths = (1..).map(|run| dir.join(run_name(run)));
    paths.take_while(|path| path.is_dir()).collect()
}

fn is_run_name(name: &str) -> bool {
    let number = name.strip_prefix(RUN);
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// What runs have left in a folder, by name.
fn there(dir: &Path) -> Vec<String> {
    let known = names().into_iter().map(str::to_owned);
    let known = known.filter(|name| exists(&dir.join(name)));
    let entries = entries(dir)
        .into_iter()
        .filter_map(|e| e.into_string().ok());
    known
        .chain(entries.filter(|name| is_run_name(name)))
        .collect()
}

/// Everything that one run leaves in its folder.
fn names() -> Vec<&'static str> {
    let reports = reports::all();
    let reports = reports.iter().map(|report| report.file_name());
    reports.chain([RECORDING]).collect()
}

/// A link counts, wherever it leads.
fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

fn entries(dir: &Path) -> Vec<OsString> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    entries.flatten().map(|entry| entry.file_name()).collect()
}

/// A folder with nothing but streams in it; nothing at all where a run was killed early.
fn is_recording(dir: &Path) -> bool {
    let streams = Stream::ALL.map(Stream::file_name);
    let known = |entry: &OsString| streams.iter().any(|name| entry == name.as_str());
    std::fs::symlink_metadata(dir).is_ok_and(|found| found.is_dir())
        && entries(dir).iter().all(known)
}

fn is_stats(path: &Path) -> bool {
    use std::io::Read;
    let mut head = Vec::new();
    let is_file = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    let read = |head: &mut Vec<u8>| {
        let file = std::fs::File::open(path)?;
        file.take(HEAD as u64).read_to_end(head)
    };
    if !is_file || read(&mut head).is_err() {
        return false;
    }
    let head = String::from_utf8_lossy(&head);
    head.contains("\"schema_version\"") && head.contains("\"tracer_version\"")
}

/// As the user who called sudo; where he may not, as ourselves.
fn as_owner(act: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match Owner::from_sudo().map(|owner| owner.act(&act)) {
        Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => act(),
        Some(done) => done,
        None => act(),
    }
}

/// What it takes to write to the folder: to act as its owner, or, as root in a folder of
/// somebody else, to pass over its permissions.
pub(crate) fn capabilities(out: &OutDir) -> Capabilities {
    match (out.is_for_another(), out.is_ours()) {
        (true, _) => Capabilities::SETUID | Capabilities::SETGID,
        (false, true) => Capabilities::NONE,
        (false, false) => Capabilities::DAC_OVERRIDE,
    }
}

/// The folder of the recording within.
pub(crate) fn recording(out: &OutDir) -> PathBuf {
    out.path().join(RECORDING)
}

/// The recording that is meant by a path: itself, or the folder that a trace was given.
pub(crate) fn recording_at(path: &Path) -> PathBuf {
    let within = path.join(RECORDING);
    let events = Stream::Events.file_name();
    match !path.join(&events).exists() && within.join(&events).exists() {
        true => within,
        false => path.to_owned(),
    }
}

/// Writes every report of what a recording concludes, and the summary.
pub(crate) fn write(out: &OutDir, concluded: &Concluded, summary: &mut Summary) -> Result<()> {
    let files = reports::write_all(out, concluded)?;
    if summary.is_wanted() {
        let text = reports::summary(concluded, &files, summary.style());
        summary.write(&text)?;
    }
    Ok(())
}

/// Reads a recording, whose events may have been counted already; says so if it can be read in
/// part only.
pub(crate) fn load(
    dir: &Path,
    counted: Option<Counted>,
    between: Option<&Between>,
) -> Result<Concluded> {
    let concluded = match counted {
        Some(counted) => {
            Concluded::load_counted(dir, counted, &Job::naming()).map_err(LoadError::from)
        }
        None => Concluded::load(dir, between, &Job::naming()),
    };
    let concluded = concluded.with_context(|| match between {
        Some(_) => dir.display().to_string(),
        None => format!("{}: no recording", dir.display()),
    })?;
    if let Some(error) = &concluded.torn {
        warn(format_args!(
            "the recording can be read in part only: {error}"
        ));
    }
    Ok(concluded)
}

/// Removes the folder where there is nothing in it: nothing ran, and an empty one would look
/// like a result.
pub(crate) fn abandon(out: &OutDir) {
    // One that has something in it stays.
    let _ = out.act(|| std::fs::remove_dir(out.path()));
}

/// The words of a command, as text.
pub(crate) fn words(command: &[OsString]) -> Vec<String> {
    command
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const STATS: &str = "{\n  \"schema_version\": 1,\n  \"tracer_version\": \"0\"\n}";

    fn write(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn run(dir: &Path, mark: &str) {
        write(dir, "stats.json", &format!("{STATS}{mark}"));
        write(dir, "top.md", mark);
        write(dir, "recording/events.arrows", mark);
    }

    #[test]
    fn the_last_run_is_kept_and_the_one_before_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        write(path, "notes.txt", "mine");
        for mark in ["1", "2", "3"] {
            retire(path).unwrap();
            assert!(!path.join("stats.json").exists() && !path.join("recording").exists());
            run(path, mark);
        }
        let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
        assert_eq!(read("previous/top.md"), "2");
        assert_eq!(read("previous/recording/events.arrows"), "2");
        assert_eq!(read("notes.txt"), "mine");
        // A run that leaves nothing does not cost the last one.
        retire(path).unwrap();
        retire(path).unwrap();
        assert_eq!(read("previous/top.md"), "3");
    }

    #[test]
    fn files_of_others_are_refused_and_stay() {
        for (name, text) in [
            ("stats.json", "{\"cpu\": 3}"),
            ("top.md", "# Shopping\n"),
            ("recording/song.wav", "RIFF"),
            ("recording", "a file"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), name, text);
            let error = retire(dir.path()).unwrap_err().to_string();
            assert!(error.contains("is not this tool's"), "{error}");
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), text);
        }
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), "1");
        write(dir.path(), "previous/letter.txt", "dear");
        let error = retire(dir.path()).unwrap_err().to_string();
        assert!(error.contains("letter.txt"), "{error}");
        assert!(dir.path().join("previous/letter.txt").exists());
        assert!(dir.path().join("top.md").exists());
    }

    #[test]
    fn the_folder_of_a_trace_stands_for_its_recording() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), "1");
        let recording = dir.path().join("recording");
        assert_eq!(recording_at(dir.path()), recording);
        assert_eq!(recording_at(&recording), recording);
        let nowhere = Path::new("/no/such/folder");
        assert_eq!(recording_at(nowhere), nowhere);
    }
}
