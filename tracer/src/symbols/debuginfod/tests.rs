//! A client of servers that misbehave, each in its way.

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a server does with a connection, once it has read the request.
type Answer = fn(&mut TcpStream, &[u8]) -> std::io::Result<()>;

/// A server on this machine; it ends with the test.
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
                // The client may leave at any time.
                let _ = stream.and_then(|stream| serve(stream, answer));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, answer: Answer) -> std::io::Result<()> {
    let mut request = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    lines.read_line(&mut request)?;
    while lines.read_line(&mut String::new())? > 2 {}
    let right = request.starts_with(&format!("GET /buildid/{}/debuginfo ", id()));
    match right {
        true => answer(&mut stream, &debug_file()),
        false => absent(&mut stream, &[]),
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn debug_file() -> Vec<u8> {
    std::fs::read(fixture("inlined.debug")).expect("a fixture")
}

fn id() -> BuildId {
    let file = std::fs::File::open(fixture("inlined.debug")).expect("a fixture");
    crate::files::open::build_id(&file).expect("a build-id")
}

fn head(stream: &mut TcpStream, status: &str, headers: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n"
    )
}

fn with_length(stream: &mut TcpStream, length: usize) -> std::io::Result<()> {
    head(stream, "200 OK", &format!("Content-Length: {length}\r\n"))
}

fn whole(stream: &mut TcpStream, file: &[u8]) -> std::io::Result<()> {
    with_length(stream, file.len())?;
    stream.write_all(file)
}

fn in_chunks(stream: &mut TcpStream, file: &[u8]) -> std::io::Result<()> {
    head(stream, "200 OK", "Transfer-Encoding: chunked\r\n")?;
    for chunk in file.chunks(1000) {
        write!(stream, "{:x}\r\n", chunk.len())?;
        stream.write_all(chunk)?;
        stream.write_all(b"\r\n")?;
    }
    stream.write_all(b"0\r\n\r\n")
}

fn absent(stream: &mut TcpStream, _: &[u8]) -> std::io::Result<()> {
    head(stream, "404 Not Found", "Content-Length: 0\r\n")
}

fn broken(stream: &mut TcpStream, _: &[u8]) -> std::io::Result<()> {
    head(stream, "500 Internal Server Error", "Content-Length: 0\r\n")
}

/// The right bytes but for one in the build-id.
fn another_id(stream: &mut TcpStream, file: &[u8]) -> std::io::Result<()> {
    let mut file = file.to_vec();
    let note = b"GNU\0";
    let at = file.windows(4).position(|window| window == note);
    file[at.expect("a note") + 4] ^= 1;
    whole(stream, &file)
}

fn no_elf(stream: &mut TcpStream, _: &[u8]) -> std::io::Result<()> {
    whole(stream, b"<html>please log in</html>")
}

fn endless(stream: &mut TcpStream, file: &[u8]) -> std::io::Result<()> {
    head(stream, "200 OK", "Transfer-Encoding: chunked\r\n")?;
    loop {
        write!(stream, "{:x}\r\n", file.len())?;
        stream.write_all(file)?;
        stream.write_all(b"\r\n")?;
    }
}

fn too_large(stream: &mut TcpStream, _: &[u8]) -> std::io::Result<()> {
    with_length(stream, 1 << 40)
}

/// Says nothing until the client leaves.
fn silent(stream: &mut TcpStream, _: &[u8]) -> std::io::Result<()> {
    std::io::copy(stream, &mut std::io::sink()).map(drop)
}

fn stalled(stream: &mut TcpStream, file: &[u8]) -> std::io::Result<()> {
    with_length(stream, file.len())?;
    stream.write_all(&file[..file.len() / 2])?;
    silent(stream, file)
}

/// A byte now and then: never late for a read, and never done.
fn dripping(stream: &mut TcpStream, file: &[u8]) -> std::io::Result<()> {
    with_length(stream, file.len())?;
    for byte in file {
        stream.write_all(&[*byte])?;
        std::thread::sleep(SHORT / 20);
    }
    Ok(())
}

fn cut_off(stream: &mut TcpStream, file: &[u8]) -> std::io::Result<()> {
    with_length(stream, file.len())?;
    stream.write_all(&file[..file.len() - 1])
}

/// A whole file, but who could know?
fn without_length(stream: &mut TcpStream, file: &[u8]) -> std::io::Result<()> {
    head(stream, "200 OK", "")?;
    stream.write_all(file)
}

const SHORT: Duration = Duration::from_millis(400);

const LIMITS: Limits = Limits {
    patience: PATIENCE,
    timeout: PATIENCE,
    most_time: PATIENCE,
    most_bytes: 1 << 20,
};

fn client(urls: &str, limits: Limits, cache: &Path) -> Debuginfod {
    let folder = |name: &str| (name == "DEBUGINFOD_CACHE_PATH").then(|| cache.into());
    Debuginfod::new(Some(urls.into()), limits, Store::new(folder, None))
}

/// Files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let below = |path: PathBuf| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    };
    paths.flat_map(below).collect()
}

#[test]
fn a_file_is_fetched_once_and_kept() {
    for answer in [whole as Answer, in_chunks] {
        let dir = tempfile::tempdir().expect("a folder");
        let server = Server::start(answer);
        // A slash more or less, and a policy's tag, are no matter.
        let urls = format!("ima:ignore  {}/ ", server.url);
        let mut client = client(&urls, LIMITS, &dir.path().join("cache"));
        let found = client.fetch(&id()).expect("a file");
        assert_eq!(found.build_id(), Some(id()));
        assert!(found.section(".debug_info").is_some());
        let place = dir
            .path()
            .join("cache")
            .join(id().as_str())
            .join("debuginfo");
        assert_eq!(files(dir.path()), std::slice::from_ref(&place));
        assert_eq!(std::fs::read(place).expect("kept"), debug_file());
        assert!(client.cached(&id()).is_some());
        assert_eq!(client.warnings(), [""; 0]);
        assert_eq!(server.asked(), 1);
    }
}

#[test]
fn the_next_server_is_asked_where_one_has_it_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let (first, second) = (Server::start(absent), Server::start(whole));
    let urls = format!("{} {}", first.url, second.url);
    let mut client = client(&urls, LIMITS, dir.path());
    assert!(client.fetch(&id()).is_some());
    assert_eq!((first.asked(), second.asked()), (1, 1));
}

#[test]
fn what_no_server_has_is_not_asked_for_again_for_a_while() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(absent);
    for _ in 0..2 {
        // Two runs.
        let mut client = client(&server.url, LIMITS, dir.path());
        assert!(client.fetch(&id()).is_none());
        assert!(client.cached(&id()).is_none());
        assert_eq!(client.warnings(), [""; 0], "no fault of anybody");
    }
    assert_eq!(server.asked(), 1);
    // As elfutils marks it; ten minutes later the mark says nothing.
    let mark = dir.path().join(id().as_str()).join("debuginfo");
    let file = std::fs::File::options().write(true).open(&mark);
    let file = file.expect("a mark");
    assert_eq!(file.metadata().expect("known").len(), 0);
    let before = std::time::SystemTime::now() - Duration::from_secs(601);
    file.set_modified(before).expect("older");
    assert!(
        client(&server.url, LIMITS, dir.path())
            .fetch(&id())
            .is_none()
    );
    assert_eq!(server.asked(), 2);
}

/// Asks twice; nothing may come of it, nor be left. How often the server was asked, and the warnings.
fn fails(answer: Answer, limits: Limits) -> (usize, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(answer);
    let mut client = client(&server.url, limits, dir.path());
    assert!(client.fetch(&id()).is_none());
    assert!(client.fetch(&id()).is_none());
    assert_eq!(files(dir.path()), [""; 0].map(PathBuf::from));
    let warnings = client.warnings().join("\n");
    let of_server = warnings.replace(&server.url, "SERVER");
    (server.asked(), of_server)
}

#[test]
fn what_is_not_the_file_is_not_believed() {
    let wrong = "SERVER: sends something else than the debug file that was asked for";
    let large = "SERVER: sends a file that is too large";
    let cases: [(Answer, &str); 6] = [
        (another_id, wrong),
        (no_elf, wrong),
        (endless, large),
        (too_large, large),
        (without_length, "SERVER: does not say how much it sends"),
        (broken, "SERVER: answers with status 500"),
    ];
    for (answer, warning) in cases {
        assert_eq!(fails(answer, LIMITS), (2, warning.to_owned()));
    }
}

#[test]
fn a_server_that_stops_in_the_middle_is_not_asked_again() {
    let (asked, warning) = fails(cut_off, LIMITS);
    assert_eq!(asked, 1);
    assert!(
        warning.starts_with("SERVER: stops in the middle: "),
        "{warning}"
    );
    assert!(warning.ends_with("; not asked again"), "{warning}");
}

#[test]
fn a_server_that_lets_us_wait_is_not_asked_again() {
    let limits = Limits {
        timeout: SHORT,
        ..LIMITS
    };
    for answer in [silent as Answer, stalled, dripping] {
        let began = Instant::now();
        let (asked, warning) = fails(answer, limits);
        assert_eq!(asked, 1, "{warning}");
        assert!(warning.ends_with("; not asked again"), "{warning}");
        assert!(began.elapsed() >= SHORT);
        assert!(began.elapsed() < PATIENCE / 2, "{warning}");
    }
}

#[test]
fn a_server_that_is_not_there_is_not_asked_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let dead = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let server = Server::start(whole);
    let mut client = client(&format!("{dead} {}", server.url), LIMITS, dir.path());
    assert!(client.fetch(&id()).is_some());
    assert_eq!(client.servers, [server.url]);
    assert_eq!(client.warnings().len(), 1);
}

#[test]
fn all_requests_together_have_an_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let (slow, server) = (Server::start(silent), Server::start(whole));
    let limits = Limits {
        patience: SHORT,
        ..LIMITS
    };
    let urls = format!("{} {}", slow.url, server.url);
    let mut client = client(&urls, limits, dir.path());
    assert!(client.fetch(&id()).is_none());
    assert!(client.fetch(&id()).is_none());
    assert!(client.waited() >= SHORT);
    assert_eq!((slow.asked(), server.asked()), (1, 0));
    let warnings = client.warnings();
    assert!(
        warnings[1].starts_with("2 debug files were not asked for"),
        "{warnings:?}"
    );
}

#[test]
fn without_a_folder_of_ours_a_file_serves_this_run_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(whole);
    let nowhere = dir.path().join("file/cache");
    std::fs::write(dir.path().join("file"), "no folder").expect("written");
    let mut client = client(&server.url, LIMITS, &nowhere);
    let found = client.fetch(&id()).expect("a file");
    assert!(found.section(".debug_info").is_some());
    assert!(client.cached(&id()).is_none());
    assert_eq!(files(dir.path()), [dir.path().join("file")]);
}

#[test]
fn limits_are_those_of_the_environment() {
    let read = |timeout: &str, size: &str| {
        let variable = |name: &str| match name {
            "DEBUGINFOD_TIMEOUT" => Some(timeout.into()),
            "DEBUGINFOD_MAXSIZE" => Some(size.into()),
            _ => None,
        };
        let limits = Limits::read(&variable);
        (limits.timeout, limits.most_bytes)
    };
    assert_eq!(read("7", "1000"), (Duration::from_secs(7), 1000));
    assert_eq!(read("0", "0"), (PATIENCE, MAX_SIZE), "no limit of theirs");
    assert_eq!(read("-1", "-1"), (PATIENCE, MAX_SIZE));
    assert_eq!(read("soon", ""), (PATIENCE, MAX_SIZE));
    assert_eq!(read("9223372036854775807", "7"), (PATIENCE, 7));
    let none = Limits::read(&|_: &str| None);
    assert_eq!((none.timeout, none.most_bytes), (PATIENCE, MAX_SIZE));
}
