//! Sending what waits, with as much patience as is reasonable.

use super::server::Server;
use super::spool::Spool;
use crate::reports::text::{cut, printable};
use std::io::{self, Read as _};
use std::time::Duration;
use ureq::http::StatusCode;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use ureq::tls::{RootCerts, TlsConfig};

/// Bytes of an answer that are looked at.
const ANSWER: u64 = 4096;

/// Characters of it that are told.
const TOLD: usize = 200;

/// How long a server is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one answer.
    pub answer: Duration,
    /// Before the second attempt; doubled before each further one.
    pub pause: Duration,
    /// Attempts.
    pub attempts: u32,
    /// A pause at most, whatever the server asks for.
    pub most: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(30),
            pause: Duration::from_millis(500),
            attempts: 5,
            most: Duration::from_secs(30),
        }
    }
}

/// What became of everything that waited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Profiles that the server has taken.
    pub taken: usize,
    /// Profiles that still wait.
    pub waiting: usize,
    /// Why, where another time may do.
    pub away: Option<String>,
    /// Why, where something has to change first: the address, or who asks.
    pub closed: Option<String>,
    /// What it refused for good, with its words: those wait no longer.
    pub refused: Vec<String>,
}

/// How an attempt ended.
enum Answer {
    Taken,
    /// Another time perhaps; after so long, if the server says it.
    Away(String, Option<Duration>),
    /// Never this one.
    Refused(String),
    /// None of them, as long as address and authorization are what they are.
    Closed(String),
}

impl Spool {
    /// Sends everything that waits, the oldest first, until the server is away.
    ///
    /// # Errors
    /// Where what waits can't be read or removed.
    pub fn send(&self, server: &Server, patience: Patience) -> io::Result<Sent> {
        let agent = agent(patience);
        let mut sent = Sent::default();
        let mut waiting = self.waiting()?.into_iter();
        while let Some(name) = waiting.next() {
            let Some(body) = self.read(&name)? else {
                continue;
            };
            match persist(&agent, server, &body, patience) {
                Answer::Taken => {
                    sent.taken += 1;
                    self.remove(&name)?;
                }
                Answer::Refused(why) => {
                    sent.refused.push(why);
                    self.remove(&name)?;
                }
                Answer::Away(why, _) => sent.away = Some(why),
                Answer::Closed(why) => sent.closed = Some(why),
            }
            if sent.away.is_some() || sent.closed.is_some() {
                sent.waiting = 1 + waiting.len();
                break;
            }
        }
        Ok(sent)
    }
}

/// Tries as often as patience allows.
fn persist(agent: &ureq::Agent, server: &Server, body: &[u8], patience: Patience) -> Answer {
    let mut pause = patience.pause;
    for _ in 1..patience.attempts {
        match attempt_once(agent, server, body) {
            Answer::Away(_, asked) => {
                std::thread::sleep(asked.unwrap_or(pause).min(patience.most));
                pause = pause.saturating_mul(2);
            }
            answer => return answer,
        }
    }
    attempt_once(agent, server, body)
}

fn attempt_once(agent: &ureq::Agent, server: &Server, body: &[u8]) -> Answer {
    let mut request = agent
        .post(server.address())
        .header(CONTENT_TYPE, "application/json");
    if let Some(authorization) = server.authorization() {
        request = request.header(AUTHORIZATION, authorization);
    }
    let mut response = match request.send(body) {
        Ok(response) => response,
        Err(error) => return Answer::Away(printable(&error.to_string()), None),
    };
    let status = response.status();
    if status.is_success() {
        return Answer::Taken;
    }
    let after = response.headers().get(RETRY_AFTER);
    let after = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let mut text = Vec::new();
    // What can't be read is not told: the status is.
    let _ = response
        .body_mut()
        .as_reader()
        .take(ANSWER)
        .read_to_end(&mut text);
    let text = cut(&printable(String::from_utf8_lossy(&text).trim()), TOLD);
    let why = match text.is_empty() {
        true => format!("answers {status}"),
        false => format!("answers {status}: {text}"),
    };
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Answer::Away(why, after.map(Duration::from_secs))
        }
        _ if status.is_server_error() => Answer::Away(why, after.map(Duration::from_secs)),
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Answer::Refused(why),
        _ => Answer::Closed(why),
    }
}

fn agent(patience: Patience) -> ureq::Agent {
    // Fails where one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let roots = RootCerts::PlatformVerifier;
    ureq::Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .http_status_as_error(false)
        // Where a profile goes is what the user named, and nowhere else.
        .max_redirects(0)
        .user_agent(concat!("tracer/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(patience.answer))
        .build()
        .new_agent()
}
