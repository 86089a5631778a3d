//! Hash tables whose keys the network chooses: keyed, so that nobody can choose collisions.

use std::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;

/// Builds hashers from one secret.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    secret: [u8; 16],
}

impl Keyed {
    pub(crate) const fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// Another secret from the same one, so that what one use shows tells nothing of another.
    pub(crate) fn derive(&self, label: u64) -> Self {
        let halves = [self.hash((label, 0_u8)), self.hash((label, 1_u8))];
        let mut secret = [0; 16];
        for (half, value) in secret.as_chunks_mut::<8>().0.iter_mut().zip(halves) {
            *half = value.to_le_bytes();
        }
        Self { secret }
    }

    /// The secret, for another hash than the one of tables.
    pub(crate) const fn secret(&self) -> &[u8; 16] {
        &self.secret
    }

    /// The keyed hash of one value.
    pub(crate) fn hash(&self, value: impl Hash) -> u64 {
        self.hash_one(value)
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.secret)
    }
}
