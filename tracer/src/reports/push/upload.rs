//! What is sent: a profile with what it is found by.

use super::server::Server;
use crate::reports::pprof::pprof;
use crate::reports::{Concluded, Labels, dataset};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// A run as the body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// When it ran, since the Unix epoch in nanoseconds: what is older goes first.
    pub(super) began: u64,
    /// A name of its own, so that the same run is there once.
    pub(super) name: String,
    pub(super) body: Vec<u8>,
}

impl Upload {
    /// Makes it for a server.
    ///
    /// # Errors
    /// Where it can't be put into the form that the server takes.
    pub fn of(input: &Concluded, labels: &Labels, server: &Server) -> io::Result<Self> {
        let name = dataset::name(&input.run);
        let profile = pprof(input)?;
        Ok(Self {
            began: input.run.began_unix_ns,
            body: server.body(&tags(input, labels), &profile, &name)?,
            name,
        })
    }
}

/// What the profile is found by.
fn tags(input: &Concluded, labels: &Labels) -> BTreeMap<String, String> {
    let run = &input.run;
    let program = run.command.first().map(Path::new);
    let program = program.and_then(Path::file_name).unwrap_or_default();
    let service = program.to_string_lossy().into_owned();
    let told = [
        ("__name__", Some("tracer".to_owned())),
        ("service_name", Some(service)),
        ("host", run.host.clone()),
        ("kernel", Some(run.kernel_release.clone())),
        ("mode", Some(run.mode.clone())),
        ("commit", labels.commit.clone()),
    ];
    let told = told.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some((name.to_owned(), value))
    });
    // What the user says goes before.
    let given = labels.others.iter();
    told.chain(given.map(|(name, value)| (name.clone(), value.clone())))
        .collect()
}
