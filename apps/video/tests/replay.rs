//! Does another host, given the same input and the logged facts, send the same bytes?

mod support;

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use outlive::replication::Identity;
use outlive_video::http::date::FixedDate;
use outlive_video::server::{Config, Server};
use outlive_video::transport::Transport;
use outlive_video::{connection, media::Catalogue};
use parking_lot::Mutex;
use support::{config, content};
use tempfile::TempDir;

/// What a connection did.
#[derive(Debug, Default)]
struct Record {
    sent: Vec<u8>,
    /// Bytes at the beginning of that which were skipped and not made.
    skipped: u64,
    logged: Vec<Bytes>,
    points: usize,
    aborted: bool,
    unprotected: bool,
}

/// A transport that reads what it is given, in pieces, and keeps a record.
struct Tape {
    input: VecDeque<Bytes>,
    facts: VecDeque<Bytes>,
    delivered: u64,
    record: Arc<Mutex<Record>>,
}

impl Transport for Tape {
    async fn read(&mut self) -> io::Result<Bytes> {
        Ok(self.input.pop_front().unwrap_or_default())
    }

    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.record.lock().sent.extend_from_slice(&bytes);
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn abort(&mut self) {
        self.record.lock().aborted = true;
    }

    fn sleep(&self, _: Duration) -> impl Future<Output = ()> + Send + 'static {
        pending()
    }

    async fn decide(&mut self, value: Bytes) -> Bytes {
        let value = self.facts.pop_front().unwrap_or(value);
        self.record.lock().logged.push(value.clone());
        value
    }

    fn quiescent(&mut self) {
        self.record.lock().points += 1;
    }

    async fn skip(&mut self, _: Identity, range: Range<u64>) -> io::Result<u64> {
        let mut record = self.record.lock();
        let at = record.sent.len() as u64;
        let skipped = self
            .delivered
            .saturating_sub(at)
            .min(range.end - range.start);
        record.sent.resize((at + skipped) as usize, 0);
        record.skipped += skipped;
        Ok(skipped)
    }

    fn unprotect(&mut self) {
        self.record.lock().unprotected = true;
    }
}

struct Host {
    folder: TempDir,
    server: Arc<Server>,
}

/// A host with these films, at a date of its own: so are the times of its files.
fn host(films: &[(&str, &[u8])], date: u64) -> Host {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let usual = config(folder.path());
    for (name, bytes) in films {
        let path = usual.media.join(name);
        std::fs::write(&path, bytes).expect("written");
        let file = std::fs::File::options()
            .write(true)
            .open(path)
            .expect("opened");
        file.set_modified(time(date)).expect("set");
    }
    let config = Config {
        dates: Arc::new(FixedDate(time(date))),
        ..usual
    };
    Host {
        folder,
        server: Server::start(config).expect("a server"),
    }
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

async fn run(host: &Host, input: &[u8], piece: usize, facts: &[Bytes], delivered: u64) -> Record {
    let record = Arc::new(Mutex::new(Record::default()));
    let tape = Tape {
        input: input.chunks(piece).map(Bytes::copy_from_slice).collect(),
        facts: facts.iter().cloned().collect(),
        delivered,
        record: Arc::clone(&record),
    };
    let peer = ([127, 0, 0, 1], 1).into();
    connection::serve(tape, Arc::clone(&host.server), peer).await;
    std::mem::take(&mut record.lock())
}

fn get(path: &str, lines: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n").into()
}

fn put(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn another_host_repeats_a_connection_byte_for_byte() {
    let film = content(2_000_000);
    let films: &[(&str, &[u8])] = &[("a.mp4", &film), ("b.txt", b"short")];
    let first = host(films, 1_000_000_000);
    // Later, with other times of modification, one file more, and an upload that is there already.
    let second = host(&[films[0], films[1], ("new.mp4", b"x")], 1_700_000_000);
    std::fs::write(second.folder.path().join("uploads/up.bin"), b"old").expect("written");
    let input = [
        get("/a.mp4", ""),
        get("/a.mp4", "Range: bytes=100-299999\r\n"),
        get("/a.mp4", "Range: bytes=0-99,500000-999999\r\n"),
        get("/b.txt", ""),
        get(
            "/b.txt",
            "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n",
        ),
        get("/new.mp4", ""),
        get("/", ""),
        put("/sink/x", &film[..700_000]),
        put("/uploads/up.bin", &film[..900_000]),
        put("/uploads/up.bin", b"again"),
        get("/uploads/up.bin", ""),
    ]
    .concat();
    let original = run(&first, &input, 1000, &[], 0).await;
    let text = String::from_utf8_lossy(&original.sent);
    let statuses: Vec<&str> = text.matches("HTTP/1.1 ").collect();
    assert_eq!(statuses.len(), 11);
    for status in [" 206 ", " 304 ", " 404 ", " 201 "] {
        assert!(text.contains(status), "{status}");
    }
    for piece in [100_000, 17] {
        let repeated = run(&second, &input, piece, &original.logged, 0).await;
        assert!(repeated.sent == original.sent, "other bytes");
        assert_eq!(repeated.logged, original.logged);
        assert!(!repeated.aborted);
    }
    let upload = std::fs::read(second.folder.path().join("uploads/up.bin")).expect("read");
    assert_eq!(upload, b"again", "repeated twice, it had one effect");
    // Without the log it would have been another stream.
    let anew = run(&second, &input, 1000, &[], 0).await;
    assert!(anew.sent != original.sent);
}

#[tokio::test]
async fn what_the_client_has_is_not_made_again() {
    let film = content(30_000_000);
    let host = host(&[("a.mp4", &film)], 1_000_000_000);
    let input = get("/a.mp4", "");
    let whole = run(&host, &input, 1000, &[], 0).await;
    assert_eq!(whole.skipped, 0);
    for has in [0, 150, 1_000_001, 29_999_990, whole.sent.len() as u64] {
        let before = outlive_sent(&host);
        let rest = run(&host, &input, 1000, &whole.logged, has).await;
        let from = has as usize;
        assert!(
            rest.sent[from..] == whole.sent[from..],
            "other bytes behind {has}"
        );
        let made = outlive_sent(&host) - before;
        let missing = whole.sent.len() as u64 - has;
        assert!(
            made <= missing + (20 << 10),
            "{made} bytes made for {missing}"
        );
    }
}

/// Bytes that were made and handed to the transport.
fn outlive_sent(host: &Host) -> u64 {
    let sent = &host.server.statistics.bytes_sent;
    sent.load(std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test]
async fn other_content_under_the_same_name_breaks_the_connection() {
    let first = host(&[("a.mp4", &content(100_000))], 1);
    let second = host(&[("a.mp4", &content(100_001)[..100_000])], 1);
    let input = get("/a.mp4", "");
    let original = run(&first, &input, 1000, &[], 0).await;
    let repeated = run(&second, &input, 1000, &original.logged, 0).await;
    assert!(repeated.aborted && repeated.unprotected && repeated.sent.is_empty());
}

#[tokio::test]
async fn a_file_that_the_other_host_lacks_makes_its_connections_unprotected() {
    let film = content(1000);
    let first = host(&[("both.mp4", &film), ("only.mp4", &film)], 1);
    let second = host(&[("both.mp4", &film)], 2);
    let theirs = Catalogue::decode(&second.server.catalogue().await.encode()).expect("a list");
    assert_eq!(first.server.compare(Some(theirs)).await, 1);
    for (path, unprotected) in [("/both.mp4", false), ("/only.mp4", true), ("/none", false)] {
        let record = run(&first, &get(path, ""), 1000, &[], 0).await;
        assert_eq!(record.unprotected, unprotected, "{path}");
    }
    first.server.compare(None).await;
    let record = run(&first, &get("/only.mp4", ""), 1000, &[], 0).await;
    assert!(!record.unprotected, "alone, nothing is compared");
}

#[tokio::test]
async fn a_connection_can_be_continued_between_requests_and_not_within() {
    let host = host(&[("a.txt", b"text")], 1);
    let one = get("/a.txt", "");
    let pipelined = [&one[..], &one[..]].concat();
    let together = run(&host, &pipelined, pipelined.len(), &[], 0).await;
    assert_eq!(
        together.points, 1,
        "not while the next request is here already"
    );
    let apart = run(&host, &pipelined, one.len(), &[], 0).await;
    assert_eq!(apart.points, 2);
    assert!(apart.sent == together.sent);
}
