//! A server on this machine, which speaks the protocols and misbehaves.

use super::*;
use crate::reports::Labels;
use crate::reports::dataset::tests::run;
use crate::reports::pprof::tests::sums;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const SHORT: Patience = Patience {
    answer: Duration::from_secs(20),
    pause: Duration::from_millis(1),
    attempts: 3,
    most: Duration::from_millis(50),
};

/// What a server was asked.
struct Request {
    path: String,
    authorization: Option<String>,
    body: Value,
}

/// Answers as many requests as there are answers, then is away.
fn server(answers: &[&'static str]) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (tell, told) = channel();
    let answers = answers.to_vec();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().expect("a connection");
            let request = take(&stream).expect("a request");
            // The test may have seen enough.
            let _ = tell.send(request);
            let mut stream = &stream;
            let _ = write!(stream, "HTTP/1.1 {answer}\r\nConnection: close\r\n");
            let _ = write!(stream, "Content-Length: 5\r\n\r\nwhy\x1b!");
        }
    });
    (url, told)
}

fn take(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? <= 2 {
            break;
        }
        let (name, value) = header.trim().split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or_default(),
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body)?;
    Ok(Request {
        path,
        authorization,
        body,
    })
}

/// Puts as many runs as asked, begun one after the other, into a spool and sends them.
fn push(dir: &Path, url: &str, runs: u64) -> Sent {
    let server = Server::parse(url, None).expect("an address");
    let spool = Spool::open(dir, &server, None).expect("a spool");
    for number in 0..runs {
        assert_eq!(spool.put(&upload(&server, number)).expect("written"), 0);
    }
    spool.send(&server, SHORT).expect("read")
}

fn upload(server: &Server, number: u64) -> Upload {
    let mut input = run();
    input.run.mode = "heap".to_owned();
    input.run.began_unix_ns += number;
    let labels = Labels {
        commit: Some("abc".to_owned()),
        others: BTreeMap::from([("job".to_owned(), number.to_string())]),
    };
    Upload::of(&input, &labels, server).expect("an upload")
}

fn label<'a>(labels: &'a Value, name: &str) -> Option<&'a str> {
    let mut all = labels.as_array().expect("labels").iter();
    all.find(|label| label["name"] == name)?["value"].as_str()
}

#[test]
fn pyroscope_is_sent_the_profile_with_what_it_is_found_by() {
    let dir = tempfile::tempdir().expect("a folder");
    let (url, told) = server(&["200 OK"]);
    let sent = push(dir.path(), &url.replace("//", "//me:pass@"), 1);
    assert_eq!(
        sent,
        Sent {
            taken: 1,
            ..Sent::default()
        }
    );
    let request = told.recv().expect("a request");
    assert_eq!(request.path, "/push.v1.PusherService/Push");
    // base64 of me:pass
    assert_eq!(request.authorization.as_deref(), Some("Basic bWU6cGFzcw=="));
    let series = &request.body["series"][0];
    for (name, value) in [
        ("__name__", "tracer"),
        ("service_name", "a"),
        ("host", "node-1"),
        ("commit", "abc"),
        ("job", "0"),
    ] {
        assert_eq!(label(&series["labels"], name), Some(value), "{name}");
    }
    assert_eq!(label(&series["labels"], "kernel"), None, "it is not known");
    let profile = series["samples"][0]["rawProfile"]
        .as_str()
        .expect("a profile");
    let sums = sums(&STANDARD.decode(profile).expect("base64"));
    assert_eq!((sums["reserved bytes"], sums["resident bytes"]), (300, 90));
}

#[test]
fn parca_is_sent_it_in_its_own_form() {
    let dir = tempfile::tempdir().expect("a folder");
    let (url, told) = server(&["200 OK"]);
    let sent = push(dir.path(), &format!("parca+{url}/"), 1);
    assert_eq!(sent.taken, 1);
    let request = told.recv().expect("a request");
    assert_eq!(request.path, "/api/profiles/writeraw");
    let series = &request.body["series"][0];
    assert_eq!(label(&series["labels"]["labels"], "commit"), Some("abc"));
    let profile = series["samples"][0]["rawProfile"]
        .as_str()
        .expect("a profile");
    assert_eq!(
        sums(&STANDARD.decode(profile).expect("base64"))["leaked bytes"],
        11
    );
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let (url, told) = server(&["503 Busy", "429 Slow\r\nRetry-After: 0", "200 OK"]);
    assert_eq!(push(dir.path(), &url, 1).taken, 1);
    assert_eq!(told.iter().count(), 3);
}

#[test]
fn the_server_says_how_long_to_wait_within_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let (url, _told) = server(&["503 Busy\r\nRetry-After: 86400", "200 OK"]);
    let began = Instant::now();
    assert_eq!(push(dir.path(), &url, 1).taken, 1);
    assert!(began.elapsed() >= SHORT.most && began.elapsed() < SHORT.answer);
}

#[test]
fn what_a_server_that_is_away_has_not_taken_goes_the_next_time() {
    let dir = tempfile::tempdir().expect("a folder");
    // It takes one, then fails as often as it is asked, then is gone.
    let (url, told) = server(&["200 OK", "500 No", "500 No", "500 No"]);
    let sent = push(dir.path(), &url, 3);
    assert_eq!((sent.taken, sent.waiting), (1, 2));
    assert_eq!(
        sent.away.as_deref(),
        Some("answers 500 Internal Server Error: why\\u{1b}!")
    );
    assert_eq!(told.iter().count(), 4);
    let sent = push(dir.path(), &url, 0);
    assert_eq!((sent.taken, sent.waiting), (0, 2));
    assert!(sent.away.expect("a reason").contains("onnect"), "refused");
    // The same address again: what waits for it is sent, the oldest first, and once.
    let port = url.rsplit_once(':').expect("a port").1;
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"));
    let Ok(listener) = listener else {
        // Somebody else has been given the port.
        return;
    };
    let jobs = std::thread::spawn(move || {
        let one = || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let request = take(&stream).expect("a request");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .expect("taken");
            label(&request.body["series"][0]["labels"], "job").map(str::to_owned)
        };
        [one(), one()]
    });
    let sent = push(dir.path(), &url, 0);
    assert_eq!(
        sent,
        Sent {
            taken: 2,
            ..Sent::default()
        }
    );
    let jobs = jobs.join().expect("a server");
    assert_eq!(jobs.map(|job| job.expect("a label")), ["1", "2"]);
    assert_eq!(push(dir.path(), &url, 0), Sent::default());
}

#[test]
fn what_is_refused_is_told_and_does_not_stand_in_the_way() {
    let dir = tempfile::tempdir().expect("a folder");
    let (url, _told) = server(&["422 No", "200 OK"]);
    let sent = push(dir.path(), &url, 2);
    assert_eq!((sent.taken, sent.waiting, sent.refused.len()), (1, 0, 1));
    assert!(sent.refused[0].starts_with("answers 422"), "{sent:?}");
}

#[test]
fn where_nobody_is_let_in_all_of_it_waits() {
    for answer in [
        "401 Who",
        "404 Where",
        "301 There\r\nLocation: http://127.0.0.1:9/",
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let (url, _told) = server(&[answer]);
        let sent = push(dir.path(), &url, 2);
        assert_eq!((sent.taken, sent.waiting), (0, 2), "{answer}");
        assert!(
            sent.closed.is_some_and(|why| why.contains(&answer[..3])),
            "{answer}"
        );
    }
}

#[test]
fn the_oldest_is_given_up_where_there_is_no_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::parse("http://127.0.0.1:9", None).expect("an address");
    let one = upload(&server, 0).body.len() as u64;
    let spool = Spool::with_room(dir.path(), &server, None, 2 * one).expect("a spool");
    let put = |number| spool.put(&upload(&server, number)).expect("written");
    assert_eq!([put(1), put(2), put(2), put(3), put(0)], [0, 0, 0, 1, 1]);
    let waiting = spool.waiting().expect("names");
    assert_eq!(waiting.len(), 2);
    // The one that was put last was the oldest.
    let began =
        |name: &String| name[..20].parse::<u64>().expect("a time") - run().run.began_unix_ns;
    assert_eq!(waiting.iter().map(began).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn each_server_has_a_folder_of_its_own_and_passwords_are_in_none() {
    let dir = tempfile::tempdir().expect("a folder");
    for url in [
        "http://u:secret@127.0.0.1:9",
        "parca+http://127.0.0.1:9",
        "http://127.0.0.1:10",
    ] {
        let server = Server::parse(url, None).expect("an address");
        let spool = Spool::open(dir.path(), &server, None).expect("a spool");
        spool.put(&upload(&server, 0)).expect("written");
        let waiting = spool.waiting().expect("names");
        let body = spool.read(&waiting[0]).expect("read").expect("there");
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 3);
}

#[test]
fn profiles_wait_where_users_keep_such_things() {
    let at = |state: Option<&str>, home: Option<&str>| {
        default_dir(|name| match name {
            "XDG_STATE_HOME" => state.map(Into::into),
            _ => home.map(Into::into),
        })
    };
    assert_eq!(at(Some("/s"), Some("/h")), Some("/s/tracer/spool".into()));
    assert_eq!(
        at(Some("s"), Some("/h")),
        Some("/h/.local/state/tracer/spool".into())
    );
    assert_eq!(at(None, None), None);
}
