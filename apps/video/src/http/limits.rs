//! What a client may ask of one connection.

use std::time::Duration;

/// Limits of one connection. The defaults suit players and browsers.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest request line; beyond it 414.
    pub request_line_bytes: usize,
    /// Longest request head, line and fields together; beyond it 431.
    pub head_bytes: usize,
    /// Most header fields; beyond it 431.
    pub headers: usize,
    /// Most ranges in one request; beyond it 416.
    pub ranges: usize,
    /// Largest upload; beyond it 413.
    pub upload_bytes: u64,
    /// How much of an unwanted request body is read and thrown away before the connection is closed.
    pub drain_bytes: u64,
    /// From the first byte of a request to the end of its head; then 408.
    pub head_timeout: Duration,
    /// How long a connection may wait between requests; then it is closed.
    pub idle_timeout: Duration,
    /// How long a request body may pause; then 408.
    pub body_timeout: Duration,
    /// How long a client may take no byte of a response; then the connection is aborted. Players hold
    /// the connection still while they are paused, so this is long.
    pub stall_timeout: Duration,
    /// How long a closed connection waits for the client to close too, so that no reset overtakes the
    /// response (RFC 9112 §9.6).
    pub linger_timeout: Duration,
    /// Most bits of film per second on a connection; as many as go through if there is no such limit.
    pub rate_bits_per_s: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line_bytes: 8 << 10,
            head_bytes: 16 << 10,
            headers: 100,
            ranges: 16,
            upload_bytes: 1 << 40,
            drain_bytes: 1 << 20,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(600),
            linger_timeout: Duration::from_secs(2),
            rate_bits_per_s: None,
        }
    }
}
