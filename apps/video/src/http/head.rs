//! A response's head (RFC 9112 §4): the fields in the order in which they were given.

use std::fmt::Display;
use std::io::Write;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, StatusCode, Version, header};

/// A response's head in the making.
#[derive(Debug)]
pub struct Head {
    status: StatusCode,
    bytes: Vec<u8>,
}

impl Head {
    /// Begins with the status line, the date and the server's name.
    #[must_use]
    pub fn new(status: StatusCode, date: SystemTime) -> Self {
        let reason = status.canonical_reason().unwrap_or_default();
        let bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
        Self { status, bytes }
            .field(&header::DATE, httpdate::fmt_http_date(date))
            .field(&header::SERVER, "outlive")
    }

    /// Adds a field. The value must be one line; line ends in it are replaced, so that no value can
    /// ever add a field.
    #[must_use]
    pub fn field(mut self, name: &HeaderName, value: impl Display) -> Self {
        self.bytes.extend_from_slice(name.as_str().as_bytes());
        self.bytes.extend_from_slice(b": ");
        let start = self.bytes.len();
        write!(self.bytes, "{value}").expect("writing to memory does not fail");
        for byte in &mut self.bytes[start..] {
            if matches!(byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// The response's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Says what becomes of the connection (RFC 9112 §9.3) and ends the head. HTTP/1.1 persists unless
    /// told otherwise, HTTP/1.0 only if told.
    #[must_use]
    pub fn finish(self, version: Version, keep_alive: bool) -> Bytes {
        let mut head = match (version, keep_alive) {
            (_, false) => self.field(&header::CONNECTION, "close"),
            (Version::HTTP_10, true) => self.field(&header::CONNECTION, "keep-alive"),
            (_, true) => self,
        };
        head.bytes.extend_from_slice(b"\r\n");
        head.bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn fields_stand_in_order_and_cannot_be_injected() {
        let head = Head::new(StatusCode::NOT_FOUND, UNIX_EPOCH)
            .field(&header::LOCATION, "a\r\nSet-Cookie: b")
            .finish(Version::HTTP_11, true);
        assert_eq!(
            head,
            "HTTP/1.1 404 Not Found\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: outlive\r\n\
             location: a  Set-Cookie: b\r\n\r\n"
        );
    }

    #[test]
    fn persistence_is_said_where_it_is_not_the_default() {
        let end = |version, keep_alive| {
            let head = Head::new(StatusCode::OK, UNIX_EPOCH).finish(version, keep_alive);
            let text = String::from_utf8(head.to_vec()).expect("text");
            text.lines()
                .find_map(|line| line.strip_prefix("connection: ").map(str::to_owned))
        };
        assert_eq!(end(Version::HTTP_11, true), None);
        assert_eq!(end(Version::HTTP_11, false).as_deref(), Some("close"));
        assert_eq!(end(Version::HTTP_10, true).as_deref(), Some("keep-alive"));
        assert_eq!(end(Version::HTTP_10, false).as_deref(), Some("close"));
    }
}
