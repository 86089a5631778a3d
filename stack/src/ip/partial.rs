//! One datagram of which fragments are still missing: what was said of it so far, and whether a further
//! fragment agrees with that.

use bytes::Bytes;

use super::Cast;

/// What one fragment or datagram costs beside its bytes, roughly.
pub(super) const OVERHEAD_BYTES: usize = 128;
const ECN_MASK: u8 = 0b11;
/// Congestion was met on the way (RFC 3168 §5).
pub(super) const ECN_CE: u8 = 0b11;

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Waiting for others.
    Held,
    /// It was there already.
    Duplicate,
    /// Against the rules or the limits; its datagram may be refused with it.
    Refused,
    /// The last one missing.
    Whole(Whole),
}

/// A datagram put together again; the family sets its header right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// Header of the first fragment as it came, and the payload of all.
    pub(super) data: Vec<u8>,
    /// Bytes of that header.
    pub(super) header_len: usize,
    /// Some fragment met congestion (RFC 3168 §5.3).
    pub(super) congested: bool,
    /// The widest that any fragment was addressed.
    pub(super) cast: Cast,
}

/// One fragment, of either family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arriving<'a> {
    /// All that stands in front of the payload.
    pub(super) header: &'a [u8],
    /// Its part of the datagram.
    pub(super) payload: &'a [u8],
    /// Where that part begins, in bytes.
    pub(super) offset: u16,
    /// Not the last one.
    pub(super) more: bool,
    /// TOS byte or traffic class.
    pub(super) tos: u8,
    /// How it was addressed.
    pub(super) cast: Cast,
}

impl Arriving<'_> {
    /// Where its part ends, in bytes.
    pub(super) fn end(&self) -> usize {
        usize::from(self.offset) + self.payload.len()
    }
}

#[derive(Debug)]
struct Piece {
    offset: u16,
    data: Box<[u8]>,
}

impl Piece {
    fn end(&self) -> usize {
        usize::from(self.offset) + self.data.len()
    }
}

/// An incomplete datagram.
#[derive(Debug)]
pub(super) struct Partial {
    /// By offset, without overlap.
    pieces: Vec<Piece>,
    /// Header bytes of the first fragment.
    first_header: Option<Box<[u8]>>,
    /// Payload bytes, once the last fragment came.
    total: Option<usize>,
    /// Payload bytes held.
    held: usize,
    /// All that is accounted for.
    pub(super) cost: usize,
    pub(super) cast: Cast,
    any_ce: bool,
    any_not_ect: bool,
    /// Refused: kept empty so that late fragments are refused as well.
    pub(super) refused: bool,
    /// Names this one among those that had the same key.
    pub(super) generation: u64,
}

impl Partial {
    pub(super) const fn new(cast: Cast, generation: u64) -> Self {
        Self {
            pieces: Vec::new(),
            first_header: None,
            total: None,
            held: 0,
            cost: OVERHEAD_BYTES,
            cast,
            any_ce: false,
            any_not_ect: false,
            refused: false,
            generation,
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.total == Some(self.held) && self.first_header.is_some()
    }

    /// Holds nothing any more but the memory of having been refused.
    fn refuse(&mut self) -> Taken {
        *self = Self {
            refused: true,
            ..Self::new(self.cast, self.generation)
        };
        Taken::Refused
    }

    pub(super) fn insert(&mut self, arriving: &Arriving<'_>, max_pieces: usize) -> Taken {
        if self.refused {
            return Taken::Refused;
        }
        let &Arriving {
            header,
            payload,
            offset,
            more,
            tos,
            cast,
        } = arriving;
        let (start, end) = (usize::from(offset), arriving.end());
        let at = self.pieces.partition_point(|piece| piece.offset < offset);
        let same = self
            .pieces
            .get(at)
            .is_some_and(|next| next.offset == offset && *next.data == *payload);
        if same && self.agrees_on_end(more, end) {
            return Taken::Duplicate;
        }
        let overlaps_before = at > 0 && self.pieces[at - 1].end() > start;
        let overlaps_after = self
            .pieces
            .get(at)
            .is_some_and(|next| usize::from(next.offset) < end);
        if overlaps_before
            || overlaps_after
            || !self.agrees_on_end(more, end)
            || self.pieces.len() >= max_pieces
        {
            return self.refuse();
        }
        if !more {
            self.total = Some(end);
        }
        if offset == 0 {
            self.first_header = Some(header.into());
            self.cost += header.len();
        }
        if cast != Cast::Unicast && self.cast == Cast::Unicast {
            self.cast = cast;
        }
        self.any_ce |= tos & ECN_MASK == ECN_CE;
        self.any_not_ect |= tos & ECN_MASK == 0;
        if self.any_ce && self.any_not_ect {
            return self.refuse();
        }
        self.held += payload.len();
        self.cost += payload.len() + OVERHEAD_BYTES;
        self.pieces.insert(
            at,
            Piece {
                offset,
                data: payload.into(),
            },
        );
        Taken::Held
    }

    /// True unless this fragment says something else about where the datagram ends than others did.
    fn agrees_on_end(&self, more: bool, end: usize) -> bool {
        let furthest = self.pieces.last().map_or(0, Piece::end);
        match (self.total, more) {
            (Some(total), true) => end < total,
            (Some(total), false) => end == total,
            (None, true) => true,
            (None, false) => furthest <= end,
        }
    }

    pub(super) fn assemble(self) -> Option<Whole> {
        let first_header = self.first_header?;
        let mut data = Vec::with_capacity(first_header.len() + self.held);
        data.extend_from_slice(&first_header);
        for piece in &self.pieces {
            data.extend_from_slice(&piece.data);
        }
        Some(Whole {
            data,
            header_len: first_header.len(),
            congested: self.any_ce,
            cast: self.cast,
        })
    }

    /// The first fragment, to quote from.
    pub(super) fn first(&self) -> Option<Bytes> {
        let header = self.first_header.as_ref()?;
        let piece = self.pieces.first()?;
        Some([&**header, &*piece.data].concat().into())
    }
}
