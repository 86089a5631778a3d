//! A request's head (RFC 9112 §2-3, §6; RFC 9110 §7.2, §10.1.1), and what it says about the connection.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use super::limits::Limits;
use super::refusal::Refusal;
use super::target::Target;

/// How the request's body is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
}

/// A request's head.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// Of what.
    pub target: Target,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// The header fields.
    pub headers: HeaderMap,
    /// How its body is delimited.
    pub framing: Framing,
    /// The connection may carry another request after this one (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
}

impl Request {
    /// Reads a head from the front of `bytes`: the request and how many bytes it took, or nothing if
    /// the head is not complete yet.
    ///
    /// # Errors
    /// The refusal to answer with; the connection cannot be used after it, because nobody knows where
    /// the next request would begin.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Option<(Self, usize)>, Refusal> {
        let mut fields = vec![httparse::EMPTY_HEADER; limits.headers];
        let mut parsed = httparse::Request::new(&mut fields);
        let status = parsed.parse(bytes).map_err(refusal_for)?;
        check_request_line(bytes, limits)?;
        let length = match status {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => bytes.len(),
        };
        if length > limits.head_bytes {
            return Err(Refusal::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the request head is too long",
            ));
        }
        if status.is_partial() {
            return Ok(None);
        }
        Self::from_parsed(&parsed).map(|request| Some((request, length)))
    }

    fn from_parsed(parsed: &httparse::Request<'_, '_>) -> Result<Self, Refusal> {
        let version = match parsed.version {
            Some(0) => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
            .map_err(|_| Refusal::malformed("not a method"))?;
        let target = Target::parse(parsed.path.unwrap_or_default())?;
        if target.server_wide && method != Method::OPTIONS {
            return Err(Refusal::malformed("only OPTIONS has the target *"));
        }
        let mut headers = HeaderMap::with_capacity(parsed.headers.len());
        for field in parsed.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes())
                .map_err(|_| Refusal::malformed("not a field name"))?;
            let value = HeaderValue::from_bytes(field.value)
                .map_err(|_| Refusal::malformed("not a field value"))?;
            headers.append(name, value);
        }
        check_host(version, &headers)?;
        Ok(Self {
            framing: framing(version, &headers)?,
            keep_alive: keep_alive(version, &headers),
            expects_continue: expects_continue(version, &headers)?,
            method,
            target,
            version,
            headers,
        })
    }
}

fn refusal_for(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too many header fields",
        ),
        httparse::Error::Version => Refusal::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "this server speaks HTTP/1.1 and HTTP/1.0",
        ),
        httparse::Error::Token => Refusal::malformed("not an HTTP request line"),
        _ => Refusal::malformed("not an HTTP header field"),
    }
}

/// Empty lines before the request line do not count (RFC 9112 §2.2).
fn check_request_line(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let line = lines
        .find(|line| !matches!(*line, b"" | b"\r"))
        .unwrap_or_default();
    if line.len() > limits.request_line_bytes {
        return Err(Refusal::new(
            StatusCode::URI_TOO_LONG,
            "the request line is too long",
        ));
    }
    Ok(())
}

/// RFC 9112 §3.2: exactly one Host in HTTP/1.1.
fn check_host(version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get_all(header::HOST).iter().count() {
        1 => Ok(()),
        0 if version == Version::HTTP_10 => Ok(()),
        0 => Err(Refusal::malformed("HTTP/1.1 requires a Host field")),
        _ => Err(Refusal::malformed("more than one Host field")),
    }
}

/// RFC 9112 §6.3, strictly: whatever two parsers could read differently is refused, because it is how
/// requests are smuggled.
fn framing(version: Version, headers: &HeaderMap) -> Result<Framing, Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Err(Refusal::malformed(
                "both Content-Length and Transfer-Encoding",
            ));
        }
        if version == Version::HTTP_10 {
            return Err(Refusal::malformed("HTTP/1.0 has no Transfer-Encoding"));
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::new(
                StatusCode::NOT_IMPLEMENTED,
                "the only transfer coding here is chunked",
            ));
        }
        return Ok(Framing::Chunked);
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else {
        return Ok(Framing::None);
    };
    if lengths.next().is_some() {
        return Err(Refusal::malformed("more than one Content-Length"));
    }
    match decimal(length.as_bytes()) {
        Some(0) => Ok(Framing::None),
        Some(length) => Ok(Framing::Length(length)),
        None => Err(Refusal::malformed("Content-Length is not a number")),
    }
}

/// Digits and nothing else: no sign, no white space.
#[must_use]
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// RFC 9112 §9.3.
fn keep_alive(version: Version, headers: &HeaderMap) -> bool {
    let options = || {
        let values = headers.get_all(header::CONNECTION).iter();
        values
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
    };
    let has = |option: &[u8]| options().any(|found| found.eq_ignore_ascii_case(option));
    !has(b"close") && (version == Version::HTTP_11 || has(b"keep-alive"))
}

/// RFC 9110 §10.1.1: ignored from HTTP/1.0 clients; unknown expectations fail.
fn expects_continue(version: Version, headers: &HeaderMap) -> Result<bool, Refusal> {
    match headers.get(header::EXPECT) {
        None => Ok(false),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Ok(version == Version::HTTP_11)
        }
        Some(_) => Err(Refusal::new(
            StatusCode::EXPECTATION_FAILED,
            "the only expectation here is 100-continue",
        )),
    }
}
