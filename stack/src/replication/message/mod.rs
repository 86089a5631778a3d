//! What the hosts say to each other. Secrecy, authenticity and protection against replay are the link's
//! business; what is malformed is refused here, and what is of an older epoch by whoever it is for.

mod codec;
#[cfg(test)]
mod tests;

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub use self::codec::{Decoded, Malformed};
use super::entry::Entry;
use super::forward::Forwarded;
use super::membership;
use super::view::Epoch;
use crate::tcp::parting::Parting;

/// No message is longer: a batch is cut before.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Most hints, or stands, in one message.
pub(crate) const MAX_HINTS: usize = 4096;

/// What is known of a log: that of one primary, from the view with which it began. Its entries are counted
/// from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The epoch with which the log began; [`Epoch::NONE`] for no log.
    pub log: Epoch,
    /// An entry of it.
    pub index: u64,
}

/// Where a connection stands, roughly: the latest counts, and none has to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The connection's number.
    pub connection: u64,
    /// The peer has our stream up to here.
    pub position: u64,
}

/// Where a connection stands that is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The connection's number.
    pub connection: u64,
    /// All that the next owner need not ask the client for.
    pub parting: Parting,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who may send.
    Membership(membership::Message),
    /// From a backup: what its copy is; the primary goes on there, or brings it up from the start.
    Hello {
        /// Of the newest view that it knows.
        epoch: Epoch,
        /// The next entry that it expects.
        next: Place,
    },
    /// From a primary: forget your copy, this is the start of a snapshot.
    Begin {
        /// Of its view.
        epoch: Epoch,
        /// The first entry.
        first: Place,
    },
    /// From a primary that took over in order, to the host that handed over: your copy is what mine was; go on from
    /// there.
    Continue {
        /// Of its view.
        epoch: Epoch,
        /// Where the copy stands, in the log of the one that handed over.
        base: Place,
        /// The first entry after it, in the log of the one that took over.
        first: Place,
        /// What was added to the clock of all timestamps in between.
        shift: u32,
    },
    /// From a primary: entries, in order.
    Entries {
        /// Of its view.
        epoch: Epoch,
        /// The first of them.
        first: Place,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// From a primary: the snapshot is complete, and everything after it is gated.
    Done {
        /// Of its view.
        epoch: Epoch,
        /// The entry after it.
        next: Place,
    },
    /// From a backup: its copy has everything before this.
    Applied {
        /// Of the newest view that it knows.
        epoch: Epoch,
        /// The next entry that it expects.
        next: Place,
    },
    /// From a primary.
    Hints {
        /// Of its view.
        epoch: Epoch,
        /// Some connections.
        hints: Vec<Hint>,
    },
    /// From a backup: the application that followed this connection is too far behind to go on with it.
    Unfollowed {
        /// Of the newest view that it knows.
        epoch: Epoch,
        /// The connection's number.
        connection: u64,
    },
    /// From a primary that hands over and is silent.
    Parting {
        /// Of its view.
        epoch: Epoch,
        /// Some connections.
        stands: Vec<Stand>,
    },
    /// From a backup: it knows where those connections stand.
    Parted {
        /// Of the newest view that it knows.
        epoch: Epoch,
    },
    /// A datagram that came to the host that had the service before.
    Forward(Forwarded),
}

const MEMBERSHIP: u8 = 1;
const HELLO: u8 = 2;
const BEGIN: u8 = 3;
const ENTRIES: u8 = 4;
const DONE: u8 = 5;
const APPLIED: u8 = 6;
const HINTS: u8 = 7;
const FORWARD: u8 = 8;
const UNFOLLOWED: u8 = 9;
const PARTING: u8 = 10;
const CONTINUE: u8 = 11;
const PARTED: u8 = 12;
/// Bytes of an encoded batch before its first entry.
pub(crate) const ENTRIES_HEAD_BYTES: usize = 1 + 8 + 16 + 4;

impl Message {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        self.encode(&mut bytes);
        bytes.freeze()
    }

    /// Appends its bytes.
    pub fn encode(&self, into: &mut BytesMut) {
        match self {
            Self::Membership(message) => {
                into.put_u8(MEMBERSHIP);
                message.encode(into);
            }
            Self::Hello { epoch, next } => put_head(HELLO, *epoch, *next, into),
            Self::Begin { epoch, first } => put_head(BEGIN, *epoch, *first, into),
            Self::Entries {
                epoch,
                first,
                entries,
            } => {
                put_entries_head(*epoch, *first, entries.len() as u32, into);
                entries.iter().for_each(|entry| entry.encode(into));
            }
            Self::Continue {
                epoch,
                base,
                first,
                shift,
            } => {
                put_head(CONTINUE, *epoch, *base, into);
                put_place(*first, into);
                into.put_u32(*shift);
            }
            Self::Done { epoch, next } => put_head(DONE, *epoch, *next, into),
            Self::Applied { epoch, next } => put_head(APPLIED, *epoch, *next, into),
            Self::Hints { epoch, hints } => put_hints(*epoch, hints, into),
            Self::Parting { epoch, stands } => put_stands(*epoch, stands, into),
            Self::Unfollowed { epoch, connection } => {
                into.put_u8(UNFOLLOWED);
                into.put_u64(epoch.0);
                into.put_u64(*connection);
            }
            Self::Parted { epoch } => {
                into.put_u8(PARTED);
                into.put_u64(epoch.0);
            }
            Self::Forward(packet) => {
                into.put_u8(FORWARD);
                packet.encode(into);
            }
        }
    }

    /// Reads a message; what it carries refers to the same memory.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: Bytes) -> Decoded<Self> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(Malformed::TooLong);
        }
        let mut rest = bytes;
        let message = match rest.try_get_u8()? {
            MEMBERSHIP => {
                let message = membership::Message::decode(&rest);
                return Ok(Self::Membership(
                    message.map_err(|_| Malformed::Membership)?,
                ));
            }
            HELLO => {
                let (epoch, next) = get_head(&mut rest)?;
                Self::Hello { epoch, next }
            }
            BEGIN => {
                let (epoch, first) = get_head(&mut rest)?;
                Self::Begin { epoch, first }
            }
            ENTRIES => {
                let (epoch, first) = get_head(&mut rest)?;
                let count = rest.try_get_u32()?;
                if first.index.checked_add(u64::from(count)).is_none() {
                    return Err(Malformed::Value);
                }
                let mut entries = Vec::new();
                for _ in 0..count {
                    entries.push(Entry::decode(&mut rest)?);
                }
                Self::Entries {
                    epoch,
                    first,
                    entries,
                }
            }
            CONTINUE => {
                let (epoch, base) = get_head(&mut rest)?;
                Self::Continue {
                    epoch,
                    base,
                    first: get_place(&mut rest)?,
                    shift: rest.try_get_u32()?,
                }
            }
            DONE => {
                let (epoch, next) = get_head(&mut rest)?;
                Self::Done { epoch, next }
            }
            APPLIED => {
                let (epoch, next) = get_head(&mut rest)?;
                Self::Applied { epoch, next }
            }
            HINTS => {
                let (epoch, hints) = get_hints(&mut rest)?;
                Self::Hints { epoch, hints }
            }
            PARTING => {
                let (epoch, stands) = get_stands(&mut rest)?;
                Self::Parting { epoch, stands }
            }
            UNFOLLOWED => Self::Unfollowed {
                epoch: Epoch(rest.try_get_u64()?),
                connection: rest.try_get_u64()?,
            },
            PARTED => Self::Parted {
                epoch: Epoch(rest.try_get_u64()?),
            },
            FORWARD => return Ok(Self::Forward(Forwarded::decode(rest)?)),
            kind => return Err(Malformed::Kind(kind)),
        };
        if rest.is_empty() {
            Ok(message)
        } else {
            Err(Malformed::Trailing)
        }
    }
}

/// The head of a batch of entries, which follow it.
pub(crate) fn put_entries_head(epoch: Epoch, first: Place, count: u32, into: &mut BytesMut) {
    put_head(ENTRIES, epoch, first, into);
    into.put_u32(count);
}

fn put_head(kind: u8, epoch: Epoch, place: Place, into: &mut BytesMut) {
    into.put_u8(kind);
    into.put_u64(epoch.0);
    put_place(place, into);
}

fn get_head(from: &mut Bytes) -> Decoded<(Epoch, Place)> {
    let epoch = Epoch(from.try_get_u64()?);
    Ok((epoch, get_place(from)?))
}

fn put_place(place: Place, into: &mut BytesMut) {
    into.put_u64(place.log.0);
    into.put_u64(place.index);
}

fn get_place(from: &mut Bytes) -> Decoded<Place> {
    Ok(Place {
        log: Epoch(from.try_get_u64()?),
        index: from.try_get_u64()?,
    })
}

fn put_hints(epoch: Epoch, hints: &[Hint], into: &mut BytesMut) {
    into.put_u8(HINTS);
    into.put_u64(epoch.0);
    into.put_u32(hints.len() as u32);
    for hint in hints {
        into.put_u64(hint.connection);
        into.put_u64(hint.position);
    }
}

fn get_hints(from: &mut Bytes) -> Decoded<(Epoch, Vec<Hint>)> {
    let epoch = Epoch(from.try_get_u64()?);
    let count = from.try_get_u32()? as usize;
    if count > MAX_HINTS {
        return Err(Malformed::TooLong);
    }
    let mut hints = Vec::new();
    for _ in 0..count {
        hints.push(Hint {
            connection: from.try_get_u64()?,
            position: from.try_get_u64()?,
        });
    }
    Ok((epoch, hints))
}

fn put_stands(epoch: Epoch, stands: &[Stand], into: &mut BytesMut) {
    into.put_u8(PARTING);
    into.put_u64(epoch.0);
    into.put_u32(stands.len() as u32);
    for stand in stands {
        let Parting {
            sent,
            acknowledged,
            window_end,
            round_trip_us,
        } = stand.parting;
        into.put_u64(stand.connection);
        into.put_u64(sent);
        into.put_u64(acknowledged);
        into.put_u64(window_end);
        into.put_u32(round_trip_us);
    }
}

fn get_stands(from: &mut Bytes) -> Decoded<(Epoch, Vec<Stand>)> {
    let epoch = Epoch(from.try_get_u64()?);
    let count = from.try_get_u32()? as usize;
    if count > MAX_HINTS {
        return Err(Malformed::TooLong);
    }
    let mut stands = Vec::new();
    for _ in 0..count {
        stands.push(Stand {
            connection: from.try_get_u64()?,
            parting: Parting {
                sent: from.try_get_u64()?,
                acknowledged: from.try_get_u64()?,
                window_end: from.try_get_u64()?,
                round_trip_us: from.try_get_u32()?,
            },
        });
    }
    Ok((epoch, stands))
}
