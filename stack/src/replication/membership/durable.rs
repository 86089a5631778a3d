//! What a voter must not forget, and its bytes on stable storage.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::ballot::Ballot;
use super::config::Config;
use super::message::{self, Malformed};

/// A voter's memory. [`Durable::default`] is that of a host that never voted, or has lost it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    /// The newest ballot that was accepted.
    pub newest: Ballot,
    /// False until the newest ballots of all other voters are known: what this voter accepted before it lost its
    /// memory, one of them has accepted too, if it counted.
    pub complete: bool,
    /// The longest lease that was ever granted; a voter that restarts waits until it is over.
    pub longest_lease: Duration,
}

impl Durable {
    /// Appends its bytes; checksum and atomic replacement are the storage's business.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(self.complete.into());
        out.put_u64(u64::try_from(self.longest_lease.as_nanos()).unwrap_or(u64::MAX));
        message::put_ballot(out, &self.newest);
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are anything else. Do not take it for [`Durable::default`]: a voter that lost its memory
    /// is less safe than one that does not start.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = bytes;
        let input = &mut rest;
        let complete = message::flag(input, "memory")?;
        let longest_lease = Duration::from_nanos(message::number(input)?);
        let newest = message::ballot(input)?;
        if longest_lease > Config::MAX_LEASE {
            return Err(Malformed::Field("memory"));
        }
        match rest.len() {
            0 => Ok(Self {
                newest,
                complete,
                longest_lease,
            }),
            n => Err(Malformed::Trailing(n)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::membership::ballot::Incarnation;
    use crate::replication::view::{Epoch, HostId, HostSet, View};

    #[test]
    fn what_was_stored_is_read_and_nothing_else() {
        let durable = Durable {
            newest: Ballot {
                view: View {
                    epoch: Epoch(7),
                    primary: HostId(1),
                    in_sync: HostSet::only(HostId(1)),
                },
                base: Epoch(4),
                incarnations: [Incarnation(0), Incarnation(77)],
            },
            complete: true,
            longest_lease: Duration::from_millis(30),
        };
        let mut bytes = BytesMut::new();
        durable.encode(&mut bytes);
        assert_eq!(Durable::decode(&bytes), Ok(durable));
        for kept in 0..bytes.len() {
            assert!(Durable::decode(&bytes[..kept]).is_err());
        }
        bytes[1] = 0xff;
        assert_eq!(Durable::decode(&bytes), Err(Malformed::Field("memory")));
    }
}
