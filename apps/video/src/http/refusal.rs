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

    /// Those that depend on the disk or on the clock. Their numbers are logged: add at the end.
    pub const LOGGED: &[Self] = &[
        Self::UNWRITABLE,
        Self::not_found(),
        Self::UNREADABLE,
        Self::UNAVAILABLE,
        Self::CHANGING,
        Self::TIMED_OUT,
        Self::OTHER_VERSION,
        Self::DISK_FULL,
        Self::MAY_NOT_WRITE,
        Self::IS_FOLDER,
    ];

    /// 403 for a film.
    pub const UNREADABLE: Self =
        Self::new(StatusCode::FORBIDDEN, "the server may not read this file");
    /// 503 for a film that cannot be opened.
    pub const UNAVAILABLE: Self = Self::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "the file cannot be read at the moment",
    );
    /// 503 for a film that is being written.
    pub const CHANGING: Self = Self::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "the file is being changed at the moment; try again when it is complete",
    );
    /// 408.
    pub const TIMED_OUT: Self = Self::new(StatusCode::REQUEST_TIMEOUT, "the request took too long");
    /// 412.
    pub const OTHER_VERSION: Self = Self::new(
        StatusCode::PRECONDITION_FAILED,
        "the file is another version",
    );
    /// 507.
    pub const DISK_FULL: Self = Self::new(StatusCode::INSUFFICIENT_STORAGE, "the disk is full");
    /// 403 for an upload.
    pub const MAY_NOT_WRITE: Self = Self::new(
        StatusCode::FORBIDDEN,
        "the server may not write into its folder for uploads",
    );
    /// 409.
    pub const IS_FOLDER: Self = Self::new(StatusCode::CONFLICT, "a folder has that name");
    /// 500 for an upload.
    pub const UNWRITABLE: Self = Self::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the upload could not be written",
    );

    /// 404.
    #[must_use]
    pub const fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing of that name here")
    }
}
