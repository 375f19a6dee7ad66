//! Names that come from a debuginfod server, and are there without it the next time.

use crate::harness::{Trace, build_dir, program, tracer};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// A server of one file; it knows what it was asked for.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(path: String, file: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let list = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let answered = stream.and_then(|stream| answer(stream, &path, &file));
                list.lock().expect("whole").extend(answered);
            }
        });
        Self { url, asked }
    }
}

fn answer(mut stream: TcpStream, path: &str, file: &[u8]) -> std::io::Result<String> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let asked = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let (status, body) = match asked == path {
        true => ("200 OK", file),
        false => ("404 Not Found", &[][..]),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)?;
    Ok(asked)
}

fn run_tool(command: &mut Command) {
    let status = command.status().expect("binutils are installed");
    assert!(status.success(), "{command:?}");
}

fn trace(program: &Path, cache: &Path, urls: &str) -> Trace {
    let (mut command, dir) = tracer(&[]);
    command
        .env("DEBUGINFOD_CACHE_PATH", cache)
        .env("DEBUGINFOD_URLS", urls)
        .arg("--")
        .arg(program)
        .arg("exit");
    let output = command.output().expect("tracer runs");
    Trace { dir, output }
}

/// Frames of the program, in all stacks of `stats.json`, that have a file and a line.
fn lines(run: &Trace) -> usize {
    let text = run.stats()["top_allocs"].to_string();
    text.matches("/ends.c:").count()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_stripped_program_has_names_and_lines_from_a_server() {
    let dir = tempfile::tempdir_in(build_dir()).expect("a folder");
    let cache = dir.path().join("cache");
    let (stripped, debug) = (dir.path().join("stripped"), dir.path().join("debug"));
    let full = program("ends", &["-Wl,--build-id=sha1"]);
    let mut objcopy = Command::new("objcopy");
    run_tool(objcopy.arg("--only-keep-debug").arg(&full).arg(&debug));
    run_tool(Command::new("strip").arg(&full).arg("-o").arg(&stripped));
    let file = std::fs::File::open(&stripped).expect("built");
    let id = tracer::files::open::build_id(&file).expect("a build-id");

    let without = trace(&stripped, &cache, "");
    assert_eq!(lines(&without), 0);
    assert!(!cache.exists(), "nothing was fetched");

    let path = format!("/buildid/{id}/debuginfo");
    let server = Server::start(path.clone(), std::fs::read(&debug).expect("made"));
    let fetched = trace(&stripped, &cache, &server.url);
    assert!(lines(&fetched) > 0, "{}", fetched.stats()["top_allocs"]);
    let asked = server.asked.lock().expect("whole").clone();
    assert_eq!(asked.iter().filter(|&asked| *asked == path).count(), 1);

    // A port that nobody listens to: the cache has it.
    let kept = trace(&stripped, &cache, "http://127.0.0.1:9");
    assert_eq!(lines(&kept), lines(&fetched));
}
