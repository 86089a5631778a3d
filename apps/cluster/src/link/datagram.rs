//! The format of datagrams between hosts: a clear header, and a seal that covers the rest.
//!
//! ```text
//! "OL" version kind from to            6 bytes, of every kind
//! Hello                                nothing more: "I have no session with you"
//! Initiate   our index, Noise message 1
//! Respond    our index, your index, Noise message 2
//! Sealed     your index, counter, sealed { path, message }
//! ```
//! An index names a session at the host that receives it. Header and index are not secret and need no seal: the
//! prologue of the handshake binds the hosts, and a wrong index finds another key or none.

use super::noise::{HANDSHAKE_BYTES, TAG_BYTES};
use super::refusal::Refusal;
use crate::id::HostId;

const MAGIC: &[u8; 2] = b"OL";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 6;
/// Bytes before the seal of a [`Kind::Sealed`].
pub(crate) const SEALED_HEADER_BYTES: usize = HEADER_BYTES + 4 + 8;

/// A datagram as it lies in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram<'a> {
    pub(crate) from: HostId,
    pub(crate) to: HostId,
    pub(crate) kind: Kind<'a>,
}

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    Hello,
    Initiate {
        sender: u32,
        noise: &'a [u8],
    },
    Respond {
        sender: u32,
        receiver: u32,
        noise: &'a [u8],
    },
    Sealed {
        receiver: u32,
        counter: u64,
        sealed: &'a [u8],
    },
}

impl<'a> Datagram<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        Self::parse_or_none(bytes).ok_or(Refusal::Malformed)
    }

    fn parse_or_none(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [m0, m1, version, kind, from, to] = *header;
        if [m0, m1] != *MAGIC || version != VERSION {
            return None;
        }
        let kind = match kind {
            0 if rest.is_empty() => Kind::Hello,
            1 => {
                let (sender, noise) = rest.split_first_chunk()?;
                let sender = u32::from_be_bytes(*sender);
                Kind::Initiate { sender, noise }
            }
            2 => {
                let (sender, rest) = rest.split_first_chunk()?;
                let (receiver, noise) = rest.split_first_chunk()?;
                let (sender, receiver) =
                    (u32::from_be_bytes(*sender), u32::from_be_bytes(*receiver));
                Kind::Respond {
                    sender,
                    receiver,
                    noise,
                }
            }
            3 => {
                let (receiver, rest) = rest.split_first_chunk()?;
                let (counter, sealed) = rest.split_first_chunk()?;
                Kind::Sealed {
                    receiver: u32::from_be_bytes(*receiver),
                    counter: u64::from_be_bytes(*counter),
                    sealed,
                }
            }
            _ => return None,
        };
        let whole = match kind {
            Kind::Hello => true,
            Kind::Initiate { noise, .. } | Kind::Respond { noise, .. } => {
                noise.len() == HANDSHAKE_BYTES
            }
            // The path, and the tag.
            Kind::Sealed { sealed, .. } => sealed.len() > TAG_BYTES,
        };
        whole.then_some(Self {
            from: HostId(from),
            to: HostId(to),
            kind,
        })
    }

    /// Writes it.
    pub(crate) fn emit(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEALED_HEADER_BYTES + 64);
        bytes.extend_from_slice(MAGIC);
        let kind = match self.kind {
            Kind::Hello => 0,
            Kind::Initiate { .. } => 1,
            Kind::Respond { .. } => 2,
            Kind::Sealed { .. } => 3,
        };
        bytes.extend_from_slice(&[VERSION, kind, self.from.0, self.to.0]);
        match self.kind {
            Kind::Hello => {}
            Kind::Initiate { sender, noise } => {
                bytes.extend_from_slice(&sender.to_be_bytes());
                bytes.extend_from_slice(noise);
            }
            Kind::Respond {
                sender,
                receiver,
                noise,
            } => {
                bytes.extend_from_slice(&sender.to_be_bytes());
                bytes.extend_from_slice(&receiver.to_be_bytes());
                bytes.extend_from_slice(noise);
            }
            Kind::Sealed {
                receiver,
                counter,
                sealed,
            } => {
                bytes.extend_from_slice(&receiver.to_be_bytes());
                bytes.extend_from_slice(&counter.to_be_bytes());
                bytes.extend_from_slice(sealed);
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(bytes: &[u8]) -> [Kind<'_>; 4] {
        let noise = &bytes[..HANDSHAKE_BYTES];
        [
            Kind::Hello,
            Kind::Initiate { sender: 7, noise },
            Kind::Respond {
                sender: 7,
                receiver: u32::MAX,
                noise,
            },
            Kind::Sealed {
                receiver: 9,
                counter: u64::MAX - 1,
                sealed: bytes,
            },
        ]
    }

    #[test]
    fn every_kind_comes_back_and_no_shorter_one_is_taken_for_it() {
        let bytes: Vec<u8> = (0..100).collect();
        for kind in kinds(&bytes) {
            let datagram = Datagram {
                from: HostId(1),
                to: HostId(0),
                kind,
            };
            let emitted = datagram.emit();
            assert_eq!(Datagram::parse(&emitted), Ok(datagram));
            let least = match kind {
                Kind::Sealed { .. } => SEALED_HEADER_BYTES + TAG_BYTES + 1,
                _ => emitted.len(),
            };
            for length in 0..least {
                assert_eq!(
                    Datagram::parse(&emitted[..length]),
                    Err(Refusal::Malformed),
                    "{length} of {kind:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_come_back_as_they_were(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(datagram) = Datagram::parse(&bytes) {
                prop_assert_eq!(datagram.emit(), bytes);
            }
        }

        #[test]
        fn any_bytes_after_a_good_start_too(kind in 0u8..5, rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = b"OL\x01".to_vec();
            bytes.extend([kind, 0, 1]);
            bytes.extend(rest);
            if let Ok(datagram) = Datagram::parse(&bytes) {
                prop_assert_eq!(datagram.emit(), bytes);
            }
        }
    }
}
