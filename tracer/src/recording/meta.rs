//! What a recording says about itself, in the schema metadata of every stream.

use super::Limits;
use super::schema::{self, Stream};
use crate::events::Degraded;
use crate::units::{Nanos, Pid};
use arrow::datatypes::Schema;
use std::collections::HashMap;

/// Facts about the run, the same in every stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Version of the tracer that wrote it.
    pub tracer_version: String,
    /// `uname -r`
    pub kernel_release: String,
    /// `uname -m`
    pub machine: String,
    /// `uname -n`; unknown in recordings of before 0.2.
    pub host: Option<String>,
    /// Bytes of a page.
    pub page_size: u64,
    /// Number of CPUs online.
    pub cpus: u32,
    /// `CLOCK_MONOTONIC` when recording began: the anchor of every `time_ns`.
    pub started: Nanos,
    /// Nanoseconds since the Unix epoch at that same moment.
    pub started_unix_ns: u64,
    /// What was traced: `heap` or `pages`.
    pub mode: String,
    /// The command and its arguments; empty where a running process was attached to.
    pub command: Vec<String>,
    /// The first process, where it was known when recording began.
    pub root: Option<Pid>,
    /// What was less exact on that machine; empty in recordings of before 0.2, which did not
    /// begin where anything was.
    pub degraded: Vec<Degraded>,
    /// Limits of memory that it ran under; known at its end.
    pub limits: Option<Limits>,
}

impl Meta {
    /// Facts about this machine and this moment.
    #[must_use]
    pub fn here(mode: &str, command: Vec<String>, root: Option<Pid>) -> Self {
        let uname = nix::sys::utsname::uname().ok();
        let name = |field: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
            uname
                .as_ref()
                .map(|u| field(u).to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        // SAFETY: sysconf takes a number and returns one.
        let page_size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            tracer_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel_release: name(|u| u.release()),
            machine: name(|u| u.machine()),
            host: Some(name(|u| u.nodename())).filter(|name| !name.is_empty()),
            page_size: u64::try_from(page_size).unwrap_or(4096),
            cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
            started: Nanos::now(),
            started_unix_ns: unix.map_or(0, |t| t.as_nanos() as u64),
            mode: mode.to_owned(),
            command,
            root,
            degraded: Vec::new(),
            limits: None,
        }
    }

    /// As schema metadata.
    pub(super) fn to_metadata(&self) -> HashMap<String, String> {
        let mut map = HashMap::from([
            (schema::META_VERSION, schema::VERSION.to_string()),
            (schema::META_TRACER, self.tracer_version.clone()),
            (schema::META_KERNEL, self.kernel_release.clone()),
            (schema::META_MACHINE, self.machine.clone()),
            (schema::META_PAGE_SIZE, self.page_size.to_string()),
            (schema::META_CPUS, self.cpus.to_string()),
            (schema::META_CLOCK, schema::CLOCK.to_owned()),
            (schema::META_STARTED, self.started.0.to_string()),
            (schema::META_STARTED_UNIX, self.started_unix_ns.to_string()),
            (schema::META_MODE, self.mode.clone()),
            (
                schema::META_COMMAND,
                serde_json::Value::from(self.command.clone()).to_string(),
            ),
        ]);
        if let Ok(degraded) = serde_json::to_string(&self.degraded) {
            map.insert(schema::META_DEGRADED, degraded);
        }
        if let Some(host) = &self.host {
            map.insert(schema::META_HOST, host.clone());
        }
        if let Some(root) = self.root {
            map.insert(schema::META_ROOT, root.0.to_string());
        }
        if let Some(limits) = self.limits.as_ref().map(serde_json::to_string)
            && let Ok(limits) = limits
        {
            map.insert(schema::META_LIMITS, limits);
        }
        map.into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    /// Columns of a stream and what the recording says about itself.
    pub(super) fn schema(&self, stream: Stream) -> Schema {
        Schema::new_with_metadata(stream.fields(), self.to_metadata())
    }

    /// From schema metadata; the error names the entry that is missing or senseless.
    pub(super) fn from_schema(schema: &Schema) -> Result<Self, String> {
        let text = |key: &str| {
            schema
                .metadata()
                .get(key)
                .map(ToString::to_string)
                .ok_or_else(|| format!("no metadata {key:?}"))
        };
        let number = |key: &str| {
            let text = text(key)?;
            text.parse::<u64>()
                .map_err(|_| format!("metadata {key:?} is {text:?}, not a number"))
        };
        let page_size = number(schema::META_PAGE_SIZE)?;
        if !page_size.is_power_of_two() || !(512..=1 << 30).contains(&page_size) {
            return Err(format!("a page size of {page_size}"));
        }
        let command = text(schema::META_COMMAND)?;
        Ok(Self {
            tracer_version: text(schema::META_TRACER)?,
            kernel_release: text(schema::META_KERNEL)?,
            machine: text(schema::META_MACHINE)?,
            host: text(schema::META_HOST).ok(),
            page_size,
            cpus: u32::try_from(number(schema::META_CPUS)?).map_err(|_| "too many CPUs")?,
            started: Nanos(number(schema::META_STARTED)?),
            started_unix_ns: number(schema::META_STARTED_UNIX)?,
            mode: text(schema::META_MODE)?,
            command: serde_json::from_str(&command)
                .map_err(|_| format!("the command {command:?} is no JSON list of strings"))?,
            degraded: match text(schema::META_DEGRADED) {
                Err(_) => Vec::new(),
                Ok(list) => serde_json::from_str(&list)
                    .map_err(|_| format!("the degradations {list:?} are no JSON list of them"))?,
            },
            root: match text(schema::META_ROOT) {
                Err(_) => None,
                Ok(pid) => Some(Pid(pid
                    .parse()
                    .map_err(|_| format!("the root process {pid:?}"))?)),
            },
            limits: match text(schema::META_LIMITS) {
                Err(_) => None,
                Ok(limits) => Some(
                    serde_json::from_str(&limits)
                        .map_err(|_| format!("the limits of memory {limits:?}"))?,
                ),
            },
        })
    }
}
