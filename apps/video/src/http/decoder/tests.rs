use http::{Method, StatusCode, Version};
use proptest::prelude::*;

use super::super::request::Framing;
use super::*;

/// Everything that was understood, in a form that does not depend on how the bytes were cut.
#[derive(Debug, Default, PartialEq)]
struct Understood {
    requests: Vec<(String, Vec<u8>)>,
    refusal: Option<Refusal>,
}

fn decode(pieces: impl IntoIterator<Item = Bytes>) -> Understood {
    let mut decoder = Decoder::new(Limits::default());
    let mut understood = Understood::default();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_event() {
                Ok(Some(Event::Head(request))) => {
                    let line = format!(
                        "{} {:?} {:?}",
                        request.method, request.target, request.headers
                    );
                    understood.requests.push((line, Vec::new()));
                }
                Ok(Some(Event::Data(data))) => {
                    assert!(!data.is_empty());
                    understood
                        .requests
                        .last_mut()
                        .expect("a head first")
                        .1
                        .extend_from_slice(&data);
                }
                Ok(Some(Event::End)) => {}
                Ok(None) => break,
                Err(refusal) => {
                    understood.refusal = Some(refusal);
                    return understood;
                }
            }
        }
    }
    understood
}

fn head(text: &str) -> Result<Request, Refusal> {
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(Bytes::copy_from_slice(text.as_bytes()));
    match decoder.next_event()? {
        Some(Event::Head(request)) => Ok(*request),
        other => panic!("no head but {other:?}"),
    }
}

fn refused(text: &str) -> u16 {
    head(text).expect_err(text).status.as_u16()
}

const CONVERSATION: &[u8] = b"GET /a?b HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n\
    \r\n\
    PUT /sink/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nA: b\r\n\r\n\
    PUT /sink/y HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
    HEAD / HTTP/1.0\r\n\r\n";

#[test]
fn pipelined_requests_come_out_one_by_one() {
    let understood = decode([Bytes::from_static(CONVERSATION)]);
    let bodies: Vec<_> = understood
        .requests
        .iter()
        .map(|(_, body)| body.as_slice())
        .collect();
    assert_eq!(bodies, [&b""[..], b"hello world", b"abc", b""]);
    assert_eq!(understood.refusal, None);
}

proptest! {
    #[test]
    fn the_cuts_between_reads_make_no_difference(cuts in proptest::collection::vec(0..CONVERSATION.len(), 0..20)) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut rest = Bytes::from_static(CONVERSATION);
        let mut pieces = Vec::new();
        let mut done = 0;
        for cut in cuts {
            pieces.push(rest.split_to(cut - done));
            done = cut;
        }
        pieces.push(rest);
        prop_assert_eq!(decode(pieces), decode([Bytes::from_static(CONVERSATION)]));
    }

    #[test]
    fn mutations_never_panic_nor_hang(
        changes in proptest::collection::vec((0..CONVERSATION.len(), any::<u8>()), 0..6),
        length in 0..CONVERSATION.len(),
    ) {
        let mut bytes = CONVERSATION.to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(length);
        let whole = decode([Bytes::copy_from_slice(&bytes)]);
        let byte_by_byte = decode(bytes.iter().map(|&byte| Bytes::copy_from_slice(&[byte])));
        prop_assert_eq!(whole.requests.len(), byte_by_byte.requests.len());
        prop_assert_eq!(whole.refusal.is_some(), byte_by_byte.refusal.is_some());
    }
}

#[test]
fn persistence_follows_version_and_connection() {
    let keeps = |text: &str| head(text).expect("a request").keep_alive;
    assert!(keeps("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(!keeps(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: TE, Close\r\n\r\n"
    ));
    assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
    assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
    assert_eq!(
        head("GET / HTTP/1.0\r\n\r\n").expect("a request").version,
        Version::HTTP_10
    );
}

#[test]
fn what_could_be_read_two_ways_is_refused() {
    for fields in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Host: other\r\n",
        "Bad Name: x\r\n",
        "A: b\r\n folded\r\n",
    ] {
        assert_eq!(
            refused(&format!("PUT /sink/ HTTP/1.1\r\nHost: h\r\n{fields}\r\n")),
            400,
            "{fields}"
        );
    }
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(
        refused("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        400
    );
    assert_eq!(
        refused("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        501
    );
    assert_eq!(refused("GET * HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
    assert_eq!(
        refused("GET / HTTP/1.1\r\nHost: h\r\nExpect: a miracle\r\n\r\n"),
        417
    );
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
    assert_eq!(refused("\x16\x03\x01\x02 TLS\r\n\r\n"), 400);
}

#[test]
fn limits_are_enforced_before_the_head_is_complete() {
    let long = "x".repeat(9000);
    assert_eq!(refused(&format!("GET /{long}")), StatusCode::URI_TOO_LONG);
    assert_eq!(
        refused(&format!("GET / HTTP/1.1\r\nHost: h\r\nA: {long}{long}")),
        431
    );
    let many = "A: b\r\n".repeat(200);
    assert_eq!(
        refused(&format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n")),
        431
    );
}

#[test]
fn a_refusal_is_final() {
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(Bytes::from_static(b"NONSENSE\r\n\r\n"));
    let refusal = decoder.next_event().expect_err("no request");
    decoder.push(Bytes::from_static(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_eq!(decoder.next_event().expect_err("still refused"), refusal);
}

#[test]
fn continue_is_expected_only_by_those_who_may() {
    let fields = "Host: h\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n";
    let request = head(&format!("PUT /sink/ HTTP/1.1\r\n{fields}")).expect("a request");
    assert!(request.expects_continue);
    assert_eq!(
        (request.method, request.framing),
        (Method::PUT, Framing::Length(1))
    );
    assert!(
        !head(&format!("PUT /sink/ HTTP/1.0\r\n{fields}"))
            .expect("a request")
            .expects_continue
    );
}

#[test]
fn empty_lines_leave_the_connection_idle() {
    let mut decoder = Decoder::new(Limits::default());
    for _ in 0..10_000 {
        decoder.push(Bytes::from_static(b"\r\n"));
        assert!(decoder.next_event().expect("nothing wrong").is_none());
        assert!(decoder.is_idle());
    }
}
