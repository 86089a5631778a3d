//! Files that change while they are served: that response ends, short of its length, and nothing else.

mod support;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use outlive_video::connection;
use outlive_video::server::Server;
use outlive_video::transport::Transport;
use support::{Site, config, content};
use tokio::sync::mpsc;

const LENGTH: usize = 48 << 20;

/// Changes a film after its response has begun, and returns what the client got of it.
async fn change_while_served(
    change: impl FnOnce(&std::path::Path),
) -> (Site, Vec<u8>, io::Result<()>) {
    let site = Site::start().await;
    site.film("film.mp4", LENGTH);
    site.film("other.mp4", 3_000_000);
    let mut client = site.client().await;
    client
        .send("GET /film.mp4 HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    client
        .stream
        .readable()
        .await
        .expect("the response has begun");
    change(&site.path("film.mp4"));
    let (mut received, end) = client.rest().await;
    let head_end = received
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head")
        + 4;
    received.drain(..head_end);
    assert_eq!(
        site.get("/other.mp4", "").await.body.len(),
        3_000_000,
        "others go on"
    );
    (site, received, end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncation_ends_the_response_short() {
    let (site, received, end) = change_while_served(|path| {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .expect("opened");
        file.set_len(1_000_001).expect("truncated");
    })
    .await;
    assert!(
        received.len() < LENGTH && end.is_err(),
        "aborted after {}",
        received.len()
    );
    assert_eq!(site.server.statistics.aborted_changed_file.load(Relaxed), 1);
    let again = site.get("/film.mp4", "").await;
    assert!(
        again.body == content(LENGTH)[..1_000_001],
        "the new version is served"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_in_place_ends_the_response_short() {
    let (site, received, end) = change_while_served(|path| {
        use std::os::unix::fs::FileExt;
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .expect("opened");
        file.write_all_at(b"changed", LENGTH as u64 - 7)
            .expect("written");
    })
    .await;
    assert!(received.len() < LENGTH && end.is_err());
    assert_eq!(site.server.statistics.aborted_changed_file.load(Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_file_is_served_as_it_was() {
    let (site, received, _) = {
        let site = Site::start().await;
        let film = site.film("film.mp4", LENGTH);
        std::fs::write(site.path("new.mp4"), "new").expect("written");
        let mut client = site.client().await;
        client
            .send("GET /film.mp4 HTTP/1.1\r\nHost: test\r\n\r\n")
            .await;
        client
            .stream
            .readable()
            .await
            .expect("the response has begun");
        std::fs::rename(site.path("new.mp4"), site.path("film.mp4")).expect("replaced");
        let reply = client.reply(false).await;
        (site, reply.body == film, ())
    };
    assert!(received, "the old version, whole");
    assert_eq!(site.get("/film.mp4", "").await.body, b"new");
}

/// A transport that holds on to what it is given, as a stack does until it is acknowledged.
struct Holding {
    requests: VecDeque<Bytes>,
    events: mpsc::UnboundedSender<Seen>,
}

#[derive(Debug)]
enum Seen {
    Sent(Bytes),
    Shutdown,
    Abort,
}

impl Transport for Holding {
    async fn read(&mut self) -> io::Result<Bytes> {
        Ok(self.requests.pop_front().unwrap_or_default())
    }

    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.events
            .send(Seen::Sent(bytes))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.events
            .send(Seen::Shutdown)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn abort(&mut self) {
        let _ = self.events.send(Seen::Abort);
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep(duration)
    }
}

/// Asks for a film of `length` bytes over a transport that holds; hands over what is sent.
fn ask(folder: &tempfile::TempDir, length: usize) -> (Arc<Server>, mpsc::UnboundedReceiver<Seen>) {
    let config = config(folder.path());
    std::fs::write(config.media.join("film.mp4"), content(length)).expect("written");
    let server = Server::start(config).expect("a server");
    let (events, seen) = mpsc::unbounded_channel();
    let request = Bytes::from_static(b"GET /film.mp4 HTTP/1.1\r\nHost: test\r\n\r\n");
    let transport = Holding {
        requests: [request].into(),
        events,
    };
    tokio::spawn(connection::serve(
        transport,
        Arc::clone(&server),
        ([127, 0, 0, 1], 1).into(),
    ));
    (server, seen)
}

/// Takes slices until all but the end of the film has been sent.
async fn all_but_the_end(seen: &mut mpsc::UnboundedReceiver<Seen>, length: usize) -> Vec<Bytes> {
    let mut held = Vec::new();
    let mut missing = length - (16 << 10);
    let Some(Seen::Sent(_head)) = seen.recv().await else {
        panic!("no head")
    };
    while missing > 0 {
        let Some(Seen::Sent(bytes)) = seen.recv().await else {
            panic!("ended with {missing} missing")
        };
        missing -= bytes.len();
        held.push(bytes);
    }
    held
}

#[tokio::test]
async fn the_end_is_sent_only_after_the_rest_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, mut seen) = ask(&folder, 1_000_000);
    let mut held = all_but_the_end(&mut seen, 1_000_000).await;
    let last = held.pop().expect("a slice");
    let mut received: Vec<u8> = held.concat();
    drop(held);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), seen.recv())
            .await
            .is_err(),
        "held back"
    );
    received.extend_from_slice(&last);
    drop(last);
    let Some(Seen::Sent(tail)) = seen.recv().await else {
        panic!("no end")
    };
    received.extend_from_slice(&tail);
    assert!(received == content(1_000_000));
    assert!(matches!(seen.recv().await, Some(Seen::Shutdown)));
}

#[tokio::test]
async fn a_file_truncated_in_the_send_queue_never_counts_as_complete() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, mut seen) = ask(&folder, 1_000_000);
    let held = all_but_the_end(&mut seen, 1_000_000).await;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.path().join("media/film.mp4"))
        .expect("opened");
    file.set_len(500_000).expect("truncated");
    // A stack that sums checksums touches pages that are gone: this process must live on.
    let sum: u64 = held
        .iter()
        .flat_map(|bytes| bytes.iter())
        .map(|&byte| u64::from(byte))
        .sum();
    assert!(sum > 0);
    drop(held);
    assert!(
        matches!(seen.recv().await, Some(Seen::Abort)),
        "no end is sent"
    );
    assert_eq!(server.statistics.aborted_changed_file.load(Relaxed), 1);
}

#[tokio::test]
async fn slices_that_nobody_acknowledges_are_given_up_once_the_file_has_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, mut seen) = ask(&folder, 1_000_000);
    let _held = all_but_the_end(&mut seen, 1_000_000).await;
    std::fs::write(folder.path().join("media/film.mp4"), "other").expect("written");
    assert!(matches!(seen.recv().await, Some(Seen::Abort)));
}

#[tokio::test]
async fn a_cold_film_is_read_before_the_stack_touches_it() {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    let site = Site::start().await;
    let film = site.film("film.mp4", 8 << 20);
    site.get("/film.mp4", "Range: bytes=0-0\r\n").await;
    let file = std::fs::File::open(site.path("film.mp4")).expect("opened");
    file.sync_all().expect("written to the disk");
    // Pages that are in a page table stay; those of a map that was dropped can go.
    let before = site.server.statistics.cold_pieces.load(Relaxed);
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("forgotten");
    assert!(site.get("/film.mp4", "").await.body == film);
    assert!(
        site.server.statistics.cold_pieces.load(Relaxed) > before,
        "read on a thread that may wait"
    );
}
