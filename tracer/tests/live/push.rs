//! Runs that are sent to a server of profiles, and wait where it is away.

use crate::harness::{program, trace};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn push(run: &Path, url: &str, spool: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    command
        .args(["export", "--push", url, "--spool"])
        .args([spool, run]);
    command.output().expect("tracer runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Takes one request and says that it was well.
fn take(listener: &TcpListener) -> (String, String) {
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut request = String::new();
    reader.read_line(&mut request).expect("a request");
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).expect("a header");
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(answer).expect("an answer");
    (request, String::from_utf8(body).expect("JSON"))
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_run_waits_for_a_server_that_is_away_and_goes_with_the_next() {
    let run = trace(&["-q"], &program("sites", &[]), &["4", "5"]);
    let spool = run.dir.path().join("spool");
    // A port that nobody listens on: it was ours a moment ago, and is kept by nobody.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://me:secret@{}",
        listener.local_addr().expect("an address")
    );
    drop(listener);
    let away = push(&run.out(), &url, &spool);
    assert_eq!(away.status.code(), Some(0), "{}", said(&away));
    assert!(
        said(&away).contains("kept 1 profile for the next --push"),
        "{}",
        said(&away)
    );
    assert!(!said(&away).contains("secret"), "{}", said(&away));

    let port = url.rsplit_once(':').expect("a port").1;
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the same port");
    let server = std::thread::spawn(move || take(&listener));
    let there = push(&run.out(), &url, &spool);
    assert_eq!(there.status.code(), Some(0), "{}", said(&there));
    assert!(
        said(&there).contains("has taken 1 profile"),
        "{}",
        said(&there)
    );
    let (request, body) = server.join().expect("a server");
    assert!(
        request.starts_with("POST /push.v1.PusherService/Push "),
        "{request}"
    );
    assert!(body.contains("\"rawProfile\""), "{body}");

    let bad = push(&run.out(), "gopher://x", &spool);
    assert_eq!(bad.status.code(), Some(125));
    assert!(
        said(&bad).contains("`gopher://x` is no address"),
        "{}",
        said(&bad)
    );
}
