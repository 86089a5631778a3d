//! What a voter must not forget, and its bytes on stable storage.

use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};

use super::ballot::Ballot;
use super::config::Config;
use super::message::{self, Malformed};
use crate::replication::view::Epoch;

/// A voter's memory. [`Durable::default`] is that of a host that never voted, or has lost it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    /// Ballots up to this epoch are refused.
    pub promised: Epoch,
    /// The newest ballot that was accepted.
    pub newest: Ballot,
    /// The longest lease that was ever granted; a voter that restarts waits until it is over.
    pub longest_lease: Duration,
}

impl Durable {
    /// True without any memory.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.promised == Epoch::NONE
    }

    /// Appends its bytes; checksum and atomic replacement are the storage's business.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u64(self.promised.0);
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
        let mut number = || rest.try_get_u64().map_err(|_| Malformed::Truncated);
        let promised = Epoch(number()?);
        let longest_lease = Duration::from_nanos(number()?);
        let newest = message::ballot(&mut rest)?;
        if longest_lease > Config::MAX_LEASE || newest.epoch() > promised {
            return Err(Malformed::Field("memory"));
        }
        match rest.len() {
            0 => Ok(Self {
                promised,
                newest,
                longest_lease,
            }),
            n => Err(Malformed::Trailing(n)),
        }
    }
}
