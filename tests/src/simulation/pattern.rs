//! The bytes that applications send: a function of connection, direction and position, so that every
//! byte that arrives can be checked by itself.

use bytes::{BufMut, Bytes, BytesMut};

/// One direction of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    salt: u64,
}

impl Pattern {
    /// The bytes of `direction` of connection number `connection`.
    #[must_use]
    pub const fn new(connection: u64, direction: u8) -> Self {
        Self {
            salt: (connection.wrapping_mul(2) + direction as u64 + 1)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15),
        }
    }

    /// Eight bytes at the eight-byte word `index`.
    const fn word(self, index: u64) -> [u8; 8] {
        let mut z = index.wrapping_mul(0xD134_2543_DE82_EF95) ^ self.salt;
        z = (z ^ (z >> 32)).wrapping_mul(0xDABA_0B6E_B093_22E3);
        (z ^ (z >> 29)).to_le_bytes()
    }

    /// The bytes of `from..from + len`.
    #[must_use]
    pub fn bytes(self, from: u64, len: usize) -> Bytes {
        let mut bytes = BytesMut::with_capacity(len + 16);
        let skip = (from % 8) as usize;
        let mut index = from / 8;
        while bytes.len() < len + skip {
            bytes.put_slice(&self.word(index));
            index += 1;
        }
        bytes.freeze().slice(skip..skip + len)
    }

    /// The first position at which `data`, received at `from`, is not what was sent.
    #[must_use]
    pub fn mismatch(self, from: u64, data: &[u8]) -> Option<u64> {
        let expected = self.bytes(from, data.len());
        if expected == data {
            return None;
        }
        let at = expected.iter().zip(data).position(|(a, b)| a != b)?;
        Some(from + at as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_gives_the_same_stream() {
        let pattern = Pattern::new(5, 1);
        let whole = pattern.bytes(0, 100);
        for from in 0..50 {
            assert_eq!(
                pattern.bytes(from, 50),
                whole[from as usize..from as usize + 50]
            );
        }
        assert_eq!(pattern.mismatch(3, &whole[3..60]), None);
        assert_eq!(Pattern::new(5, 0).mismatch(3, &whole[3..60]), Some(3));
    }
}
