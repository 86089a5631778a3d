//! A request's body (RFC 9112 §6.2, §7.1): its data, without a copy, until its end.

use bytes::{Buf, Bytes};
use http::StatusCode;

use super::refusal::Refusal;
use super::request::Framing;

/// Longest line with a chunk's size, extensions included.
const CHUNK_LINE_BYTES: usize = 1024;
/// Longest trailer section, which is read and ignored.
const TRAILER_BYTES: usize = 8 << 10;
/// Most fields in it.
const TRAILERS: usize = 32;

/// What came next in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyEvent {
    /// Data, at least one byte.
    Data(Bytes),
    /// Nothing more: the next byte belongs to the next request.
    End,
    /// More bytes must come first.
    NeedMore,
}

/// Where the decoder stands in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes are missing.
    Length(u64),
    /// A chunk's size comes next.
    ChunkSize,
    /// So many bytes of a chunk are missing.
    ChunkData(u64),
    /// The line end after a chunk's data comes next.
    ChunkEnd,
    /// The trailer section comes next.
    Trailers,
}

impl Body {
    /// The body announced by `framing`, if there is one.
    #[must_use]
    pub fn begin(framing: Framing) -> Option<Self> {
        match framing {
            Framing::None => None,
            Framing::Length(length) => Some(Self::Length(length)),
            Framing::Chunked => Some(Self::ChunkSize),
        }
    }

    /// Takes what comes next from the front of `input`.
    ///
    /// # Errors
    /// 400 where chunked coding is broken, 431 where its lines or trailers are too long.
    pub fn next(&mut self, input: &mut Bytes) -> Result<BodyEvent, Refusal> {
        loop {
            match *self {
                Self::Length(0) => return Ok(BodyEvent::End),
                Self::Length(missing) => {
                    let data = take(input, missing);
                    *self = Self::Length(missing - data.len() as u64);
                    return Ok(data_event(data));
                }
                Self::ChunkSize => {
                    let Some(size) = chunk_size(input)? else {
                        return Ok(BodyEvent::NeedMore);
                    };
                    *self = if size == 0 {
                        Self::Trailers
                    } else {
                        Self::ChunkData(size)
                    };
                }
                Self::ChunkData(missing) => {
                    let data = take(input, missing);
                    let missing = missing - data.len() as u64;
                    *self = if missing == 0 {
                        Self::ChunkEnd
                    } else {
                        Self::ChunkData(missing)
                    };
                    return Ok(data_event(data));
                }
                Self::ChunkEnd => match input.first_chunk() {
                    Some(b"\r\n") => {
                        input.advance(2);
                        *self = Self::ChunkSize;
                    }
                    Some(_) => {
                        return Err(Refusal::malformed("a chunk is longer than its size says"));
                    }
                    None => return Ok(BodyEvent::NeedMore),
                },
                Self::Trailers => {
                    if !skip_trailers(input)? {
                        return Ok(BodyEvent::NeedMore);
                    }
                    *self = Self::Length(0);
                }
            }
        }
    }
}

fn take(input: &mut Bytes, wanted: u64) -> Bytes {
    let length = usize::try_from(wanted)
        .unwrap_or(usize::MAX)
        .min(input.len());
    input.split_to(length)
}

fn data_event(data: Bytes) -> BodyEvent {
    if data.is_empty() {
        BodyEvent::NeedMore
    } else {
        BodyEvent::Data(data)
    }
}

fn chunk_size(input: &mut Bytes) -> Result<Option<u64>, Refusal> {
    let window = &input[..input.len().min(CHUNK_LINE_BYTES)];
    match httparse::parse_chunk_size(window) {
        Ok(httparse::Status::Complete((length, size))) => {
            input.advance(length);
            Ok(Some(size))
        }
        Ok(httparse::Status::Partial) if window.len() < CHUNK_LINE_BYTES => Ok(None),
        Ok(httparse::Status::Partial) => Err(Refusal::malformed(
            "the line with a chunk's size is too long",
        )),
        Err(_) => Err(Refusal::malformed(
            "a chunk's size is not a hexadecimal number",
        )),
    }
}

/// True once the empty line that ends the section is behind.
fn skip_trailers(input: &mut Bytes) -> Result<bool, Refusal> {
    let too_large = Refusal::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "the trailer section is too long",
    );
    let window = &input[..input.len().min(TRAILER_BYTES)];
    let mut fields = [httparse::EMPTY_HEADER; TRAILERS];
    match httparse::parse_headers(window, &mut fields) {
        Ok(httparse::Status::Complete((length, _))) => {
            input.advance(length);
            Ok(true)
        }
        Ok(httparse::Status::Partial) if window.len() < TRAILER_BYTES => Ok(false),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => Err(too_large),
        Err(_) => Err(Refusal::malformed("not a trailer field")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(body: &mut Body, input: &[u8]) -> Result<(Vec<u8>, BodyEvent, usize), Refusal> {
        let mut input = Bytes::copy_from_slice(input);
        let mut data = Vec::new();
        loop {
            match body.next(&mut input)? {
                BodyEvent::Data(bytes) => data.extend_from_slice(&bytes),
                other => return Ok((data, other, input.len())),
            }
        }
    }

    #[test]
    fn chunks_are_joined_and_the_next_request_is_left_alone() {
        let mut body = Body::ChunkSize;
        let input = b"4;name=value\r\nWiki\r\n005\r\npedia\r\n0\r\nTrailer: ignored\r\n\r\nGET";
        assert_eq!(
            drain(&mut body, input),
            Ok((b"Wikipedia".to_vec(), BodyEvent::End, 3))
        );
    }

    #[test]
    fn broken_chunks_are_refused() {
        for input in [
            &b"x\r\n"[..],
            b"4\r\nWikipedia\r\n",
            b"-4\r\nWiki\r\n",
            b"11111111111111111\r\n",
        ] {
            assert!(drain(&mut Body::ChunkSize, input).is_err(), "{input:?}");
        }
    }

    #[test]
    fn endless_lines_and_trailers_are_refused() {
        let line = [b"4;".to_vec(), vec![b'x'; CHUNK_LINE_BYTES]].concat();
        assert!(drain(&mut Body::ChunkSize, &line).is_err());
        let trailers = [b"0\r\n".to_vec(), b"A: b\r\n".repeat(TRAILERS + 1)].concat();
        assert!(drain(&mut Body::ChunkSize, &trailers).is_err());
    }

    #[test]
    fn a_length_ends_where_it_says() {
        let mut body = Body::Length(3);
        assert_eq!(
            drain(&mut body, b"ab"),
            Ok((b"ab".to_vec(), BodyEvent::NeedMore, 0))
        );
        assert_eq!(
            drain(&mut body, b"cd"),
            Ok((b"c".to_vec(), BodyEvent::End, 1))
        );
    }
}
