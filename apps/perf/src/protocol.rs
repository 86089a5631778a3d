//! What a client asks of the measuring server: 16 bytes at the start of a connection.
//!
//! A connection that is closed before it has asked anything is simply closed: that is how connections
//! per second are measured.

use std::time::Duration;

/// Length of a request in bytes.
pub(crate) const REQUEST_LEN: usize = 16;
/// What a request begins with.
const MAGIC: [u8; 4] = *b"OLP1";
/// Largest piece that the server writes or reads at once: bounds the memory that a request can ask for.
pub(crate) const MAX_PIECE_BYTES: u32 = 16 << 20;

/// What the server shall do with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Read to the end, then answer how many bytes came, as a big-endian u64.
    Discard,
    /// Send for a while, then close.
    Send,
    /// Send back what comes.
    Echo,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// What to do.
    pub task: Task,
    /// Bytes per read or write.
    pub piece_bytes: u32,
    /// How long to send.
    pub duration: Duration,
}

/// The other side speaks something else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotARequest;

impl Request {
    pub(crate) fn to_bytes(self) -> [u8; REQUEST_LEN] {
        let duration_ms = u32::try_from(self.duration.as_millis()).unwrap_or(u32::MAX);
        let mut bytes = [0; REQUEST_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = match self.task {
            Task::Discard => 0,
            Task::Send => 1,
            Task::Echo => 2,
        };
        bytes[8..12].copy_from_slice(&self.piece_bytes.to_be_bytes());
        bytes[12..].copy_from_slice(&duration_ms.to_be_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; REQUEST_LEN]) -> Result<Self, NotARequest> {
        let number = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let task = match (bytes[..4] == MAGIC, bytes[4]) {
            (true, 0) => Task::Discard,
            (true, 1) => Task::Send,
            (true, 2) => Task::Echo,
            _ => return Err(NotARequest),
        };
        Ok(Self {
            task,
            piece_bytes: number(8).clamp(1, MAX_PIECE_BYTES),
            duration: Duration::from_millis(number(12).into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_wire() {
        for task in [Task::Discard, Task::Send, Task::Echo] {
            let request = Request {
                task,
                piece_bytes: 131_072,
                duration: Duration::from_millis(2_500),
            };
            assert_eq!(Request::from_bytes(request.to_bytes()), Ok(request));
        }
    }

    #[test]
    fn a_request_cannot_ask_for_much_memory() {
        let greedy = Request {
            task: Task::Send,
            piece_bytes: u32::MAX,
            duration: Duration::ZERO,
        };
        let read = Request::from_bytes(greedy.to_bytes()).expect("a request");
        assert_eq!(read.piece_bytes, MAX_PIECE_BYTES);
    }

    #[test]
    fn something_else_is_refused() {
        assert_eq!(
            Request::from_bytes(*b"GET / HTTP/1.1\r\n"),
            Err(NotARequest)
        );
    }
}
