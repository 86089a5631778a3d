//! The Noise handshake of every link: `NNpsk0` (Noise Protocol Framework, revision 34, §7.5 and §9).
//!
//! Both sides prove that they have the key; fresh ephemeral keys on both sides make every session one of
//! its own, so that nothing recorded in another session is genuine in this one, and a key that leaks later
//! does not open what was recorded before. The prologue binds who speaks to whom, for what purpose, and in which language:
//! builds whose messages differ refuse each other.

use snow::{Builder, HandshakeState};

use crate::id::HostId;
use crate::key::Key;

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
/// Bytes of each of the two messages of the handshake: an ephemeral key and the tag of an empty payload.
pub(crate) const HANDSHAKE_BYTES: usize = 48;
/// Bytes that a seal adds.
pub(crate) const TAG_BYTES: usize = 16;

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Purpose {
    Datagrams = 0,
    Commit = 1,
    Bulk = 2,
}

impl Purpose {
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Datagrams),
            1 => Some(Self::Commit),
            2 => Some(Self::Bulk),
            _ => None,
        }
    }
}

/// Who speaks to whom, and what for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parties {
    pub(crate) initiator: HostId,
    pub(crate) responder: HostId,
    pub(crate) purpose: Purpose,
}

impl Parties {
    fn prologue(self) -> [u8; 18] {
        let mut prologue = *b"outlive link 2\0\0\0\0";
        prologue[15] = self.initiator.0;
        prologue[16] = self.responder.0;
        prologue[17] = self.purpose as u8;
        prologue
    }

    /// Begins a handshake: its state, and the first message.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub(crate) fn initiate(
        self,
        key: &Key,
    ) -> Result<(HandshakeState, [u8; HANDSHAKE_BYTES]), snow::Error> {
        let prologue = self.prologue();
        let mut state = builder()?
            .psk(0, key.bytes())?
            .prologue(&prologue)?
            .build_initiator()?;
        let mut message = [0; HANDSHAKE_BYTES];
        state.write_message(&[], &mut message)?;
        Ok((state, message))
    }

    /// Answers the first message: the finished handshake, and the second message.
    ///
    /// # Errors
    /// When the first message was not made with `key` for these parties.
    pub(crate) fn respond(
        self,
        key: &Key,
        first: &[u8],
    ) -> Result<(HandshakeState, [u8; HANDSHAKE_BYTES]), snow::Error> {
        let prologue = self.prologue();
        let mut state = builder()?
            .psk(0, key.bytes())?
            .prologue(&prologue)?
            .build_responder()?;
        let mut message = [0; HANDSHAKE_BYTES];
        state.read_message(first, &mut message)?;
        state.write_message(&[], &mut message)?;
        Ok((state, message))
    }
}

fn builder<'a>() -> Result<Builder<'a>, snow::Error> {
    Ok(Builder::new(PATTERN.parse()?))
}

/// Takes the second message in.
///
/// # Errors
/// When it was not made with the key, in answer to our first; the state waits for a better one then.
pub(crate) fn finish(state: &mut HandshakeState, second: &[u8]) -> Result<(), snow::Error> {
    state.read_message(second, &mut [0; HANDSHAKE_BYTES])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTIES: Parties = Parties {
        initiator: HostId(0),
        responder: HostId(1),
        purpose: Purpose::Commit,
    };

    fn key(byte: u8) -> Key {
        Key::from_bytes([byte; 32])
    }

    #[test]
    fn both_sides_have_to_have_the_key() {
        let (mut state, first) = PARTIES.initiate(&key(1)).unwrap();
        assert!(PARTIES.respond(&key(2), &first).is_err());
        let (_, second) = PARTIES.respond(&key(1), &first).unwrap();
        let mut spoilt = second;
        spoilt[47] ^= 1;
        assert!(finish(&mut state, &spoilt).is_err());
        finish(&mut state, &second).unwrap();
        assert!(state.is_handshake_finished());
    }

    #[test]
    fn an_answer_to_an_older_handshake_is_refused() {
        let (_, old_first) = PARTIES.initiate(&key(1)).unwrap();
        let (_, old_second) = PARTIES.respond(&key(1), &old_first).unwrap();
        let (mut state, _) = PARTIES.initiate(&key(1)).unwrap();
        assert!(finish(&mut state, &old_second).is_err());
    }

    #[test]
    fn a_handshake_is_for_its_parties_and_purpose_alone() {
        let (_, first) = PARTIES.initiate(&key(1)).unwrap();
        for other in [
            Parties {
                purpose: Purpose::Bulk,
                ..PARTIES
            },
            Parties {
                initiator: HostId(2),
                ..PARTIES
            },
            Parties {
                responder: HostId(2),
                ..PARTIES
            },
        ] {
            assert!(other.respond(&key(1), &first).is_err(), "{other:?}");
        }
    }
}
