//! What one direction of a connection carries, as a function of the position: made anywhere and checked
//! anywhere without keeping it.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::simulation::pattern::Pattern;

/// Bytes after which the film repeats itself: a prime, so that no shift by a power of two goes unnoticed.
const FILM_BYTES: u64 = 4_194_301;

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Literal(Bytes),
    /// Bytes of a pattern: from which position, and how many.
    Pattern(Pattern, u64, u64),
    /// So many bytes of the film: nothing is computed for them, so they may be many.
    Film(u64),
}

impl Piece {
    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Literal(bytes) => bytes.len() as u64,
            Self::Pattern(_, _, len) | Self::Film(len) => *len,
        }
    }

    /// True for a piece without bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to `most` of its bytes, from `at` on.
    #[must_use]
    pub fn bytes(&self, at: u64, most: usize) -> Bytes {
        let len = self.len().saturating_sub(at).min(most as u64) as usize;
        match self {
            Self::Literal(bytes) => bytes.slice(at as usize..at as usize + len),
            Self::Pattern(pattern, from, _) => pattern.bytes(from + at, len),
            Self::Film(_) => {
                let from = at % FILM_BYTES;
                let len = len.min((FILM_BYTES - from) as usize);
                film().slice(from as usize..from as usize + len)
            }
        }
    }
}

/// The film: made once.
fn film() -> Bytes {
    static FILM: OnceLock<Bytes> = OnceLock::new();
    let make = || Pattern::new(u64::MAX, 0).bytes(0, FILM_BYTES as usize);
    FILM.get_or_init(make).clone()
}

/// One direction of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    pieces: Vec<(u64, Piece)>,
    len: u64,
}

impl Stream {
    /// Appends a piece.
    pub fn push(&mut self, piece: Piece) {
        self.len += piece.len();
        self.pieces.push((self.len - piece.len(), piece));
    }

    /// All of its bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// True for a stream without bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Up to `most` bytes from `at` on, fewer at the end of a piece; none at the end.
    #[must_use]
    pub fn bytes(&self, at: u64, most: usize) -> Bytes {
        let after = self.pieces.partition_point(|&(start, _)| start <= at);
        let pieces = self.pieces[..after].iter().rev();
        let mut pieces = pieces.filter(|(start, piece)| at - start < piece.len());
        match pieces.next() {
            Some((start, piece)) => piece.bytes(at - start, most),
            None => Bytes::new(),
        }
    }

    /// The first position at which `data`, received at `from`, is not what the stream has there.
    #[must_use]
    pub fn mismatch(&self, from: u64, data: &[u8]) -> Option<u64> {
        let mut at = from;
        let mut rest = data;
        while !rest.is_empty() {
            let expected = self.bytes(at, rest.len());
            if expected.is_empty() {
                return Some(at);
            }
            let (here, after) = rest.split_at(expected.len());
            if here != &expected[..] {
                let wrong = here.iter().zip(&expected[..]).position(|(a, b)| a != b);
                return Some(at + wrong.unwrap_or(0) as u64);
            }
            at += here.len() as u64;
            rest = after;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_of_a_stream_is_checked_alike() {
        let mut stream = Stream::default();
        stream.push(Piece::Literal(Bytes::from_static(b"head")));
        stream.push(Piece::Literal(Bytes::new()));
        stream.push(Piece::Pattern(Pattern::new(1, 0), 0, 100));
        stream.push(Piece::Film(3 * FILM_BYTES));
        let mut whole = Vec::new();
        while whole.len() < 300 {
            whole.extend_from_slice(&stream.bytes(whole.len() as u64, 7));
        }
        for from in 0..200 {
            assert_eq!(stream.mismatch(from, &whole[from as usize..300]), None);
        }
        whole[150] ^= 1;
        assert_eq!(stream.mismatch(3, &whole[3..]), Some(150));
        let end = stream.len();
        assert_eq!(stream.mismatch(end, b"x"), Some(end));
        let turn = 104 + FILM_BYTES;
        assert_eq!(stream.bytes(turn, 50), stream.bytes(104, 50));
    }
}
