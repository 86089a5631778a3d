//! Initial sequence numbers (RFC 6528) and timestamp offsets (RFC 7323 §5.4, RFC 9293 §3.4.1): a clock
//! plus a keyed hash of the four-tuple, so that nobody off the path can guess them, and a new
//! incarnation of a connection begins beyond its last one.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::FourTuple;
use crate::time::Instant;

/// Microseconds per step of the clock (RFC 9293 §3.4.1).
const STEP_US: u64 = 4;

/// What the hash is for; the same four-tuple gives unrelated numbers.
#[derive(Clone, Copy)]
enum Purpose {
    SequenceNumber = 1,
    Timestamp = 2,
}

/// Makes initial sequence numbers from a secret.
#[derive(Clone, Debug)]
pub struct IsnGenerator {
    secret: [u8; 16],
}

impl IsnGenerator {
    /// Two generators with the same secret agree: a backup can be one.
    #[must_use]
    pub const fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// ISN = M + F(four-tuple, secret) (RFC 6528 §3).
    #[must_use]
    pub fn isn(&self, now: Instant, id: &FourTuple) -> u32 {
        let clock = (now.as_micros() / STEP_US) as u32;
        clock.wrapping_add(self.hash(Purpose::SequenceNumber, id))
    }

    /// An ISN that is also beyond `last`, the highest number of an incarnation still in TIME-WAIT
    /// (RFC 9293 §3.6.1), however fast that one sent. The distance is that of Linux.
    #[must_use]
    pub fn isn_beyond(&self, now: Instant, id: &FourTuple, last: u32) -> u32 {
        let isn = self.isn(now, id);
        let least = last.wrapping_add(0x1_0001);
        if (isn.wrapping_sub(least) as i32) < 0 {
            least
        } else {
            isn
        }
    }

    /// What is added to the clock in TSval.
    #[must_use]
    pub fn timestamp_offset(&self, id: &FourTuple) -> u32 {
        self.hash(Purpose::Timestamp, id)
    }

    fn hash(&self, purpose: Purpose, id: &FourTuple) -> u32 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write_u8(purpose as u8);
        hasher.write(&id.to_bytes());
        hasher.finish() as u32
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(remote_port: u16) -> FourTuple {
        let local = "10.0.0.1:80".parse().unwrap();
        FourTuple::new(local, ([10, 0, 0, 2], remote_port).into())
    }

    #[test]
    fn the_clock_steps_every_four_microseconds() {
        let generator = IsnGenerator::new([1; 16]);
        let start = Instant::from_millis(5);
        let later = start + Duration::from_millis(1);
        let step = generator
            .isn(later, &id(1))
            .wrapping_sub(generator.isn(start, &id(1)));
        assert_eq!(step, 250);
    }

    #[test]
    fn every_connection_secret_and_purpose_has_its_own_numbers() {
        let (a, b) = (IsnGenerator::new([1; 16]), IsnGenerator::new([2; 16]));
        let now = Instant::ZERO;
        let numbers = [
            a.isn(now, &id(1)),
            a.isn(now, &id(2)),
            b.isn(now, &id(1)),
            a.timestamp_offset(&id(1)),
        ];
        for (index, number) in numbers.iter().enumerate() {
            assert!(!numbers[..index].contains(number));
        }
        assert_eq!(
            a.isn(now, &id(1)),
            IsnGenerator::new([1; 16]).isn(now, &id(1))
        );
    }

    #[test]
    fn a_new_incarnation_begins_beyond_the_last_one() {
        let generator = IsnGenerator::new([1; 16]);
        let isn = generator.isn(Instant::ZERO, &id(1));
        for last in [isn, isn.wrapping_add(1 << 30), isn.wrapping_sub(1)] {
            let next = generator.isn_beyond(Instant::ZERO, &id(1), last);
            assert!(next.wrapping_sub(last) as i32 > 0x1_0000);
        }
        let long_ago = isn.wrapping_sub(1 << 30);
        assert_eq!(generator.isn_beyond(Instant::ZERO, &id(1), long_ago), isn);
    }
}
