//! Which server, by which protocol, and what it is sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use ureq::http::Uri;

/// How a server is spoken to. Both take JSON with the profile in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// `push.v1.PusherService/Push`, by the Connect protocol.
    Pyroscope,
    /// `parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw`, by its gateway for HTTP.
    Parca,
}

/// A server of profiles.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    protocol: Protocol,
    /// The address without user and password, and without a slash at its end.
    base: String,
    /// What stands behind `Authorization:`.
    authorization: Option<String>,
}

/// An address that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address such as https://pyroscope.example.com or parca+https://parca.example.com"
)]
pub struct ServerError(String);

impl Server {
    /// From `https://host`, `pyroscope+https://host` or `parca+https://host`, with
    /// `user:password@` before the host where it wants them, and a path behind it where it is
    /// not at the root. `token` is a bearer's, which goes before those.
    ///
    /// # Errors
    /// [`ServerError`], which shows no password.
    pub fn parse(url: &str, token: Option<&str>) -> Result<Self, ServerError> {
        let (protocol, plain) = match url.split_once('+') {
            Some(("parca", rest)) => (Protocol::Parca, rest),
            Some(("pyroscope", rest)) => (Protocol::Pyroscope, rest),
            _ => (Protocol::Pyroscope, url),
        };
        let no = || {
            let shown = url.rsplit_once('@').map_or(url, |(_, host)| host);
            ServerError(shown.to_owned())
        };
        let uri: Uri = plain.parse().map_err(|_| no())?;
        let scheme = uri.scheme_str().filter(|s| matches!(*s, "http" | "https"));
        let (scheme, authority) = (scheme.ok_or_else(no)?, uri.authority().ok_or_else(no)?);
        let (user, host) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority.as_str()),
        };
        if host.is_empty() || uri.query().is_some() {
            return Err(no());
        }
        let basic = user.map(|user| format!("Basic {}", STANDARD.encode(decoded(user))));
        let bearer = token.map(|token| format!("Bearer {}", token.trim()));
        Ok(Self {
            protocol,
            base: format!("{scheme}://{host}{}", uri.path().trim_end_matches('/')),
            authorization: bearer.or(basic),
        })
    }

    /// Where profiles are sent.
    pub(super) fn address(&self) -> String {
        let path = match self.protocol {
            Protocol::Pyroscope => "push.v1.PusherService/Push",
            Protocol::Parca => "api/profiles/writeraw",
        };
        format!("{}/{path}", self.base)
    }

    /// What stands behind `Authorization:`.
    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// A name for a folder of what waits for it.
    pub(super) fn folder(&self) -> String {
        let digest = Sha256::digest(self.address());
        let hex = |text, byte| format!("{text}{byte:02x}");
        digest.iter().take(8).fold(String::new(), hex)
    }

    /// The body of a request.
    ///
    /// # Errors
    /// Where a tag has a name that no server of this kind takes.
    pub(super) fn body(
        &self,
        tags: &BTreeMap<String, String>,
        profile: &[u8],
        name: &str,
    ) -> io::Result<Vec<u8>> {
        if let Some(bad) = tags.keys().find(|name| !is_name(name)) {
            let text = format!("`{bad}` is no name of a label: letters, digits and _ alone");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let labels: Vec<Value> = tags
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        let profile = STANDARD.encode(profile);
        let series = match self.protocol {
            Protocol::Pyroscope => json!({
                "labels": labels,
                "samples": [{"ID": uuid(name), "rawProfile": profile}],
            }),
            Protocol::Parca => json!({
                "labels": {"labels": labels},
                "samples": [{"rawProfile": profile}],
            }),
        };
        Ok(json!({"series": [series]}).to_string().into_bytes())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what it is authorized by.
        f.debug_tuple("Server").field(&self.base).finish()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, as Prometheus has it.
fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

/// An id of the form that Pyroscope wants, made of a run's name: the same run has the same.
fn uuid(name: &str) -> String {
    let hex = |text, byte| format!("{text}{byte:02x}");
    let digest = Sha256::digest(name);
    let digits = digest.iter().take(16).fold(String::new(), hex);
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )
}

/// Percent-encoding undone (RFC 3986, 2.1).
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (String, Option<String>) {
        let server = Server::parse(url, None).expect(url);
        (server.address(), server.authorization)
    }

    #[test]
    fn an_address_says_the_protocol_the_place_and_who_asks() {
        let push = "push.v1.PusherService/Push";
        assert_eq!(
            parsed("http://a:4040"),
            (format!("http://a:4040/{push}"), None)
        );
        assert_eq!(parsed("https://a/b/").0, format!("https://a/b/{push}"));
        assert_eq!(parsed("pyroscope+https://a").0, format!("https://a/{push}"));
        let parca = parsed("parca+http://u:p%40s@[::1]:7070/x");
        assert_eq!(parca.0, "http://[::1]:7070/x/api/profiles/writeraw");
        // base64 of u:p@s
        assert_eq!(parca.1.as_deref(), Some("Basic dTpwQHM="));
        let token = Server::parse("http://u:p@a", Some("t\n")).expect("an address");
        assert_eq!(token.authorization(), Some("Bearer t"));
        assert_eq!(
            format!("{token} {token:?}"),
            "http://a Server(\"http://a\")"
        );
    }

    #[test]
    fn what_is_no_address_is_told_without_its_password() {
        for bad in [
            "",
            "a",
            "ftp://a",
            "http://",
            "http:///a",
            "http://a?b",
            "x+http://a",
            "/a b",
        ] {
            let error = Server::parse(bad, None).expect_err(bad).to_string();
            assert!(error.contains(&format!("`{bad}`")), "{error}");
        }
        let error = Server::parse("ftp://me:secret@a", None).expect_err("no scheme of ours");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn a_label_has_a_name_that_servers_take() {
        let server = Server::parse("http://a", None).expect("an address");
        for (name, is_taken) in [
            ("a_1", true),
            ("__name__", true),
            ("1", false),
            ("a-b", false),
            ("", false),
        ] {
            let tags = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
            assert_eq!(server.body(&tags, &[], "run").is_ok(), is_taken, "{name}");
        }
    }

    #[test]
    fn ids_have_the_form_of_ids() {
        let id = uuid("run");
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_ne!(id, uuid("another"));
    }
}
