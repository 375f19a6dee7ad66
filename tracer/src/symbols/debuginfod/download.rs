//! One request, with an end to all that it may take.

use super::Limits;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};
use ureq::http::StatusCode;
use ureq::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use ureq::tls::{RootCerts, TlsConfig};

/// A server that is reached at all is reached sooner.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes that must come before `DEBUGINFOD_TIMEOUT` is over.
const FIRST: u64 = 100 << 10;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no such file")]
    Absent,
    #[error("answers with status {0}")]
    Status(u16),
    #[error("does not say how much it sends")]
    Endless,
    #[error("sends a file that is too large")]
    TooLarge,
    #[error("sends something else than the debug file that was asked for")]
    Wrong,
    #[error("{0}")]
    Connection(#[from] ureq::Error),
    #[error("stops in the middle: {0}")]
    Cut(std::io::Error),
    #[error("is too slow")]
    Slow,
    #[error("a debug file can't be kept: {0}")]
    NotKept(std::io::Error),
}

impl Failure {
    /// Whether the next request is likely to end in the same way.
    pub(super) fn is_of_the_server(&self) -> bool {
        matches!(self, Self::Connection(_) | Self::Cut(_) | Self::Slow)
    }
}

/// Connections, kept open between requests.
#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    limits: Limits,
}

impl Client {
    pub(super) fn new(limits: Limits) -> Self {
        // Fails where one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A server may be a company's own, with a certificate that this machine
        // trusts and the world does not.
        let roots = RootCerts::PlatformVerifier;
        let timeout = Some(limits.timeout);
        let config = ureq::Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .user_agent(concat!("tracer/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(limits.timeout.min(CONNECT)))
            .timeout_connect(Some(limits.timeout.min(CONNECT)))
            .timeout_recv_response(timeout)
            .timeout_per_read(timeout);
        Self {
            agent: config.build().new_agent(),
            limits,
        }
    }

    /// Gets a file, within so much time.
    pub(super) fn download(
        &self,
        url: &str,
        left: Duration,
        file: &mut File,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let request = self.agent.get(url).config();
        let whole = left.min(self.limits.most_time);
        let response = request.timeout_global(Some(whole)).build().call()?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Failure::Absent),
            status => return Err(Failure::Status(status.as_u16())),
        }
        // The end of anything else looks like a broken connection.
        let headers = response.headers();
        if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
            return Err(Failure::Endless);
        }
        let body = response.into_body();
        if body.content_length() > Some(self.limits.most_bytes) {
            return Err(Failure::TooLarge);
        }
        self.receive(&mut body.into_reader(), file, began)
    }

    fn receive(
        &self,
        body: &mut impl Read,
        file: &mut File,
        began: Instant,
    ) -> Result<(), Failure> {
        let mut buffer = vec![0; 64 << 10];
        let mut received = 0;
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Cut(error)),
            };
            received += count as u64;
            if received > self.limits.most_bytes {
                return Err(Failure::TooLarge);
            }
            if received < FIRST && began.elapsed() > self.limits.timeout {
                return Err(Failure::Slow);
            }
            file.write_all(&buffer[..count]).map_err(Failure::NotKept)?;
        }
    }
}
