//! What voters and servers tell each other about views and leases, and its bytes.
//!
//! Every message carries the newest view that its sender accepted, so that whoever missed one learns of it from
//! anything it hears. All numbers are big-endian, every field has a fixed place, and a message ends where its last
//! field ends: what is longer, shorter or makes no sense is refused. Secrecy and authenticity are the link's business,
//! and that nothing of an earlier life of a process arrives after something of a later one (sessions have keys of
//! their own). Otherwise a message may come late, twice, in any order or never.

use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};

use super::ballot::{Ballot, Incarnation};
use super::config::Config;
use crate::replication::view::{Epoch, HostId, HostSet, View};
use crate::time::Instant;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The sender's life.
    pub incarnation: Incarnation,
    /// The newest ballot that the sender accepted.
    pub newest: Ballot,
    /// True if the sender knows that a majority did.
    pub decided: bool,
    /// What it wants.
    pub body: Body,
}

/// What a message is about. Times are the sender's own clock, or the receiver's given back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// I am here.
    Heartbeat(Heartbeat),
    /// Vote for this, and grant its primary a lease with the vote.
    Propose {
        /// What to vote on; follows [`Message::newest`].
        ballot: Ballot,
        /// When it was sent.
        sent: Instant,
        /// How long a lease is asked for.
        lease: Duration,
    },
    /// Grant me a lease once more; I am the primary of [`Message::newest`].
    Renew {
        /// When it was sent.
        sent: Instant,
        /// How long a lease is asked for.
        lease: Duration,
    },
    /// Granted to the primary of [`Message::newest`].
    Grant {
        /// The life that asked.
        asker: Incarnation,
        /// When the request was sent.
        sent: Instant,
    },
    /// Not granted.
    Refuse {
        /// The life that asked.
        asker: Incarnation,
        /// Ballots up to this epoch are refused.
        promised: Epoch,
        /// Why.
        reason: Refusal,
    },
    /// I send nothing more in this epoch until I ask anew; `to` may follow at once.
    Release {
        /// The epoch that is given up.
        epoch: Epoch,
        /// When it was sent: earlier requests for a lease are void.
        sent: Instant,
        /// Who is to follow.
        to: HostId,
    },
}

/// A heartbeat in the manner of BFD (RFC 5880).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// When it was sent.
    pub sent: Instant,
    /// The sender's interval (Desired Min TX Interval).
    pub interval_us: u32,
    /// So many missing ones mean down (Detect Mult).
    pub multiplier: u8,
    /// The sender's opinion of this path.
    pub session: Session,
    /// The last heartbeat that the sender received on this path, for round trip and clock offset.
    pub echo: Option<Echo>,
}

/// A heartbeat given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Echo {
    /// Its `sent`.
    pub sent: Instant,
    /// How long it stayed before this answer.
    pub held: Duration,
}

/// State of a path (RFC 5880 §6.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Session {
    /// Nothing is heard.
    #[default]
    Down = 1,
    /// The peer is heard; whether it hears us is not known.
    Init = 2,
    /// Both hear each other.
    Up = 3,
}

/// Why a voter said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// It promised or accepted a newer epoch.
    OldEpoch = 1,
    /// The ballot does not follow the voter's newest view.
    OtherBase = 2,
    /// The proposer is not in sync in the voter's newest view.
    NotInSync = 3,
    /// Somebody else's lease is not over, or may not be: the voter just started.
    Leased = 4,
    /// The voter has no memory and has not yet heard all others.
    NoMemory = 5,
    /// The ballot breaks a rule whoever proposes it.
    Invalid = 6,
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends before its last field.
    #[error("truncated membership message")]
    Truncated,
    /// Bytes follow its last field.
    #[error("{0} bytes behind a membership message")]
    Trailing(usize),
    /// A field has a value that it cannot have.
    #[error("membership message with an impossible {0}")]
    Field(&'static str),
}

const BALLOT_BYTES: usize = 34;
const HEAD_BYTES: usize = 8 + BALLOT_BYTES + 2;

impl Message {
    /// Appends its bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(HEAD_BYTES + BALLOT_BYTES + 16);
        out.put_u64(self.incarnation.0);
        put_ballot(out, &self.newest);
        out.put_u8(self.decided.into());
        match self.body {
            Body::Heartbeat(heartbeat) => {
                out.put_u8(1);
                put_heartbeat(out, &heartbeat);
            }
            Body::Propose {
                ballot,
                sent,
                lease,
            } => {
                out.put_u8(2);
                put_ballot(out, &ballot);
                out.put_u64(sent.as_nanos());
                put_duration(out, lease);
            }
            Body::Renew { sent, lease } => {
                out.put_u8(3);
                out.put_u64(sent.as_nanos());
                put_duration(out, lease);
            }
            Body::Grant { asker, sent } => {
                out.put_u8(4);
                out.put_u64(asker.0);
                out.put_u64(sent.as_nanos());
            }
            Body::Refuse {
                asker,
                promised,
                reason,
            } => {
                out.put_u8(5);
                out.put_u64(asker.0);
                out.put_u64(promised.0);
                out.put_u8(reason as u8);
            }
            Body::Release { epoch, sent, to } => {
                out.put_u8(6);
                out.put_u64(epoch.0);
                out.put_u64(sent.as_nanos());
                out.put_u8(to.0);
            }
        }
    }

    /// Reads one message that fills `bytes`.
    ///
    /// # Errors
    /// When they are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = bytes;
        let input = &mut rest;
        let message = Self {
            incarnation: incarnation(input)?,
            newest: ballot(input)?,
            decided: flag(input, "decided")?,
            body: body(input)?,
        };
        match rest.len() {
            0 => Ok(message),
            n => Err(Malformed::Trailing(n)),
        }
    }
}

pub(super) fn put_ballot(out: &mut BytesMut, ballot: &Ballot) {
    out.put_u64(ballot.view.epoch.0);
    out.put_u8(ballot.view.primary.0);
    out.put_u8(ballot.view.in_sync.bits());
    out.put_u64(ballot.base.0);
    for incarnation in ballot.incarnations {
        out.put_u64(incarnation.0);
    }
}

fn put_heartbeat(out: &mut BytesMut, heartbeat: &Heartbeat) {
    out.put_u64(heartbeat.sent.as_nanos());
    out.put_u32(heartbeat.interval_us);
    out.put_u8(heartbeat.multiplier);
    out.put_u8(heartbeat.session as u8);
    out.put_u8(heartbeat.echo.is_some().into());
    if let Some(echo) = heartbeat.echo {
        out.put_u64(echo.sent.as_nanos());
        put_duration(out, echo.held);
    }
}

fn put_duration(out: &mut BytesMut, duration: Duration) {
    out.put_u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}

pub(super) fn number(input: &mut &[u8]) -> Result<u64, Malformed> {
    input.try_get_u64().map_err(|_| Malformed::Truncated)
}

fn octet(input: &mut &[u8]) -> Result<u8, Malformed> {
    input.try_get_u8().map_err(|_| Malformed::Truncated)
}

pub(super) fn flag(input: &mut &[u8], name: &'static str) -> Result<bool, Malformed> {
    match octet(input)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed::Field(name)),
    }
}

fn incarnation(input: &mut &[u8]) -> Result<Incarnation, Malformed> {
    match number(input)? {
        0 => Err(Malformed::Field("incarnation")),
        n => Ok(Incarnation(n)),
    }
}

fn lease(input: &mut &[u8]) -> Result<Duration, Malformed> {
    let lease = Duration::from_nanos(number(input)?);
    if lease.is_zero() || lease > Config::MAX_LEASE {
        return Err(Malformed::Field("lease"));
    }
    Ok(lease)
}

pub(super) fn ballot(input: &mut &[u8]) -> Result<Ballot, Malformed> {
    let ballot = Ballot {
        view: View {
            epoch: Epoch(number(input)?),
            primary: HostId(octet(input)?),
            in_sync: HostSet::from_bits(octet(input)?).ok_or(Malformed::Field("set of hosts"))?,
        },
        base: Epoch(number(input)?),
        incarnations: [Incarnation(number(input)?), Incarnation(number(input)?)],
    };
    if !ballot.is_well_formed() {
        return Err(Malformed::Field("ballot"));
    }
    Ok(ballot)
}

fn heartbeat(input: &mut &[u8]) -> Result<Heartbeat, Malformed> {
    let sent = Instant::from_nanos(number(input)?);
    let interval_us = input.try_get_u32().map_err(|_| Malformed::Truncated)?;
    let multiplier = octet(input)?;
    if interval_us == 0 || multiplier == 0 {
        return Err(Malformed::Field("detection time"));
    }
    let session = match octet(input)? {
        1 => Session::Down,
        2 => Session::Init,
        3 => Session::Up,
        _ => return Err(Malformed::Field("session state")),
    };
    let echo = if flag(input, "echo")? {
        Some(Echo {
            sent: Instant::from_nanos(number(input)?),
            held: Duration::from_nanos(number(input)?),
        })
    } else {
        None
    };
    Ok(Heartbeat {
        sent,
        interval_us,
        multiplier,
        session,
        echo,
    })
}

fn body(input: &mut &[u8]) -> Result<Body, Malformed> {
    Ok(match octet(input)? {
        1 => Body::Heartbeat(heartbeat(input)?),
        2 => {
            let ballot = ballot(input)?;
            if ballot.view.is_none() {
                return Err(Malformed::Field("ballot"));
            }
            Body::Propose {
                ballot,
                sent: Instant::from_nanos(number(input)?),
                lease: lease(input)?,
            }
        }
        3 => Body::Renew {
            sent: Instant::from_nanos(number(input)?),
            lease: lease(input)?,
        },
        4 => Body::Grant {
            asker: incarnation(input)?,
            sent: Instant::from_nanos(number(input)?),
        },
        5 => Body::Refuse {
            asker: incarnation(input)?,
            promised: Epoch(number(input)?),
            reason: refusal(octet(input)?)?,
        },
        6 => Body::Release {
            epoch: Epoch(number(input)?),
            sent: Instant::from_nanos(number(input)?),
            to: server(octet(input)?)?,
        },
        _ => return Err(Malformed::Field("kind")),
    })
}

fn server(number: u8) -> Result<HostId, Malformed> {
    let host = HostId(number);
    if host.is_server() {
        Ok(host)
    } else {
        Err(Malformed::Field("host"))
    }
}

fn refusal(number: u8) -> Result<Refusal, Malformed> {
    Ok(match number {
        1 => Refusal::OldEpoch,
        2 => Refusal::OtherBase,
        3 => Refusal::NotInSync,
        4 => Refusal::Leased,
        5 => Refusal::NoMemory,
        6 => Refusal::Invalid,
        _ => return Err(Malformed::Field("refusal")),
    })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
