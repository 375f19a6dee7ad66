//! Tables of large files, which are made on a thread of their own: no small file waits for one.

use crate::files::{Elf, Source};
use crate::tracee::priority::set_nice;
use crate::unwind::cache::table_of;
use crate::unwind::info::UnwindInfo;
use crate::unwind::known::file_of;
use crate::unwind::lookup::Lookup;
use crate::unwind::{Cache, Error, Known, Table};
use rustc_hash::FxHashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use tracer_ebpf::tables::FileKey;

/// A file whose table is wanted.
pub(super) struct Job {
    /// What the kernel knows it by.
    pub(super) key: FileKey,
    /// What `stat(2)` says of it.
    pub(super) own: FileKey,
    pub(super) path: PathBuf,
    pub(super) file: File,
}

/// What became of one.
pub(super) struct Done {
    pub(super) key: FileKey,
    pub(super) path: PathBuf,
    pub(super) built: Result<(FileKey, Table), Error>,
}

/// The thread, and the files that it has still to do.
#[derive(Default)]
pub(super) struct Large {
    thread: Option<(Sender<Job>, Receiver<Done>)>,
    under_way: FxHashSet<FileKey>,
}

impl Large {
    /// Whether a file's table is being made, or will be.
    pub(super) fn has(&self, key: &FileKey) -> bool {
        self.under_way.contains(key)
    }

    /// Has a table made. Gives the job back where no thread can be had.
    pub(super) fn push(&mut self, job: Job, cache: Option<&Cache>, known: &Known) -> Option<Job> {
        if self.thread.is_none() {
            self.thread = start(cache.cloned(), known.clone());
        }
        let Some((jobs, _)) = &self.thread else {
            return Some(job);
        };
        let key = job.key;
        match jobs.send(job) {
            Ok(()) => {
                self.under_way.insert(key);
                None
            }
            Err(refused) => Some(refused.0),
        }
    }

    /// Those that are done since the last call.
    pub(super) fn take(&mut self) -> Vec<Done> {
        let done: Vec<Done> = match &self.thread {
            Some((_, done)) => done.try_iter().collect(),
            None => Vec::new(),
        };
        for done in &done {
            self.under_way.remove(&done.key);
        }
        done
    }

    /// Waits for the next one; nothing once all are done.
    pub(super) fn wait(&mut self) -> Option<Done> {
        let (_, done) = self
            .thread
            .as_ref()
            .filter(|_| !self.under_way.is_empty())?;
        let done = done.recv().ok()?;
        self.under_way.remove(&done.key);
        Some(done)
    }
}

/// The thread ends when its queue does.
fn start(cache: Option<Cache>, known: Known) -> Option<(Sender<Job>, Receiver<Done>)> {
    let (send_job, jobs) = channel();
    let (send_done, done) = channel();
    let thread = std::thread::Builder::new().name("unwind-large".into());
    let work = move || {
        let mut waiting: Vec<Job> = Vec::new();
        while let Some(job) = next(&jobs, &mut waiting) {
            let built = make(&job, cache.as_ref(), &known);
            let Job { key, path, .. } = job;
            if send_done.send(Done { key, path, built }).is_err() {
                return;
            }
        }
    };
    thread.spawn(work).ok()?;
    Some((send_job, done))
}

/// The smallest of those that wait.
fn next(jobs: &Receiver<Job>, waiting: &mut Vec<Job>) -> Option<Job> {
    if waiting.is_empty() {
        waiting.push(jobs.recv().ok()?);
    }
    waiting.extend(jobs.try_iter());
    waiting.sort_unstable_by_key(|job| std::cmp::Reverse(job.own.size));
    waiting.pop()
}

/// A file's table; until it is there, stacks are walked by single rules.
fn make(job: &Job, cache: Option<&Cache>, known: &Known) -> Result<(FileKey, Table), Error> {
    set_nice(-5);
    let elf = Elf::parse(Source::of(job.file.try_clone()?)?)?;
    let image = UnwindInfo::of(&elf)?;
    if let Some(lookup) = Lookup::new(&image).map(Arc::new) {
        for key in [job.key, job.own] {
            known.look_up_meanwhile(file_of(&key), &lookup);
        }
    }
    // Stacks need not wait for it any more, and whoever walks them goes before it.
    set_nice(10);
    Ok((job.own, table_of(&image, cache)))
}
