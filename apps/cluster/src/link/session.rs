//! An agreed session for datagrams: sealing from any thread, opening on one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use snow::{HandshakeState, StatelessTransportState};

use super::datagram::{Datagram, Kind, SEALED_HEADER_BYTES};
use super::noise::TAG_BYTES;
use super::refusal::Refusal;
use super::replay_window::ReplayWindow;
use crate::id::{HostId, PathId};

/// Most bytes of a message that is sent as a datagram. Beyond some 1,400 it is cut into IP fragments.
pub const MOST_DATAGRAM_BYTES: usize = 32 << 10;

/// Seals what we send. Any thread may.
pub(crate) struct Sealer {
    noise: Arc<StatelessTransportState>,
    from: HostId,
    to: HostId,
    /// The session's name at the receiver.
    receiver: u32,
    counter: AtomicU64,
}

/// Opens what we receive.
pub(crate) struct Opener {
    noise: Arc<StatelessTransportState>,
    /// The session's name here.
    pub(crate) index: u32,
    window: ReplayWindow,
}

/// Both halves of a session out of a finished handshake.
pub(crate) fn session(
    handshake: HandshakeState,
    (from, to): (HostId, HostId),
    (ours, theirs): (u32, u32),
) -> Result<(Sealer, Opener), Refusal> {
    let noise = handshake.into_stateless_transport_mode();
    let noise = Arc::new(noise.map_err(|_| Refusal::Key)?);
    let sealer = Sealer {
        noise: Arc::clone(&noise),
        from,
        to,
        receiver: theirs,
        counter: AtomicU64::new(0),
    };
    let opener = Opener {
        noise,
        index: ours,
        window: ReplayWindow::default(),
    };
    Ok((sealer, opener))
}

impl Sealer {
    /// A datagram with `message`, for `path`; none if the message is too long.
    pub(crate) fn seal(&self, path: PathId, message: &[u8]) -> Option<Vec<u8>> {
        if message.len() > MOST_DATAGRAM_BYTES {
            return None;
        }
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut plain = Vec::with_capacity(1 + message.len());
        plain.push(path.0);
        plain.extend_from_slice(message);
        let head = Datagram {
            from: self.from,
            to: self.to,
            kind: Kind::Sealed {
                receiver: self.receiver,
                counter,
                sealed: &[],
            },
        };
        let mut datagram = head.emit();
        datagram.resize(SEALED_HEADER_BYTES + plain.len() + TAG_BYTES, 0);
        self.noise
            .write_message(counter, &plain, &mut datagram[SEALED_HEADER_BYTES..])
            .ok()?;
        Some(datagram)
    }
}

impl Opener {
    /// The message of a sealed datagram that arrived on `path`. Nothing changes unless it is genuine.
    ///
    /// # Errors
    /// Seen before, not genuine, or sent on another path.
    pub(crate) fn open(
        &mut self,
        path: PathId,
        counter: u64,
        sealed: &[u8],
    ) -> Result<Bytes, Refusal> {
        if !self.window.is_new(counter) {
            return Err(Refusal::Replay);
        }
        let mut plain = BytesMut::zeroed(sealed.len());
        let length = self.noise.read_message(counter, sealed, &mut plain);
        plain.truncate(length.map_err(|_| Refusal::Seal)?);
        self.window.record(counter);
        let mut plain = plain.freeze();
        match plain.split_to(plain.len().min(1)).first() {
            Some(sent_on) if *sent_on == path.0 => Ok(plain),
            Some(_) => Err(Refusal::Path),
            None => Err(Refusal::Malformed),
        }
    }
}
