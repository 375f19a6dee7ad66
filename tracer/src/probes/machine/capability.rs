//! What `tracer doctor` says, a line a capability.

use super::degradation::Degradation;
use super::lack::{Kind, Lack, Name};

/// What was found of one capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// What it is.
    pub name: Name,
    /// Whether it is there.
    pub answer: Answer,
    /// How much of it, or of which kind.
    pub value: String,
    /// Why not, and the remedy.
    pub lack: Option<Lack>,
    /// What is less exact for it.
    pub degraded: Option<Degradation>,
}

/// Whether a capability is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is.
    Yes,
    /// It isn't, whoever asks.
    No,
    /// It can't be told, because the question was refused or failed.
    Error,
    /// Not asked, as something before is missing.
    Untried,
}

/// What it adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is exact.
    Complete,
    /// A trace works, and these things are less exact.
    Degraded(Vec<Degradation>),
    /// A trace is refused, or would be wrong: for want of this.
    Unable(Name),
}

impl Capability {
    /// It is there.
    #[must_use]
    pub fn yes(name: Name, value: impl Into<String>) -> Self {
        Self {
            name,
            answer: Answer::Yes,
            value: value.into(),
            lack: None,
            degraded: None,
        }
    }

    /// It is not, or can't be told.
    #[must_use]
    pub fn lacking(lack: Lack) -> Self {
        let answer = match lack.kind {
            Kind::Missing => Answer::No,
            Kind::Refused => Answer::Error,
        };
        Self {
            name: lack.name,
            answer,
            value: lack.what.clone(),
            lack: Some(lack),
            degraded: None,
        }
    }

    /// It was not asked for.
    #[must_use]
    pub fn untried(name: Name) -> Self {
        Self {
            answer: Answer::Untried,
            ..Self::yes(name, "not tried")
        }
    }

    /// It is there in a lesser form, or something else stands for it.
    #[must_use]
    pub fn but(self, degradation: Degradation) -> Self {
        Self {
            degraded: Some(degradation),
            ..self
        }
    }
}

/// A capability that is missing without anything that stands for it ends it.
#[must_use]
pub fn verdict(capabilities: &[Capability]) -> Verdict {
    let is_missing = |c: &&Capability| c.answer != Answer::Yes && c.degraded.is_none();
    if let Some(missing) = capabilities.iter().find(is_missing) {
        return Verdict::Unable(missing.name);
    }
    let degraded: Vec<_> = capabilities.iter().filter_map(|c| c.degraded).collect();
    match degraded.is_empty() {
        true => Verdict::Complete,
        false => Verdict::Degraded(degraded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::machine::Facts;
    use std::io;

    #[test]
    fn the_verdict_is_that_of_the_weakest() {
        let refused = io::Error::from_raw_os_error(libc::EPERM);
        let no_tracefs = Capability::lacking(Lack::no_rss_stat(&refused, &Facts::default()));
        assert_eq!(no_tracefs.answer, Answer::Error);
        let mut all = vec![Capability::yes(Name::Bpf, "")];
        assert_eq!(verdict(&all), Verdict::Complete);
        all.push(no_tracefs.clone().but(Degradation::NoRssStat));
        assert_eq!(
            verdict(&all),
            Verdict::Degraded(vec![Degradation::NoRssStat])
        );
        all.push(Capability::untried(Name::Heap));
        assert_eq!(verdict(&all), Verdict::Unable(Name::Heap));
        all.push(no_tracefs);
        all.swap(2, 3);
        assert_eq!(verdict(&all), Verdict::Unable(Name::RssStat));
    }
}
