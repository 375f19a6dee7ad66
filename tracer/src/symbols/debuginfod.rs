//! Debug files by build-id: out of the caches of debuginfod's clients (gdb,
//! elfutils), and from the servers that `DEBUGINFOD_URLS` names. Without that
//! variable no server is told what runs here.
//!
//! A server is somebody else's: each request has an end, all of them together
//! have one, and what is received is believed only if it is an ELF file of the
//! build-id that was asked for. Variables and folders mean what they mean to
//! elfutils: see debuginfod-client-config(7).

mod download;
mod store;
#[cfg(test)]
mod tests;

use super::debug_files::{self, DebugFiles};
use super::demangle::escape;
use crate::files::{BuildId, Elf};
use download::{Client, Failure};
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};
use store::Store;

/// How long servers are waited for, all requests together: a report should not
/// have to wait longer. What was fetched is kept, so the next run has more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a file if `DEBUGINFOD_MAXSIZE` does not say it: those of the largest
/// section that is read.
const MAX_SIZE: u64 = crate::files::source::PIECE;

/// What a download may cost.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// For all requests together.
    patience: Duration,
    /// To the first hundred kilobytes, and between two reads.
    timeout: Duration,
    /// For one file.
    most_time: Duration,
    /// Bytes of one file.
    most_bytes: u64,
}

impl Limits {
    /// From the environment. Zero and negative numbers mean no limit there; ours
    /// remain, and they are narrower than the 90 seconds that elfutils waits.
    fn read(variable: &impl Fn(&str) -> Option<OsString>) -> Self {
        let number = |name| {
            let number: i64 = variable(name)?.to_str()?.trim().parse().ok()?;
            u64::try_from(number).ok().filter(|&number| number > 0)
        };
        let time = |name| number(name).map_or(PATIENCE, |n| Duration::from_secs(n).min(PATIENCE));
        Self {
            patience: PATIENCE,
            timeout: time("DEBUGINFOD_TIMEOUT"),
            most_time: time("DEBUGINFOD_MAXTIME"),
            most_bytes: number("DEBUGINFOD_MAXSIZE").unwrap_or(MAX_SIZE),
        }
    }
}

/// Caches, and servers that still answer.
#[derive(Debug)]
pub(super) struct Debuginfod {
    store: Store,
    servers: Vec<String>,
    limits: Limits,
    client: Option<Client>,
    waited: Duration,
    not_asked: usize,
    warnings: Vec<String>,
}

impl DebugFiles for Debuginfod {
    fn open(&mut self, path: &Path) -> Option<Elf> {
        debug_files::open(path)
    }

    fn cached(&mut self, id: &BuildId) -> Option<Elf> {
        self.store.find(id)
    }

    /// What a server has is kept for the next time.
    fn fetch(&mut self, id: &BuildId) -> Option<Elf> {
        if self.servers.is_empty() || self.store.is_missing(id) {
            return None;
        }
        let began = Instant::now();
        let found = self.ask(id);
        self.waited += began.elapsed();
        found
    }
}

impl Debuginfod {
    /// As the environment says.
    pub(super) fn from_env() -> Self {
        let home = std::env::var_os("SUDO_USER").and_then(store::home_of);
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::new(
            variable("DEBUGINFOD_URLS"),
            Limits::read(&variable),
            Store::new(variable, home),
        )
    }

    /// Knows no folder and no server.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        let nothing = |_: &str| None;
        Self::new(None, Limits::read(&nothing), Store::new(nothing, None))
    }

    fn new(urls: Option<OsString>, limits: Limits, store: Store) -> Self {
        let urls = urls.and_then(|urls| urls.into_string().ok());
        // Tags of a policy may stand between the servers ("ima:enforcing").
        let is_server = |url: &&str| url.starts_with("http://") || url.starts_with("https://");
        let servers = urls.iter().flat_map(|urls| urls.split_whitespace());
        Self {
            store,
            servers: servers.filter(is_server).map(str::to_owned).collect(),
            limits,
            client: None,
            waited: Duration::ZERO,
            not_asked: 0,
            warnings: Vec::new(),
        }
    }

    /// How long servers were waited for.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// What went wrong, a line each.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        if self.not_asked > 0 {
            warnings.push(format!(
                "{} debug files were not asked for: servers had their {} s",
                self.not_asked,
                self.limits.patience.as_secs()
            ));
        }
        warnings
    }

    fn ask(&mut self, id: &BuildId) -> Option<Elf> {
        let began = Instant::now();
        let mut nobody_has_it = true;
        for server in self.servers.clone() {
            let left = self
                .limits
                .patience
                .checked_sub(self.waited + began.elapsed());
            let Some(left) = left.filter(|left| !left.is_zero()) else {
                self.not_asked += 1;
                return None;
            };
            match self.ask_one(&server, id, left) {
                Ok(elf) => return Some(elf),
                Err(Failure::Absent) => {}
                Err(failure) => {
                    nobody_has_it = false;
                    self.note(&server, &failure);
                }
            }
        }
        if nobody_has_it {
            self.store.mark_missing(id);
        }
        None
    }

    fn ask_one(&mut self, server: &str, id: &BuildId, left: Duration) -> Result<Elf, Failure> {
        let limits = self.limits;
        let client = self.client.get_or_insert_with(|| Client::new(limits));
        let url = format!("{}/buildid/{id}/debuginfo", server.trim_end_matches('/'));
        let mut file = self.store.begin().map_err(Failure::NotKept)?;
        client.download(&url, left, file.as_file_mut())?;
        let elf = store::open_file(file.as_file())
            .filter(|elf| elf.build_id().as_ref() == Some(id))
            .ok_or(Failure::Wrong)?;
        self.store.keep(file, id);
        Ok(elf)
    }

    /// A server that can't be reached, or stops in the middle, is not asked again.
    fn note(&mut self, server: &str, failure: &Failure) {
        let mut warning = format!("{}: {}", escape(server), escape(&failure.to_string()));
        if failure.is_of_the_server() {
            self.servers.retain(|other| other != server);
            warning.push_str("; not asked again");
        }
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}
