//! How a TCP connection becomes a channel: a clear header, two Noise messages, and a first record that shows
//! that the connecting host lives now and which connections belong together.
//!
//! ```text
//! connecting host                     listening host
//! "OL" version purpose from to  ───▶
//! Noise message 1               ───▶
//!                               ◀───  Noise message 2
//! record { generation }         ───▶
//! ```

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use thiserror::Error;

use super::noise::{HANDSHAKE_BYTES, Parties, Purpose, finish};
use super::record::{Opening, Sealing};
use super::refusal::Refusal;
use crate::id::HostId;
use crate::key::Key;
use outlive::engine::clock;

const MAGIC: &[u8; 2] = b"OL";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 6;
/// The whole handshake must be over by then.
const PATIENCE: Duration = Duration::from_secs(1);

/// One of the two channels of a pair, after its handshake.
pub(crate) struct Half {
    pub(crate) peer: HostId,
    pub(crate) purpose: Purpose,
    /// The same in both halves of a pair.
    pub(crate) generation: u64,
    pub(crate) socket: TcpStream,
    /// Goes on after the first record.
    pub(crate) sealing: Sealing,
    pub(crate) opening: Opening,
}

/// Why a connection did not become a channel.
#[derive(Debug, Error)]
pub(crate) enum GreetingError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Refused(#[from] Refusal),
}

/// Writes the header of a connection.
fn header(parties: Parties) -> [u8; HEADER_BYTES] {
    let [m0, m1] = *MAGIC;
    let (from, to) = (parties.initiator.0, parties.responder.0);
    [m0, m1, VERSION, parties.purpose as u8, from, to]
}

/// Reads the header of a connection to `me`.
///
/// # Errors
/// It is not one of ours, or for another host.
pub(crate) fn parse_header(bytes: [u8; HEADER_BYTES], me: HostId) -> Result<Parties, Refusal> {
    let [m0, m1, version, purpose, from, to] = bytes;
    let purpose = Purpose::from_byte(purpose).filter(|it| *it != Purpose::Datagrams);
    match purpose {
        Some(purpose) if [m0, m1] == *MAGIC && version == VERSION => {
            if to != me.0 {
                return Err(Refusal::Host);
            }
            Ok(Parties {
                initiator: HostId(from),
                responder: HostId(to),
                purpose,
            })
        }
        _ => Err(Refusal::Malformed),
    }
}

/// The connecting host's side.
///
/// # Errors
/// The other host refuses, is too slow, or does not have the key.
pub(crate) fn connect(
    mut socket: TcpStream,
    parties: Parties,
    key: &Key,
    generation: u64,
    record_bytes: usize,
) -> Result<Half, GreetingError> {
    let (mut state, first) = parties.initiate(key).map_err(|_| Refusal::Key)?;
    socket.write_all(&[&header(parties)[..], &first].concat())?;
    let mut deadline = Deadline::new();
    let second: [u8; HANDSHAKE_BYTES] = deadline.read(&mut socket)?;
    finish(&mut state, &second).map_err(|_| Refusal::Key)?;
    let noise = state
        .into_stateless_transport_mode()
        .map_err(|_| Refusal::Key)?;
    let noise = Arc::new(noise);
    let mut sealing = Sealing::new(Arc::clone(&noise), record_bytes);
    let mut wire = BytesMut::new();
    sealing.push(&generation.to_be_bytes(), &mut wire)?;
    sealing.flush(&mut wire)?;
    socket.write_all(&wire)?;
    Ok(Half {
        peer: parties.responder,
        purpose: parties.purpose,
        generation,
        socket,
        opening: Opening::new(noise),
        sealing,
    })
}

/// The listening host's side.
///
/// # Errors
/// Why the connection is refused.
pub(crate) fn accept(
    mut socket: TcpStream,
    me: HostId,
    key: &Key,
    record_bytes: impl Fn(Purpose) -> usize,
) -> Result<Half, GreetingError> {
    let mut deadline = Deadline::new();
    let parties = parse_header(deadline.read(&mut socket)?, me)?;
    if parties.initiator >= me {
        return Err(Refusal::Host.into());
    }
    let first: [u8; HANDSHAKE_BYTES] = deadline.read(&mut socket)?;
    let (state, second) = parties.respond(key, &first).map_err(|_| Refusal::Key)?;
    socket.write_all(&second)?;
    let noise = state
        .into_stateless_transport_mode()
        .map_err(|_| Refusal::Key)?;
    let noise = Arc::new(noise);
    let mut opening = Opening::new(Arc::clone(&noise));
    let generation = loop {
        if let Some(message) = opening.next()? {
            break message
                .as_ref()
                .try_into()
                .map_err(|_| Refusal::Malformed)?;
        }
        let byte: [u8; 1] = deadline.read(&mut socket)?;
        opening.wire().extend_from_slice(&byte);
    };
    Ok(Half {
        peer: parties.initiator,
        purpose: parties.purpose,
        generation: u64::from_be_bytes(generation),
        sealing: Sealing::new(noise, record_bytes(parties.purpose)),
        socket,
        opening,
    })
}

/// The end of a handshake's patience, however slowly bytes drip in.
struct Deadline {
    at: outlive::time::Instant,
}

impl Deadline {
    fn new() -> Self {
        Self {
            at: clock::now() + PATIENCE,
        }
    }

    fn read<const N: usize>(&mut self, socket: &mut TcpStream) -> Result<[u8; N], GreetingError> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            let left = self.at.since(clock::now());
            if left.is_zero() {
                return Err(Refusal::Slow.into());
            }
            socket.set_read_timeout(Some(left))?;
            match socket.read(&mut bytes[filled..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(n) => filled += n,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        return Err(Refusal::Slow.into());
                    }
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(bytes)
    }
}
