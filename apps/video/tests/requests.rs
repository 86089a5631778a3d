//! Methods, persistence, errors: real client bytes on the kernel's sockets.

mod support;

use support::{Reply, Site};

#[tokio::test]
async fn a_film_comes_whole_with_its_type_and_version() {
    let site = Site::start().await;
    let film = site.film("film.mp4", 3_000_000);
    let reply = site.get("/film.mp4", "").await;
    assert_eq!(
        (reply.status, reply.field("content-type")),
        (200, Some("video/mp4"))
    );
    assert!(reply.body == film);
    assert_eq!(reply.field("date"), Some("Tue, 15 Nov 1994 08:12:31 GMT"));
    assert_eq!(reply.field("accept-ranges"), Some("bytes"));
    assert!(
        reply
            .field("etag")
            .is_some_and(|tag| tag.starts_with('"') && tag.len() == 34)
    );

    let head = site
        .ask("HEAD /film.mp4 HTTP/1.1\r\nHost: test\r\nRange: bytes=0-1\r\n\r\n")
        .await;
    assert_eq!(
        head.head, reply.head,
        "HEAD differs from GET in nothing but the body"
    );
}

#[tokio::test]
async fn empty_and_small_files_are_films_too() {
    let site = Site::start().await;
    for length in [0, 1, 16 << 10, (16 << 10) + 1, (256 << 10) + (16 << 10)] {
        let film = site.film("film.webm", length);
        let reply = site.get("/film.webm", "").await;
        assert!(reply.status == 200 && reply.body == film, "{length}");
    }
}

#[tokio::test]
async fn a_connection_serves_many_requests_in_order() {
    let site = Site::start().await;
    let (a, b) = (site.film("a.mp4", 600_000), site.film("b.mp4", 10));
    let mut client = site.client().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    client
        .send(get("/a.mp4") + &get("/none") + &get("/b.mp4") + &get("/a.mp4"))
        .await;
    assert!(client.reply(false).await.body == a);
    assert_eq!(client.reply(false).await.status, 404);
    assert!(client.reply(false).await.body == b);
    assert!(client.reply(false).await.body == a);
    client
        .send("GET /b.mp4 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .await;
    let last = client.reply(false).await;
    assert_eq!(last.field("connection"), Some("close"));
    let (rest, end) = client.rest().await;
    assert!(rest.is_empty() && end.is_ok());
}

#[tokio::test]
async fn http_1_0_closes_unless_asked_to_stay() {
    let site = Site::start().await;
    let film = site.film("a.mp4", 100_000);
    let mut client = site.client().await;
    client
        .send("GET /a.mp4 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let reply = client.reply(false).await;
    assert!(reply.body == film && reply.field("connection") == Some("keep-alive"));
    client.send("GET /a.mp4 HTTP/1.0\r\n\r\n").await;
    assert!(client.reply(false).await.body == film);
    assert!(client.rest().await.0.is_empty());
}

#[tokio::test]
async fn a_client_that_closes_its_side_still_gets_its_answer() {
    use tokio::io::AsyncWriteExt;
    let site = Site::start().await;
    let film = site.film("a.mp4", 2_000_000);
    let mut client = site.client().await;
    client
        .send("GET /a.mp4 HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    client.stream.shutdown().await.expect("closed");
    assert!(client.reply(false).await.body == film);
}

#[tokio::test]
async fn what_is_wrong_is_said_and_ends_the_connection_where_it_must() {
    let site = Site::start().await;
    let status = async |request: &str| -> Reply { site.ask(request).await };
    let cases = [
        ("GET /none HTTP/1.1\r\nHost: test\r\n\r\n", 404, false),
        ("GET /.hidden HTTP/1.1\r\nHost: test\r\n\r\n", 404, false),
        (
            "GET /%2e%2e/secret HTTP/1.1\r\nHost: test\r\n\r\n",
            400,
            true,
        ),
        ("GET /../secret HTTP/1.1\r\nHost: test\r\n\r\n", 400, true),
        ("GET / HTTP/1.1\r\n\r\n", 400, true),
        ("GET / HTTP/3.0\r\nHost: test\r\n\r\n", 505, true),
        ("hello\r\n\r\n", 400, true),
        ("DELETE /a HTTP/1.1\r\nHost: test\r\n\r\n", 405, false),
        ("BREW /a HTTP/1.1\r\nHost: test\r\n\r\n", 501, false),
        (
            "PUT /a HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx",
            405,
            true,
        ),
    ];
    for (request, expected, closes) in cases {
        let reply = status(request).await;
        assert_eq!(reply.status, expected, "{request}");
        assert_eq!(
            reply.field("connection") == Some("close"),
            closes,
            "{request}"
        );
        assert!(reply.text().starts_with(&expected.to_string()), "{request}");
    }
    assert_eq!(
        status("DELETE /a HTTP/1.1\r\nHost: test\r\n\r\n")
            .await
            .field("allow"),
        Some("GET, HEAD, OPTIONS")
    );
    let options = status("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(
        (options.status, options.field("allow")),
        (204, Some("GET, HEAD, PUT, OPTIONS"))
    );
}

#[tokio::test]
async fn links_out_of_the_folder_are_not_followed() {
    let site = Site::start().await;
    std::fs::write(site.folder.path().join("secret.mp4"), "secret").expect("written");
    std::os::unix::fs::symlink("../secret.mp4", site.path("link.mp4")).expect("linked");
    assert_eq!(site.get("/link.mp4", "").await.status, 404);
}

#[tokio::test]
async fn the_page_lists_the_films_and_plays_the_one_that_is_asked_for() {
    let site = Site::start().await;
    site.film("Nosferatu & Co.mp4", 1000);
    let page = site.get("/", "").await;
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("Nosferatu &amp; Co.mp4"));
    let link = page
        .text()
        .split("href=\"")
        .find(|link| link.starts_with("/?film="))
        .expect("a link");
    let player = site.get(&link[..link.find('"').expect("an end")], "").await;
    assert!(player.text().contains("<video controls autoplay"));
    let source = player.text().split("src=\"").nth(1).expect("a source");
    let film = site
        .get(&source[..source.find('"').expect("an end")], "")
        .await;
    assert_eq!((film.status, film.body.len()), (200, 1000));
    let tag = page.field("etag").expect("a tag");
    assert_eq!(
        site.get("/", &format!("If-None-Match: {tag}\r\n"))
            .await
            .status,
        304
    );
}

#[tokio::test]
async fn the_same_requests_give_the_same_bytes_however_they_are_cut() {
    let site = Site::start().await;
    site.film("a.mp4", 700_000);
    let requests = "GET /a.mp4 HTTP/1.1\r\nHost: test\r\nRange: bytes=5-300000,400000-400009,-7\r\n\r\n\
        HEAD / HTTP/1.1\r\nHost: test\r\n\r\n\
        GET / HTTP/1.1\r\nHost: test\r\n\r\n\
        PUT /sink/x HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
        GET /none HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let mut outputs = Vec::new();
    for pieces in [1, 7, 61] {
        let mut client = site.client().await;
        client.stream.set_nodelay(true).expect("no delay");
        for piece in requests.as_bytes().chunks(requests.len().div_ceil(pieces)) {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        outputs.push(client.rest().await.0);
    }
    assert!(outputs[0].len() > 300_000);
    assert!(outputs[0] == outputs[1] && outputs[1] == outputs[2]);
}
