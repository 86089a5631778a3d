//! Clients that are slow, silent or greedy.

mod support;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use outlive_video::http::Limits;
use support::Site;

/// Long enough for a busy machine, short enough for a test.
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_silent_connection_is_closed_without_a_word() {
    let site = Site::with(Limits {
        idle_timeout: SHORT,
        ..Limits::default()
    })
    .await;
    let (rest, end) = site.client().await.rest().await;
    assert!(rest.is_empty() && end.is_ok());
    assert_eq!(site.server.statistics.idle_timeouts.load(Relaxed), 1);
}

#[tokio::test]
async fn a_head_that_drips_in_is_answered_with_408() {
    let site = Site::with(Limits {
        head_timeout: SHORT,
        ..Limits::default()
    })
    .await;
    let mut client = site.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\nX: ").await;
    // A byte now and then does not prolong it: the answer comes while the client still drips.
    let reply = loop {
        tokio::select! {
            // On a busy machine both may be ready; nothing is sent to who has closed.
            biased;
            reply = client.reply(false) => break reply,
            () = tokio::time::sleep(SHORT / 10) => {}
        }
        client.send("x").await;
    };
    assert_eq!(
        (reply.status, reply.field("connection")),
        (408, Some("close"))
    );
}

#[tokio::test]
async fn a_body_that_stops_is_answered_with_408() {
    let site = Site::with(Limits {
        body_timeout: SHORT,
        ..Limits::default()
    })
    .await;
    let reply = site
        .ask("PUT /sink/a HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nabc")
        .await;
    assert_eq!(
        (reply.status, reply.field("connection")),
        (408, Some("close"))
    );
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let site = Site::with(Limits {
        stall_timeout: SHORT,
        ..Limits::default()
    })
    .await;
    site.film("film.mp4", 64 << 20);
    let mut client = site.client().await;
    client
        .send("GET /film.mp4 HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    while site.server.statistics.aborted_stalled.load(Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let (received, end) = client.rest().await;
    assert!(
        received.len() < 64 << 20 && end.is_err(),
        "aborted, not closed"
    );
}

#[tokio::test]
async fn heads_without_end_are_refused() {
    let site = Site::start().await;
    let long = "x".repeat(9000);
    assert_eq!(
        site.ask(&format!("GET /{long} HTTP/1.1\r\n")).await.status,
        414
    );
    assert_eq!(
        site.get("/", &format!("A: {long}\r\nB: {long}\r\n"))
            .await
            .status,
        431
    );
    assert_eq!(site.get("/", &"A: b\r\n".repeat(200)).await.status, 431);
}

#[tokio::test]
async fn more_connections_than_allowed_are_reset() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = outlive_video::server::Config {
        connections: 1,
        ..support::config(folder.path())
    };
    let server = outlive_video::server::Server::start(config).expect("a server");
    let first = server.admit();
    assert!(first.is_some() && server.admit().is_none());
    drop(first);
    assert!(server.admit().is_some());
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_end_is_orderly() {
    use outlive_video::server::Phase;
    let site = Site::start().await;
    let film = site.film("film.mp4", 32 << 20);
    let (mut idle, mut busy, mut slow) = (
        site.client().await,
        site.client().await,
        site.client().await,
    );
    for client in [&mut busy, &mut slow] {
        client
            .send("GET /film.mp4 HTTP/1.1\r\nHost: test\r\n\r\n")
            .await;
    }
    while site.server.statistics.requests.load(Relaxed) < 2 || site.server.connections() < 3 {
        tokio::task::yield_now().await;
    }
    site.server.stop(Phase::Draining);
    let (rest, end) = idle.rest().await;
    assert!(
        rest.is_empty() && end.is_ok(),
        "an idle connection is closed"
    );
    assert!(busy.reply(false).await.body == film, "a response goes on");
    let server = site.stop().await;
    let (rest, _) = slow.rest().await;
    assert!(rest.len() < film.len(), "what takes too long is cut");
    assert_eq!(server.statistics.cut_by_stop.load(Relaxed), 1);
    assert_eq!(server.connections(), 0);
}

/// The sleeps between the shares are a lower bound, on however busy a machine.
#[tokio::test]
async fn a_film_is_held_to_its_rate_and_arrives_whole() {
    let site = Site::with(Limits {
        rate_bits_per_s: Some(800_000), // 1000 bytes every 10 ms
        ..Limits::default()
    })
    .await;
    let film = site.film("a.mp4", (16 << 10) + 10_000);
    let start = tokio::time::Instant::now();
    let reply = site.ask("GET /a.mp4 HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(reply.body, film);
    assert!(start.elapsed() >= Duration::from_millis(100));
}
