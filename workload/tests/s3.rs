//! The same fetch over S3, from a server on loopback; and what happens when it goes away.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{census_of, python, script, workload};
use workload::census::Shape;

/// A fetch of few cells.
const URETER: [&str; 2] = ["-t", "ureter"];

/// An S3 server that ends with its input, and a proxy before it that breaks on demand.
struct Server {
    child: Child,
    answers: BufReader<ChildStdout>,
    port: u64,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let mut child = Command::new(python())
            .arg(script("s3.py"))
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python starts");
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        let mut server = Self {
            child,
            answers,
            port: 0,
        };
        server.port = server.answer().as_u64().expect("a port");
        server
    }

    fn answer(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, command: &str) -> serde_json::Value {
        let input = self.child.stdin.as_mut().expect("its input");
        writeln!(input, "{command}").expect("it listens");
        self.answer()
    }

    /// Fetches ureter through the proxy.
    fn fetch(&self, out: &Path) -> Output {
        self.fetch_what(&URETER, out)
    }

    /// Fetches through the proxy.
    fn fetch_what(&self, what: &[&str], out: &Path) -> Output {
        let endpoint = format!("vfs.s3.endpoint_override=127.0.0.1:{}", self.port);
        let settings = [
            &endpoint,
            "vfs.s3.scheme=http",
            "vfs.s3.use_virtual_addressing=false",
            "vfs.s3.connect_max_tries=2",
            "vfs.s3.connect_timeout_ms=1000",
            "vfs.s3.request_timeout_ms=1000",
        ];
        let settings = settings.iter().flat_map(|setting| ["--config", setting]);
        let out = out.to_str().expect("UTF-8");
        let fetch = ["--uri", "s3://census/census", "-B", "10M", "-o", out];
        let what = what.iter().copied();
        workload(fetch.into_iter().chain(what).chain(settings))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends by itself at the end of its input; if not, its end doesn't matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
#[ignore = "needs libtiledb and TileDB-SOMA: cargo xtask test"]
fn s3_gives_what_the_disk_gives_or_an_error_and_no_file() {
    let (directory, path) = census_of(20_000, Shape::Scattered);
    let mut server = Server::start(&path);
    let at = |name: &str| directory.path().join(name);

    let disk = ["--uri", text(&path), "-o", text(&at("disk"))].map(str::to_owned);
    let what = URETER.map(str::to_owned);
    assert!(workload(disk.into_iter().chain(what)).status.success());
    server.ask("heal");
    let output = server.fetch(&at("s3"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(server.ask("soma"), 2_390);
    server.ask("heal");
    let output = server.fetch(&at("s3"));
    assert!(output.status.success());
    let whole = server.ask("count").as_u64().expect("bytes");
    for name in ["obs.feather", "obs.joinids.feather"] {
        let read = |from: &str| fs::read(at(from).join(name)).expect("a file");
        assert!(read("s3") == read("disk"), "{name} differs");
    }

    // Other cells, and genes.
    for (what, file) in [(&["-t", "lung"][..], "obs"), (&["-V"], "var")] {
        let (disk, s3) = (at(&format!("{file}-disk")), at(&format!("{file}-s3")));
        let local = ["--uri", text(&path), "-o", text(&disk)];
        assert!(workload(local.iter().chain(what)).status.success());
        assert!(server.fetch_what(what, &s3).status.success());
        let read = |from: &Path| fs::read(from.join(format!("{file}.feather"))).expect("a file");
        assert!(read(&s3) == read(&disk), "{file} of {what:?} differs");
    }

    // The server is cut off, or goes silent, at the beginning, in the middle, and near the end.
    for (how, bytes) in [
        ("cut", 0),
        ("cut", whole / 2),
        ("cut", whole * 9 / 10),
        ("stall", whole / 2),
    ] {
        server.ask(&format!("{how} {bytes}"));
        let (out, start) = (at(&format!("{how}-{bytes}")), Instant::now());
        let output = server.fetch(&out);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{how} after {bytes} of {whole}: {said}"
        );
        assert!(said.starts_with("error: "), "{said}");
        assert!(names(&out).is_empty(), "{:?}", names(&out));
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "{how}: {:?}",
            start.elapsed()
        );
    }
    server.ask("heal");
    assert!(server.fetch(&at("again")).status.success());
}
