//! Ordered channels: Noise records on a stream of bytes, and messages on the records. Sans-I/O.
//!
//! A record is a length of two bytes and that many sealed bytes, at most 65,535 (Noise §3). What the records
//! carry, one after another, is a stream of messages: a length of four bytes and that many bytes. So small
//! messages share a record and large ones take many. A record out of its place does not open: order and
//! completeness are proved with every one.
//!
//! Memory grows with what has arrived, never with what a length claims.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use snow::StatelessTransportState;

use super::noise::TAG_BYTES;
use super::refusal::Refusal;

/// Longest message.
pub const MOST_MESSAGE_BYTES: usize = 16 << 20;
const RECORD_LENGTH_BYTES: usize = 2;
const MESSAGE_LENGTH_BYTES: usize = 4;
/// Most bytes of the message stream in one record.
pub(crate) const MOST_RECORD_PLAIN_BYTES: usize = u16::MAX as usize - TAG_BYTES;

/// From messages to bytes for the socket.
pub(crate) struct Sealing {
    noise: Arc<StatelessTransportState>,
    nonce: u64,
    /// The stream of messages, as far as it is not yet in a record.
    plain: BytesMut,
    /// Most bytes of it in one record.
    record_bytes: usize,
}

impl Sealing {
    pub(crate) fn new(noise: Arc<StatelessTransportState>, record_bytes: usize) -> Self {
        Self {
            noise,
            nonce: 0,
            plain: BytesMut::new(),
            record_bytes: record_bytes.min(MOST_RECORD_PLAIN_BYTES),
        }
    }

    /// Appends a message; records that became full go to `wire`.
    ///
    /// # Errors
    /// When the message is too long.
    pub(crate) fn push(&mut self, message: &[u8], wire: &mut BytesMut) -> Result<(), Refusal> {
        if message.len() > MOST_MESSAGE_BYTES {
            return Err(Refusal::Length);
        }
        let length = u32::try_from(message.len()).map_err(|_| Refusal::Length)?;
        self.append(&length.to_be_bytes(), wire)?;
        self.append(message, wire)
    }

    fn append(&mut self, mut bytes: &[u8], wire: &mut BytesMut) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            let fits = (self.record_bytes - self.plain.len()).min(bytes.len());
            self.plain.extend_from_slice(&bytes[..fits]);
            bytes = &bytes[fits..];
            if self.plain.len() == self.record_bytes {
                self.flush(wire)?;
            }
        }
        Ok(())
    }

    /// Records of anything, to see what the receiver believes.
    pub(crate) fn push_raw(&mut self, plain: &[u8], wire: &mut BytesMut) {
        // Fails after 2^64 records.
        let _ = self.append(plain, wire).and_then(|()| self.flush(wire));
    }

    /// Makes a record of what is left.
    ///
    /// # Errors
    /// After 2^64 records.
    pub(crate) fn flush(&mut self, wire: &mut BytesMut) -> Result<(), Refusal> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let sealed = self.plain.len() + TAG_BYTES;
        let start = wire.len();
        wire.resize(start + RECORD_LENGTH_BYTES + sealed, 0);
        let (length, record) = wire[start..].split_at_mut(RECORD_LENGTH_BYTES);
        // `record_bytes` keeps it below 65,536.
        length.copy_from_slice(&(sealed as u16).to_be_bytes());
        self.noise
            .write_message(self.nonce, &self.plain, record)
            .map_err(|_| Refusal::Seal)?;
        self.nonce += 1;
        self.plain.clear();
        Ok(())
    }
}

/// From bytes of the socket to messages.
pub(crate) struct Opening {
    noise: Arc<StatelessTransportState>,
    nonce: u64,
    /// Received, not yet opened.
    wire: BytesMut,
    /// Opened, not yet a whole message.
    plain: BytesMut,
}

impl Opening {
    pub(crate) fn new(noise: Arc<StatelessTransportState>) -> Self {
        Self {
            noise,
            nonce: 0,
            wire: BytesMut::new(),
            plain: BytesMut::new(),
        }
    }

    /// Where received bytes are appended.
    pub(crate) const fn wire(&mut self) -> &mut BytesMut {
        &mut self.wire
    }

    /// The next whole message, if it has arrived.
    ///
    /// # Errors
    /// Something that the other host has not sent in this place: the channel is of no use any more.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            if let Some(message) = self.take_message()? {
                return Ok(Some(message));
            }
            if !self.open_record()? {
                return Ok(None);
            }
        }
    }

    fn take_message(&mut self) -> Result<Option<Bytes>, Refusal> {
        let Some(length) = self.plain.first_chunk::<MESSAGE_LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MOST_MESSAGE_BYTES {
            return Err(Refusal::Length);
        }
        if self.plain.len() < MESSAGE_LENGTH_BYTES + length {
            return Ok(None);
        }
        self.plain.advance(MESSAGE_LENGTH_BYTES);
        Ok(Some(self.plain.split_to(length).freeze()))
    }

    /// Opens the next record into `plain`; false if it has not arrived whole.
    fn open_record(&mut self) -> Result<bool, Refusal> {
        let Some(length) = self.wire.first_chunk::<RECORD_LENGTH_BYTES>() else {
            return Ok(false);
        };
        let length = usize::from(u16::from_be_bytes(*length));
        if length <= TAG_BYTES {
            return Err(Refusal::Malformed);
        }
        if self.wire.len() < RECORD_LENGTH_BYTES + length {
            return Ok(false);
        }
        let sealed = &self.wire[RECORD_LENGTH_BYTES..RECORD_LENGTH_BYTES + length];
        let start = self.plain.len();
        self.plain.resize(start + length, 0);
        let opened = self
            .noise
            .read_message(self.nonce, sealed, &mut self.plain[start..])
            .map_err(|_| Refusal::Seal)?;
        self.plain.truncate(start + opened);
        self.nonce += 1;
        self.wire.advance(RECORD_LENGTH_BYTES + length);
        Ok(true)
    }
}
