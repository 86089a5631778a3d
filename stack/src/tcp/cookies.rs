//! SYN cookies (RFC 4987 §3.6): a SYN-ACK that carries in its numbers everything that has to be known when its
//! ACK comes back, so that nothing is kept of the SYN.
//!
//! The sequence number is 5 bits of a clock, 3 bits of the MSS, and 24 bits of a keyed hash over both, the four-tuple,
//! the peer's sequence number and the options. Those are in the lowest bits of the timestamp, where the peer sends
//! timestamps; without, the connection has neither window scaling nor SACK. The secret changes every hour. Hosts that
//! share secret and clock accept each other's cookies.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::{FourTuple, Options};
use crate::keyed::Keyed;
use crate::time::Instant;

/// Milliseconds per tick of the clock; a cookie is accepted in its tick and in the next one.
pub(super) const TICK_MS: u64 = 64_000;
/// Ticks that one secret is used for.
const TICKS_PER_SECRET: u64 = 64;
/// What an MSS is rounded down to. With the defaults of both families for peers that send none.
const MSS: [u16; 8] = [48, 536, 1220, 1360, 1400, 1440, 1460, 8960];
const HASH_BITS: u32 = 24;
const MSS_BITS: u32 = 3;
/// Bits of the timestamp that tell the options: shift of the window, SACK, ECN.
const OPTION_BITS: u32 = 6;
const OPTION_MASK: u32 = (1 << OPTION_BITS) - 1;
const SHIFT_MASK: u32 = 0xf;
/// Shifts end at 14 (RFC 7323 §2.3).
const NO_SHIFT: u32 = 0xf;
const SACK: u32 = 1 << 4;
const ECN: u32 = 1 << 5;
/// In the hash: there was a timestamp.
const STAMPED: u32 = 1 << OPTION_BITS;

/// Makes and checks cookies.
#[derive(Clone, Debug)]
pub(super) struct Cookies {
    master: Keyed,
}

/// What a cookie remembers of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    /// The MSS, rounded down; that of a peer that sent none is the family's default.
    pub(super) mss: u16,
    /// The shift of the peer's windows.
    pub(super) window_scale: Option<u8>,
    /// It takes SACK.
    pub(super) sack: bool,
    /// It asked for ECN (RFC 3168 §6.1.1).
    pub(super) ecn: bool,
}

/// What the SYN-ACK says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cookie {
    /// Its sequence number.
    pub(super) iss: u32,
    /// Its TSval, if there is to be one.
    pub(super) timestamp: Option<u32>,
}

impl Cookies {
    /// Hosts with the same `secret` accept each other's.
    pub(super) const fn new(secret: [u8; 16]) -> Self {
        Self {
            master: Keyed::new(secret),
        }
    }

    /// What is added to the shared clock of milliseconds in TSval (RFC 7323 §5.4).
    pub(super) fn timestamp_offset(&self, id: &FourTuple) -> u32 {
        self.master.hash(("timestamp", id.to_bytes())) as u32
    }

    /// The cookie for a SYN with the sequence number `irs`. `clock` is what the hosts share.
    pub(super) fn make(
        &self,
        clock: Instant,
        id: &FourTuple,
        irs: u32,
        syn: &Remembered,
        timestamps: bool,
    ) -> Cookie {
        let tick = clock.as_millis() / TICK_MS;
        let index = MSS.partition_point(|&mss| mss <= syn.mss).max(1) as u32 - 1;
        let options = if timestamps { syn.options() } else { 0 };
        let timestamp = timestamps.then(|| {
            let value = self.timestamp(clock, id);
            // The options in its lowest bits, and not ahead of the clock.
            let coded = (value & !OPTION_MASK) | (options & OPTION_MASK);
            if coded.wrapping_sub(value) as i32 > 0 {
                coded.wrapping_sub(1 << OPTION_BITS)
            } else {
                coded
            }
        });
        let top = (tick as u32) << MSS_BITS | index;
        let iss = top << HASH_BITS | self.hash(tick, id, irs, index, options);
        Cookie { iss, timestamp }
    }

    /// What the SYN said whose SYN-ACK had the number `iss`, if that was a cookie of ours and no older than two ticks.
    /// `echo` is the TSecr of the ACK.
    pub(super) fn open(
        &self,
        clock: Instant,
        id: &FourTuple,
        irs: u32,
        iss: u32,
        echo: Option<u32>,
    ) -> Option<Remembered> {
        let now = clock.as_millis() / TICK_MS;
        let top = iss >> HASH_BITS;
        let age = (now as u32).wrapping_sub(top >> MSS_BITS) & 31;
        let tick = now.checked_sub(u64::from(age)).filter(|_| age <= 1)?;
        let index = top & ((1 << MSS_BITS) - 1);
        let options = echo.map_or(0, |echo| (echo & OPTION_MASK) | STAMPED);
        let hash = self.hash(tick, id, irs, index, options);
        let mss = *MSS.get(index as usize)?;
        (hash == iss & ((1 << HASH_BITS) - 1)).then(|| Remembered::from_options(mss, options))
    }

    /// TSval without any options in it.
    pub(super) fn timestamp(&self, clock: Instant, id: &FourTuple) -> u32 {
        self.timestamp_offset(id)
            .wrapping_add(clock.as_millis() as u32)
    }

    fn hash(&self, tick: u64, id: &FourTuple, irs: u32, index: u32, options: u32) -> u32 {
        let secret = self.master.derive(tick / TICKS_PER_SECRET);
        let mut hasher = SipHasher24::new_with_key(secret.secret());
        hasher.write(&id.to_bytes());
        for number in [tick as u32, irs, index, options] {
            hasher.write_u32(number);
        }
        hasher.finish() as u32 & ((1 << HASH_BITS) - 1)
    }
}

impl Remembered {
    /// What there is to remember of `options`; `default_mss` is meant by a peer that says nothing.
    pub(super) fn of(options: &Options, default_mss: u16, ecn: bool) -> Self {
        Self {
            mss: options.mss.unwrap_or(default_mss),
            window_scale: options.window_scale,
            sack: options.sack_permitted,
            ecn,
        }
    }

    fn options(&self) -> u32 {
        let shift = self
            .window_scale
            .map_or(NO_SHIFT, |it| u32::from(it.min(14)));
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        STAMPED | shift | flag(self.sack, SACK) | flag(self.ecn, ECN)
    }

    fn from_options(mss: u16, options: u32) -> Self {
        let shift = options & SHIFT_MASK;
        let stamped = options & STAMPED != 0;
        Self {
            mss,
            window_scale: (stamped && shift != NO_SHIFT).then_some(shift as u8),
            sack: stamped && options & SACK != 0,
            ecn: stamped && options & ECN != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const START: Instant = Instant::from_millis(1_000_000_000);

    fn id(remote_port: u16) -> FourTuple {
        let local = "10.0.0.1:80".parse().unwrap();
        FourTuple::new(local, ([10, 0, 0, 2], remote_port).into())
    }

    fn cookies() -> Cookies {
        Cookies::new([7; 16])
    }

    const SYN: Remembered = Remembered {
        mss: 1460,
        window_scale: Some(7),
        sack: true,
        ecn: false,
    };

    proptest! {
        #[test]
        fn what_was_said_comes_back(
            port: u16, irs: u32, mss in 48_u16.., shift in proptest::option::of(0_u8..=14),
            sack: bool, ecn: bool, stamped: bool, start_ms in 0_u64..1 << 40, later_ms in 0_u64..64_000,
        ) {
            let clock = Instant::from_millis(start_ms);
            let syn = Remembered { mss, window_scale: shift, sack, ecn };
            let cookie = cookies().make(clock, &id(port), irs, &syn, stamped);
            prop_assert_eq!(cookie.timestamp.is_some(), stamped);
            if let Some(value) = cookie.timestamp {
                let behind = cookies().timestamp(clock, &id(port)).wrapping_sub(value);
                prop_assert!(behind < 64, "never ahead of the clock: {}", behind);
            }
            let later = clock + Duration::from_millis(later_ms);
            let found = cookies().open(later, &id(port), irs, cookie.iss, cookie.timestamp).unwrap();
            prop_assert!(found.mss <= mss);
            let expected = if stamped { syn } else {
                Remembered { window_scale: None, sack: false, ecn: false, ..syn }
            };
            prop_assert_eq!(Remembered { mss, ..found }, expected);
        }

        #[test]
        fn what_we_did_not_make_is_refused(iss: u32, irs: u32, echo: Option<u32>) {
            // Of 2^32 numbers 2^5 are right for a connection, and time, at a given moment.
            prop_assert_eq!(cookies().open(START, &id(9), irs, iss, echo), None);
        }
    }

    #[test]
    fn the_mss_is_rounded_down_to_one_of_eight() {
        let of = |mss| {
            let cookie = cookies().make(START, &id(1), 5, &Remembered { mss, ..SYN }, false);
            let found = cookies().open(START, &id(1), 5, cookie.iss, None);
            found.unwrap().mss
        };
        let table = [
            (48, 48),
            (535, 48),
            (536, 536),
            (1459, 1440),
            (1460, 1460),
            (9000, 8960),
        ];
        for (said, kept) in table {
            assert_eq!(of(said), kept);
        }
    }

    #[test]
    fn it_is_good_for_one_connection_with_its_numbers_only() {
        let Cookie { iss, timestamp } = cookies().make(START, &id(1), 5, &SYN, true);
        let open = |cookies: Cookies, id, irs, iss, echo| cookies.open(START, &id, irs, iss, echo);
        assert!(open(cookies(), id(1), 5, iss, timestamp).is_some());
        assert_eq!(open(cookies(), id(2), 5, iss, timestamp), None);
        assert_eq!(open(cookies(), id(1), 6, iss, timestamp), None);
        assert_eq!(open(cookies(), id(1), 5, iss ^ 1 << 25, timestamp), None);
        assert_eq!(open(cookies(), id(1), 5, iss, None), None);
        let other = timestamp.map(|value| value ^ SACK);
        assert_eq!(open(cookies(), id(1), 5, iss, other), None, "options too");
        assert_eq!(open(Cookies::new([8; 16]), id(1), 5, iss, timestamp), None);
    }

    #[test]
    fn it_expires() {
        let cookie = cookies().make(START, &id(1), 5, &SYN, true);
        let open = |ticks: u64| {
            let clock = START + Duration::from_millis(ticks * TICK_MS);
            cookies().open(clock, &id(1), 5, cookie.iss, cookie.timestamp)
        };
        assert!(open(0).is_some() && open(1).is_some());
        assert!(open(2).is_none() && open(31).is_none());
        // Its five bits of clock are the same again.
        assert!(open(32).is_none() && open(64).is_none() && open(33).is_none());
        let before = START - Duration::from_millis(TICK_MS);
        assert_eq!(
            cookies().open(before, &id(1), 5, cookie.iss, cookie.timestamp),
            None
        );
    }

    #[test]
    fn the_secret_changes() {
        let hour = Duration::from_millis(TICK_MS * TICKS_PER_SECRET);
        let secret = |clock: Instant| {
            let tick = clock.as_millis() / TICK_MS;
            *cookies().master.derive(tick / TICKS_PER_SECRET).secret()
        };
        assert_ne!(secret(START), secret(START + hour));
    }
}
