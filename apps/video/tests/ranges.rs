//! Ranges and conditions.

mod support;

use support::Site;

#[tokio::test]
async fn single_ranges_are_exact() {
    let site = Site::start().await;
    let film = site.film("film.mkv", 1_000_000);
    let cases = [
        ("0-0", 0..1),
        ("0-499999", 0..500_000),
        ("262143-262144", 262_143..262_145),
        ("999999-", 999_999..1_000_000),
        ("-1", 999_999..1_000_000),
        ("-2000000", 0..1_000_000),
        ("5-99999999999999999999", 5..1_000_000),
    ];
    for (spec, expected) in cases {
        let reply = site
            .get("/film.mkv", &format!("Range: bytes={spec}\r\n"))
            .await;
        assert_eq!(reply.status, 206, "{spec}");
        assert!(reply.body == film[expected.clone()], "{spec}");
        let field = format!("bytes {}-{}/1000000", expected.start, expected.end - 1);
        assert_eq!(reply.field("content-range"), Some(&field[..]), "{spec}");
        assert_eq!(reply.field("content-type"), Some("video/x-matroska"));
    }
}

#[tokio::test]
async fn several_ranges_come_as_parts() {
    let site = Site::start().await;
    let film = site.film("film.mp4", 1_000_000);
    let reply = site
        .get("/film.mp4", "Range: bytes=0-9,500000-899999,-5\r\n")
        .await;
    assert_eq!(reply.status, 206);
    let boundary = reply
        .field("content-type")
        .and_then(|field| field.strip_prefix("multipart/byteranges; boundary="));
    let delimiter = format!("\r\n--{}", boundary.expect("a boundary"));
    let body = [b"\r\n", &reply.body[..]].concat();
    let mut parts = split(&body, delimiter.as_bytes());
    assert_eq!(parts.remove(0), b"");
    assert_eq!(parts.pop().expect("an end"), b"--\r\n");
    let expected = [
        ("0-9", 0..10),
        ("500000-899999", 500_000..900_000),
        ("999995-999999", 999_995..1_000_000),
    ];
    assert_eq!(parts.len(), expected.len());
    for (part, (field, range)) in parts.iter().zip(expected) {
        let head =
            format!("\r\ncontent-type: video/mp4\r\ncontent-range: bytes {field}/1000000\r\n\r\n");
        assert!(
            part.strip_prefix(head.as_bytes()) == Some(&film[range]),
            "{field}"
        );
    }
}

fn split<'a>(mut bytes: &'a [u8], delimiter: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = bytes
        .windows(delimiter.len())
        .position(|window| window == delimiter)
    {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + delimiter.len()..];
    }
    parts.push(bytes);
    parts
}

#[tokio::test]
async fn what_is_not_there_is_416_and_what_is_no_range_is_ignored() {
    let site = Site::start().await;
    site.film("film.mp4", 1000);
    let reply = site.get("/film.mp4", "Range: bytes=1000-\r\n").await;
    assert_eq!(
        (reply.status, reply.field("content-range")),
        (416, Some("bytes */1000"))
    );
    let many = vec!["0-0"; 200].join(",");
    assert_eq!(
        site.get("/film.mp4", &format!("Range: bytes={many}\r\n"))
            .await
            .status,
        416
    );
    for ignored in ["bytes=9-5", "frames=1-2", "bytes=x"] {
        let reply = site
            .get("/film.mp4", &format!("Range: {ignored}\r\n"))
            .await;
        assert_eq!((reply.status, reply.body.len()), (200, 1000), "{ignored}");
    }
}

#[tokio::test]
async fn conditions_follow_the_content() {
    let site = Site::start().await;
    site.film("film.mp4", 1000);
    let first = site.get("/film.mp4", "").await;
    let tag = first.field("etag").expect("a tag").to_owned();
    let modified = first.field("last-modified").expect("a date").to_owned();
    let get = async |lines: &str| {
        let lines = lines.replace("TAG", &tag).replace("WHEN", &modified);
        let reply = site.get("/film.mp4", &lines).await;
        (reply.status, reply.body.len())
    };
    assert_eq!(get("If-None-Match: TAG\r\n").await, (304, 0));
    assert_eq!(get("If-Modified-Since: WHEN\r\n").await, (304, 0));
    assert_eq!(get("If-Match: \"other\"\r\n").await.0, 412);
    assert_eq!(
        get("If-Match: TAG\r\nRange: bytes=0-9\r\n").await,
        (206, 10)
    );
    assert_eq!(
        get("If-Range: TAG\r\nRange: bytes=0-9\r\n").await,
        (206, 10)
    );
    assert_eq!(
        get("If-Range: WHEN\r\nRange: bytes=0-9\r\n").await,
        (206, 10)
    );
    assert_eq!(
        get("If-Range: \"other\"\r\nRange: bytes=0-9\r\n").await,
        (200, 1000)
    );
    assert_eq!(
        get("If-Range: W/TAG\r\nRange: bytes=0-9\r\n").await,
        (200, 1000)
    );

    // Another content has another tag, the same content again the old one.
    std::fs::write(site.path("film.mp4"), support::content(1001)).expect("written");
    assert_eq!(get("If-None-Match: TAG\r\n").await, (200, 1001));
    assert_eq!(
        get("If-Range: TAG\r\nRange: bytes=0-9\r\n").await,
        (200, 1001)
    );
    site.film("film.mp4", 1000);
    assert_eq!(get("If-None-Match: TAG\r\n").await, (304, 0));
}
