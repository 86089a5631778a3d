//! PUT: to the sink, to a folder, with every way to send a body.

mod support;

use sha2::{Digest, Sha256};
use support::{Site, content};

fn hex_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        + "\n"
}

fn put(path: &str, lines: &str) -> String {
    format!("PUT {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n")
}

#[tokio::test]
async fn the_sink_answers_with_the_digest() {
    let site = Site::start().await;
    let body = content(5_000_000);
    let mut client = site.client().await;
    client
        .send(put(
            "/sink/a",
            &format!("Content-Length: {}\r\n", body.len()),
        ))
        .await;
    client.send(&body).await;
    assert_eq!(client.reply(false).await.text(), hex_of(&body));
    // Chunked, and on the same connection.
    client
        .send(put("/sink/a", "Transfer-Encoding: chunked\r\n"))
        .await;
    for chunk in body.chunks(77_777) {
        client.send(format!("{:X}\r\n", chunk.len())).await;
        client.send(chunk).await;
        client.send("\r\n").await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.reply(false).await.text(), hex_of(&body));
    client
        .send(put("/sink/empty", "Content-Length: 0\r\n"))
        .await;
    assert_eq!(client.reply(false).await.text(), hex_of(b""));
    assert!(
        std::fs::read_dir(site.folder.path().join("uploads"))
            .expect("a folder")
            .next()
            .is_none()
    );
}

#[tokio::test]
async fn the_sink_counts_where_a_digest_is_not_wanted() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let lines = "Content-Length: 3\r\nWant-Repr-Digest: sha-256=0\r\n";
    client.send(put("/sink/a", lines)).await;
    client.send("abc").await;
    assert_eq!(client.reply(false).await.text(), "3\n");
    // What is stored has a tag, made from its digest.
    client.send(put("/uploads/a", lines)).await;
    client.send("abc").await;
    assert_eq!(client.reply(false).await.text(), hex_of(b"abc"));
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_continue() {
    let site = Site::start().await;
    let mut client = site.client().await;
    client
        .send(put(
            "/sink/a",
            "Content-Length: 3\r\nExpect: 100-continue\r\n",
        ))
        .await;
    assert_eq!(client.reply(false).await.status, 100);
    client.send("abc").await;
    assert_eq!(client.reply(false).await.text(), hex_of(b"abc"));
    // One that would be refused is told so at once, and need not send its body.
    client
        .send(put(
            "/elsewhere",
            "Content-Length: 3\r\nExpect: 100-continue\r\n",
        ))
        .await;
    let refusal = client.reply(false).await;
    assert_eq!(
        (refusal.status, refusal.field("connection")),
        (405, Some("close"))
    );
}

#[tokio::test]
async fn an_uploaded_film_can_be_played() {
    let site = Site::start().await;
    let body = content(1_000_000);
    let mut client = site.client().await;
    for status in [201, 200] {
        client
            .send(put(
                "/uploads/film.mp4",
                &format!("Content-Length: {}\r\n", body.len()),
            ))
            .await;
        client.send(&body).await;
        let reply = client.reply(false).await;
        assert_eq!((reply.status, reply.text()), (status, &hex_of(&body)[..]));
        let film = site.get("/uploads/film.mp4", "").await;
        assert!(film.body == body && film.field("etag") == reply.field("etag"));
    }
    let replace = async |lines: &str| {
        site.ask(
            &(put(
                "/uploads/film.mp4",
                &format!("Content-Length: 1\r\n{lines}"),
            ) + "x"),
        )
        .await
    };
    assert_eq!(replace("If-None-Match: *\r\n").await.status, 412);
    assert_eq!(replace("If-Match: \"other\"\r\n").await.status, 412);
    assert_eq!(replace("Content-Range: bytes 0-0/9\r\n").await.status, 400);
    assert!(site.get("/uploads/film.mp4", "").await.body == body);
}

#[tokio::test]
async fn what_is_not_complete_leaves_nothing_behind() {
    let site = Site::start().await;
    let mut client = site.client().await;
    client
        .send(put("/uploads/film.mp4", "Content-Length: 1000000\r\n"))
        .await;
    client.send(&content(600_000)).await;
    drop(client);
    for path in [
        "/uploads/.hidden",
        "/uploads/a/b",
        "/uploads/",
        "/uploads/%2e%2e",
    ] {
        let reply = site.ask(&(put(path, "Content-Length: 1\r\n") + "x")).await;
        assert!(
            [400, 404, 405].contains(&reply.status),
            "{path}: {}",
            reply.status
        );
    }
    // The connection that broke leaves its temporary file to a thread that may wait.
    let folder = site.folder.path().join("uploads");
    let count = || std::fs::read_dir(&folder).expect("a folder").count();
    while count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn broken_and_endless_bodies_are_refused() {
    let limits = outlive_video::http::Limits {
        upload_bytes: 1000,
        ..Default::default()
    };
    let site = Site::with(limits).await;
    let chunked = put("/sink/a", "Transfer-Encoding: chunked\r\n");
    assert_eq!(site.ask(&format!("{chunked}zz\r\n")).await.status, 400);
    assert_eq!(
        site.ask(&put("/sink/a", "Content-Length: 1001\r\n"))
            .await
            .status,
        413
    );
    let long = format!("{chunked}7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000));
    assert_eq!(site.ask(&long).await.status, 413);
}
