//! Bytes of an entry. Integers are big-endian; what varies in length says how long it is first, in 32
//! bits. Nothing that arrives can make this allocate more than it is long.

use std::net::IpAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::replication::decisions::Logged;
use crate::replication::digest::OutputDigest;
use crate::replication::entry::{
    Change, Entry, MAX_DECISION_BYTES, MAX_STATE_BYTES, MAX_STREAM_BYTES, Opening, Reason,
};
use crate::tcp::FourTuple;
use crate::tcp::gate::{Hot, Mark, Note, Pieces, Point, Terms};
use crate::tcp::record::Record;

/// A message that no honest peer sends.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// It ends too early.
    #[error("truncated")]
    Truncated,
    /// Something follows its end.
    #[error("bytes after the end")]
    Trailing,
    /// A kind that is not known.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// A value that cannot be.
    #[error("value out of range")]
    Value,
    /// A message about who may send.
    #[error("malformed membership message")]
    Membership,
    /// A part longer than is agreed.
    #[error("too long")]
    TooLong,
}

impl From<bytes::TryGetError> for Malformed {
    fn from(_: bytes::TryGetError) -> Self {
        Self::Truncated
    }
}

/// What codecs of messages return.
pub type Decoded<T> = Result<T, Malformed>;

const OPEN: u8 = 1;
const RECEIVED: u8 = 2;
const SKIPPED: u8 = 3;
const FIN: u8 = 4;
const ABORT: u8 = 5;
const ANCHOR: u8 = 6;
const POINT: u8 = 7;
const DECISION: u8 = 8;
const OUTPUT: u8 = 9;
const UNPROTECTED: u8 = 10;
const TIME_WAIT: u8 = 11;
const CLOSED: u8 = 12;
const SHED: u8 = 13;
const USER_TIMEOUT: u8 = 14;

impl Entry {
    /// Appends its bytes.
    pub fn encode(&self, into: &mut BytesMut) {
        into.put_u64(self.connection);
        match &self.change {
            Change::Open(opening) => {
                into.put_u8(OPEN);
                put_opening(opening, into);
            }
            Change::Received {
                from,
                bytes,
                fin,
                right_edge,
            } => {
                into.put_u8(RECEIVED);
                put_flag(*fin, into);
                into.put_u64(*from);
                into.put_u64(*right_edge);
                let len: usize = bytes.iter().map(Bytes::len).sum();
                into.put_u32(len as u32);
                // Not piece by piece: what was written before would be copied as often.
                into.reserve(len);
                bytes.iter().for_each(|piece| into.put_slice(piece));
            }
            &Change::Skipped {
                upto,
                fin,
                right_edge,
            } => {
                into.put_u8(SKIPPED);
                put_flag(fin, into);
                into.put_u64(upto);
                into.put_u64(right_edge);
            }
            &Change::Fin { position, mark } => {
                into.put_u8(FIN);
                into.put_u64(position);
                put_mark(mark, into);
            }
            Change::Abort => into.put_u8(ABORT),
            Change::Note(note) => put_note(note, into),
            Change::Closed => into.put_u8(CLOSED),
            Change::Shed => into.put_u8(SHED),
        }
    }

    /// Takes one entry off the front of `from`; its bytes refer to the same memory.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(from: &mut Bytes) -> Decoded<Self> {
        let connection = from.try_get_u64()?;
        let change = match from.try_get_u8()? {
            OPEN => Change::Open(Box::new(get_opening(from)?)),
            RECEIVED => Change::Received {
                fin: get_flag(from)?,
                from: from.try_get_u64()?,
                right_edge: from.try_get_u64()?,
                bytes: get_pieces(from)?,
            },
            SKIPPED => Change::Skipped {
                fin: get_flag(from)?,
                upto: from.try_get_u64()?,
                right_edge: from.try_get_u64()?,
            },
            FIN => Change::Fin {
                position: from.try_get_u64()?,
                mark: get_mark(from)?,
            },
            ABORT => Change::Abort,
            CLOSED => Change::Closed,
            SHED => Change::Shed,
            kind => Change::Note(get_note(kind, from)?),
        };
        Ok(Self { connection, change })
    }
}

fn put_opening(opening: &Opening, into: &mut BytesMut) {
    let Opening { id, record, terms } = opening;
    put_address(id.local, into);
    put_address(id.remote, into);
    into.put_u16(id.local_port);
    into.put_u16(id.remote_port);
    let Record {
        iss,
        irs,
        our_mss,
        peer_mss,
        our_scale,
        peer_scale,
        sack,
        ecn,
        accurate_ecn,
        timestamps,
        passive,
        first_window,
        peer_timestamp,
        peer_user_timeout,
    } = *record;
    into.put_u32(iss);
    into.put_u32(irs);
    into.put_u16(our_mss);
    into.put_u16(peer_mss);
    into.put_u8(our_scale);
    into.put_u8(peer_scale);
    put_flag(sack, into);
    into.put_u8(u8::from(ecn) + u8::from(ecn && accurate_ecn));
    put_flag(timestamps.is_some(), into);
    into.put_u32(timestamps.unwrap_or_default());
    put_flag(passive, into);
    into.put_u16(first_window);
    into.put_u32(peer_timestamp);
    into.put_u16(peer_user_timeout);
    into.put_u32(terms.log_bytes);
    into.put_u8(match terms.hot {
        Hot::Never => 0,
        Hot::WhenFull => 1,
        Hot::Always => 2,
    });
    put_flag(terms.mirror, into);
}

fn get_opening(from: &mut Bytes) -> Decoded<Opening> {
    let id = FourTuple {
        local: get_address(from)?,
        remote: get_address(from)?,
        local_port: from.try_get_u16()?,
        remote_port: from.try_get_u16()?,
    };
    let (iss, irs) = (from.try_get_u32()?, from.try_get_u32()?);
    let (our_mss, peer_mss) = (from.try_get_u16()?, from.try_get_u16()?);
    let (our_scale, peer_scale) = (from.try_get_u8()?, from.try_get_u8()?);
    if our_scale > 14 || peer_scale > 14 {
        return Err(Malformed::Value);
    }
    // 0: no ECN, 1: with classic feedback, 2: with accurate feedback.
    let (sack, ecn) = (get_flag(from)?, from.try_get_u8()?);
    if ecn > 2 {
        return Err(Malformed::Value);
    }
    let (on, offset) = (get_flag(from)?, from.try_get_u32()?);
    let record = Record {
        iss,
        irs,
        our_mss,
        peer_mss,
        our_scale,
        peer_scale,
        sack,
        ecn: ecn > 0,
        accurate_ecn: ecn == 2,
        timestamps: on.then_some(offset),
        passive: get_flag(from)?,
        first_window: from.try_get_u16()?,
        peer_timestamp: from.try_get_u32()?,
        peer_user_timeout: from.try_get_u16()?,
    };
    let log_bytes = from.try_get_u32()?;
    let hot = match from.try_get_u8()? {
        0 => Hot::Never,
        1 => Hot::WhenFull,
        2 => Hot::Always,
        _ => return Err(Malformed::Value),
    };
    let mirror = get_flag(from)?;
    let terms = Terms {
        log_bytes,
        hot,
        mirror,
    };
    Ok(Opening { id, record, terms })
}

fn put_note(note: &Note, into: &mut BytesMut) {
    match note {
        &Note::Anchor { position, mark } => {
            into.put_u8(ANCHOR);
            into.put_u64(position);
            put_mark(mark, into);
        }
        Note::Point(point) => {
            into.put_u8(POINT);
            put_point(point, into);
        }
        Note::Decision(Logged { seen, value }) => {
            into.put_u8(DECISION);
            into.put_u64(*seen);
            put_bytes(value, into);
        }
        Note::Output {
            from,
            input,
            bytes,
            state,
        } => {
            into.put_u8(OUTPUT);
            into.put_u64(*from);
            into.put_u64(*input);
            put_bytes(bytes, into);
            put_state(state.as_ref(), into);
        }
        &Note::Unprotected(reason) => {
            into.put_u8(UNPROTECTED);
            into.put_u8(reason as u8);
        }
        &Note::UserTimeout(said) => {
            into.put_u8(USER_TIMEOUT);
            into.put_u16(said);
        }
        Note::TimeWait => into.put_u8(TIME_WAIT),
    }
}

fn get_note(kind: u8, from: &mut Bytes) -> Decoded<Note> {
    Ok(match kind {
        ANCHOR => Note::Anchor {
            position: from.try_get_u64()?,
            mark: get_mark(from)?,
        },
        POINT => Note::Point(Box::new(get_point(from)?)),
        DECISION => Note::Decision(Logged {
            seen: from.try_get_u64()?,
            value: get_bytes(from, MAX_DECISION_BYTES)?,
        }),
        OUTPUT => Note::Output {
            from: from.try_get_u64()?,
            input: from.try_get_u64()?,
            bytes: get_bytes(from, MAX_STREAM_BYTES)?,
            state: get_state(from)?,
        },
        UNPROTECTED => Note::Unprotected(get_reason(from)?),
        USER_TIMEOUT => Note::UserTimeout(from.try_get_u16()?),
        TIME_WAIT => Note::TimeWait,
        kind => return Err(Malformed::Kind(kind)),
    })
}

fn put_point(point: &Point, into: &mut BytesMut) {
    let Point {
        input,
        output,
        decisions,
        state,
        digest,
    } = point;
    into.put_u64(*input);
    into.put_u64(*output);
    into.put_u64(*decisions);
    put_flag(digest.is_some(), into);
    if let Some(digest) = digest {
        digest.encode(into);
    }
    put_state(state.as_ref(), into);
}

fn get_point(from: &mut Bytes) -> Decoded<Point> {
    Ok(Point {
        input: from.try_get_u64()?,
        output: from.try_get_u64()?,
        decisions: from.try_get_u64()?,
        digest: get_flag(from)?
            .then(|| OutputDigest::decode(from))
            .transpose()?,
        state: get_state(from)?,
    })
}

fn put_state(state: Option<&Bytes>, into: &mut BytesMut) {
    put_flag(state.is_some(), into);
    if let Some(state) = state {
        put_bytes(state, into);
    }
}

fn get_state(from: &mut Bytes) -> Decoded<Option<Bytes>> {
    get_flag(from)?
        .then(|| get_bytes(from, MAX_STATE_BYTES))
        .transpose()
}

fn get_reason(from: &mut Bytes) -> Decoded<Reason> {
    let code = from.try_get_u8()?;
    let reason = Reason::ALL.into_iter().find(|it| *it as u8 == code);
    reason.ok_or(Malformed::Value)
}

pub(super) fn put_mark(mark: Option<Mark>, into: &mut BytesMut) {
    put_flag(mark.is_some(), into);
    if let Some(Mark { position, digest }) = mark {
        into.put_u64(position);
        into.put_u64(digest);
    }
}

pub(super) fn get_mark(from: &mut Bytes) -> Decoded<Option<Mark>> {
    if !get_flag(from)? {
        return Ok(None);
    }
    Ok(Some(Mark {
        position: from.try_get_u64()?,
        digest: from.try_get_u64()?,
    }))
}

pub(super) fn put_address(address: IpAddr, into: &mut BytesMut) {
    match address {
        IpAddr::V4(v4) => {
            into.put_u8(4);
            into.put_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            into.put_u8(6);
            into.put_slice(&v6.octets());
        }
    }
}

pub(super) fn get_address(from: &mut Bytes) -> Decoded<IpAddr> {
    match from.try_get_u8()? {
        4 => {
            let mut octets = [0; 4];
            from.try_copy_to_slice(&mut octets)?;
            Ok(octets.into())
        }
        6 => {
            let mut octets = [0; 16];
            from.try_copy_to_slice(&mut octets)?;
            Ok(octets.into())
        }
        _ => Err(Malformed::Value),
    }
}

pub(super) fn put_flag(flag: bool, into: &mut BytesMut) {
    into.put_u8(u8::from(flag));
}

pub(super) fn get_flag(from: &mut Bytes) -> Decoded<bool> {
    match from.try_get_u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed::Value),
    }
}

pub(super) fn put_bytes(bytes: &[u8], into: &mut BytesMut) {
    into.put_u32(bytes.len() as u32);
    into.put_slice(bytes);
}

pub(super) fn get_bytes(from: &mut Bytes, most: usize) -> Decoded<Bytes> {
    let len = from.try_get_u32()? as usize;
    if len > most {
        return Err(Malformed::TooLong);
    }
    if len > from.len() {
        return Err(Malformed::Truncated);
    }
    Ok(from.split_to(len))
}

fn get_pieces(from: &mut Bytes) -> Decoded<Pieces> {
    let bytes = get_bytes(from, MAX_STREAM_BYTES)?;
    Ok(std::iter::once(bytes).filter(|it| !it.is_empty()).collect())
}
