//! Runs for other programs: the tables of a dataset, the profiles of a server.

use crate::cli::{ExportArgs, Format};
use crate::results;
use crate::terminal::{say, warn};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use tracer::reports::push::{Patience, Server, Spool, Upload, default_dir};
use tracer::reports::{self, Concluded, Labels, Owner};

/// Variables in which runners tell the revision that they build: GitHub's and GitLab's.
const COMMITS: [&str; 2] = ["GITHUB_SHA", "CI_COMMIT_SHA"];

/// The variable that holds a bearer's token: a command line is everybody's to read.
const TOKEN: &str = "TRACER_PUSH_TOKEN";

/// Adds each recording to the dataset, and sends it to the server.
pub(crate) fn export(args: &ExportArgs) -> Result<u8> {
    let Format::Parquet = args.format;
    let told = || COMMITS.iter().find_map(|name| std::env::var(name).ok());
    let labels = Labels {
        commit: args.commit.clone().or_else(told),
        others: args.label.iter().cloned().collect(),
    };
    let mut push = Push::begin(args)?;
    for recording in args.recordings.iter().flat_map(|path| runs(path)) {
        let run = results::load(&results::recording_at(&recording), None, None)?;
        let what = || format!("can't export {}", recording.display());
        if let Some(dataset) = &args.dataset {
            reports::export(&run, &labels, dataset, Owner::from_sudo()).with_context(what)?;
        }
        if let Some(push) = &mut push {
            push.keep(&run, &labels).with_context(what)?;
        }
    }
    push.map_or(Ok(()), Push::finish)?;
    Ok(0)
}

/// Profiles on their way to a server.
struct Push {
    server: Server,
    spool: Spool,
    given_up: usize,
}

impl Push {
    fn begin(args: &ExportArgs) -> Result<Option<Self>> {
        let Some(url) = &args.push else {
            return Ok(None);
        };
        let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
        let server = Server::parse(url, token.as_deref())?;
        let dir = args.spool.clone();
        let dir = dir.or_else(|| default_dir(|name| std::env::var_os(name)));
        let dir = dir.context("no folder for profiles to wait in: name one by --spool")?;
        let spool = Spool::open(&dir, &server, Owner::from_sudo())?;
        Ok(Some(Self {
            server,
            spool,
            given_up: 0,
        }))
    }

    fn keep(&mut self, run: &Concluded, labels: &Labels) -> Result<()> {
        let upload = Upload::of(run, labels, &self.server)?;
        self.given_up += self.spool.put(&upload)?;
        Ok(())
    }

    fn finish(self) -> Result<()> {
        let server = &self.server;
        if self.given_up > 0 {
            warn(format_args!(
                "no room any more for {}, the oldest that waited for {server}; their recordings \
                 have what they had",
                profiles(self.given_up)
            ));
        }
        let sent = self.spool.send(server, Patience::default())?;
        let waiting = format!("{} for the next --push", profiles(sent.waiting));
        if sent.taken > 0 {
            say(format_args!(
                "tracer: {server} has taken {}",
                profiles(sent.taken)
            ));
        }
        if let Some(why) = &sent.away {
            warn(format_args!("{server}: {why}; kept {waiting}"));
        }
        if let Some(why) = &sent.closed {
            bail!("{server}: {why}; kept {waiting}");
        }
        match sent.refused.first() {
            Some(why) => bail!("{server}: {why}; refused {}", profiles(sent.refused.len())),
            None => Ok(()),
        }
    }
}

fn profiles(count: usize) -> String {
    match count {
        1 => "1 profile".to_owned(),
        _ => format!("{count} profiles"),
    }
}

/// The runs in a folder of several, else the one that it is.
fn runs(path: &Path) -> Vec<PathBuf> {
    let several = results::runs(path);
    match several.is_empty() {
        true => vec![path.to_owned()],
        false => several,
    }
}
