//! One transfer: what is to be said on its connection, and whether what comes is right.

use anyhow::ensure;
use sha2::{Digest, Sha256};

/// Most bytes at a time, so that no connection waits long for another.
pub(crate) const PIECE_BYTES: usize = 64 << 10;
/// The end of an upload, which passes only when it may.
const LAST_BYTES: usize = 16 << 10;
/// Longer than the head of any answer.
const MOST_HEAD_BYTES: usize = 16 << 10;

/// Which way the file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Download,
    Upload,
}

/// How it is with a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Whole,
    Broken,
}

/// A transfer.
pub(crate) struct Transfer<'a> {
    number: usize,
    kind: Kind,
    state: State,
    /// What is left of the head of the request.
    request: Vec<u8>,
    /// The head of the answer so far; of an upload all of it.
    answer: Vec<u8>,
    /// The head of the answer is complete.
    in_body: bool,
    content: &'a [u8],
    /// Bytes of the content that have passed.
    moved: usize,
    /// Bytes of an upload that may pass beyond the limit.
    beyond: usize,
}

impl<'a> Transfer<'a> {
    /// Of `content`, which the server has under `name`.
    pub(crate) fn new(number: usize, kind: Kind, name: &str, content: &'a [u8]) -> Self {
        let first = match kind {
            Kind::Download => format!("GET /{name} HTTP/1.1"),
            Kind::Upload => {
                let len = content.len();
                format!("PUT /sink/{number} HTTP/1.1\r\nContent-Length: {len}")
            }
        };
        Self {
            number,
            kind,
            state: State::Open,
            request: format!("{first}\r\nHost: test\r\nConnection: close\r\n\r\n").into(),
            answer: Vec::new(),
            in_body: false,
            content,
            moved: 0,
            beyond: 0,
        }
    }

    /// An upload may say one byte more than the rest: the server gives up one that stands still for half a minute, and on a
    /// busy machine a test may take longer until it allows more.
    pub(crate) const fn stir(&mut self) {
        self.beyond += 1;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Every byte passed, and none was wrong.
    pub(crate) fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    pub(crate) const fn moved(&self) -> usize {
        self.moved
    }

    pub(crate) const fn len(&self) -> usize {
        self.content.len()
    }

    /// `limit` bytes have passed.
    pub(crate) fn has_reached(&self, limit: usize) -> bool {
        self.moved >= limit.min(self.len())
    }

    /// What can be sent while no more than `limit` bytes may pass.
    pub(crate) fn outgoing(&self, limit: usize) -> &[u8] {
        match self.kind {
            _ if !self.request.is_empty() => &self.request,
            Kind::Upload => {
                let beyond = limit.saturating_add(self.beyond);
                let limit = limit.max(beyond.min(self.len().saturating_sub(LAST_BYTES)));
                let end = limit.min(self.moved + PIECE_BYTES).min(self.len());
                &self.content[self.moved..end.max(self.moved)]
            }
            Kind::Download => &[],
        }
    }

    /// So much of it was sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if self.request.is_empty() {
            self.moved += bytes;
        } else {
            self.request.drain(..bytes);
        }
    }

    /// Nothing will be sent any more.
    pub(crate) fn has_said_all(&self) -> bool {
        let body = self.kind == Kind::Download || self.moved == self.len();
        self.request.is_empty() && body
    }

    /// So much can be taken. When all bytes are there the end is still wanted, and one byte more would be
    /// noticed.
    pub(crate) fn room(&self, limit: usize) -> usize {
        match self.kind {
            Kind::Upload => PIECE_BYTES,
            Kind::Download if self.moved == self.len() => 1,
            Kind::Download => limit.saturating_sub(self.moved),
        }
    }

    /// These bytes came.
    pub(crate) fn received(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        if self.kind == Kind::Upload || !self.in_body {
            bytes = self.take_head(bytes)?;
        }
        let expected = self.content[self.moved..].get(..bytes.len());
        ensure!(expected == Some(bytes), "these bytes are wrong");
        if self.kind == Kind::Download {
            self.moved += bytes.len();
        }
        Ok(())
    }

    /// Takes the answer's head; what follows it is left.
    fn take_head<'b>(&mut self, bytes: &'b [u8]) -> anyhow::Result<&'b [u8]> {
        let before = self.answer.len();
        self.answer.extend_from_slice(bytes);
        let most = MOST_HEAD_BYTES + PIECE_BYTES;
        ensure!(self.answer.len() < most, "the answer has no end");
        if self.kind == Kind::Upload {
            return Ok(&[]);
        }
        let mut windows = self.answer.windows(4);
        let Some(end) = windows.position(|window| window == b"\r\n\r\n") else {
            return Ok(&[]);
        };
        let text = String::from_utf8_lossy(&self.answer[..end]);
        ensure!(text.starts_with("HTTP/1.1 200"), "refused: {text}");
        self.in_body = true;
        Ok(&bytes[end + 4 - before..])
    }

    /// The server has ended the connection.
    pub(crate) fn ended(&mut self) -> anyhow::Result<()> {
        ensure!(self.moved == self.len(), "the server ended it too early");
        if self.kind == Kind::Upload {
            let text = String::from_utf8_lossy(&self.answer);
            let sum = Sha256::digest(self.content);
            let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
            let is_right = text.starts_with("HTTP/1.1 20") && text.contains(&sum);
            ensure!(is_right, "the answer is {text}");
        }
        self.state = State::Whole;
        Ok(())
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// It cannot go on.
    pub(crate) fn broke(&mut self, error: &anyhow::Error) {
        let Self {
            kind,
            number,
            moved,
            ..
        } = self;
        eprintln!("{kind:?} {number} at byte {moved}: {error:#}");
        self.state = State::Broken;
    }
}
