//! A request that is answered with an error, and whether the connection survives it.

use http::StatusCode;

/// An error response: the status, and one line for the person who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The response's status, 4xx or 5xx.
    pub status: StatusCode,
    /// What was wrong.
    pub reason: &'static str,
}

impl Refusal {
    /// A refusal with `status`, saying `reason`.
    #[must_use]
    pub const fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason }
    }

    /// 400: the bytes are not what HTTP/1.1 allows.
    #[must_use]
    pub const fn malformed(reason: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    /// 404.
    #[must_use]
    pub const fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing of that name here")
    }
}
