//! TCP options: MSS (RFC 9293 §3.2), window scale and timestamps (RFC 7323), SACK-permitted and SACK
//! (RFC 2018), Fast Open cookies (RFC 7413), counters of AccECN (RFC 9768), user time-outs (RFC 5482). Others are skipped by their length (RFC 9293 MUST-6).

use arrayvec::ArrayVec;

use super::tcp::HEADER_LEN;

/// Bytes of options at most: the data offset cannot say more.
pub const MAX_OPTIONS_LEN: usize = 60 - HEADER_LEN;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const USER_TIMEOUT: u8 = 28;
const FAST_OPEN: u8 = 34;
/// Kind and identifier that Fast Open had before it had a kind of its own (RFC 6994; RFC 7413 §4.1.1); some still do.
const EXPERIMENT: u8 = 254;
const FAST_OPEN_EXPERIMENT: [u8; 2] = [0xf9, 0x89];
const ACCURATE_ECN_0: u8 = 172;
const ACCURATE_ECN_1: u8 = 174;

/// A Fast Open cookie (RFC 7413 §4.1.1); empty: the wish for one.
pub type FastOpen = ArrayVec<u8, 16>;

/// Bytes that arrived with each ECN field, modulo 2^24 (RFC 9768 §3.2.3). Which of them are told depends on the room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccurateEcn {
    /// As ECT(0).
    pub ect0: Option<u32>,
    /// Marked.
    pub ce: Option<u32>,
    /// As ECT(1).
    pub ect1: Option<u32>,
}

impl AccurateEcn {
    /// In the order of the option; it may end after any of them.
    fn parse(kind: u8, value: &[u8]) -> Self {
        let mut counters = value
            .as_chunks::<3>()
            .0
            .iter()
            .map(|&[a, b, c]| u32::from_be_bytes([0, a, b, c]));
        let (first, ce, last) = (counters.next(), counters.next(), counters.next());
        let (ect0, ect1) = if kind == ACCURATE_ECN_0 {
            (first, last)
        } else {
            (last, first)
        };
        Self { ect0, ce, ect1 }
    }

    /// Kind and counters as they are written: without ECT(0) those of ECT(1) come first.
    fn ordered(self) -> (u8, ArrayVec<u32, 3>) {
        let (kind, all) = if self.ect0.is_some() {
            (ACCURATE_ECN_0, [self.ect0, self.ce, self.ect1])
        } else {
            (ACCURATE_ECN_1, [self.ect1, self.ce, self.ect0])
        };
        (kind, all.into_iter().map_while(|it| it).collect())
    }

    /// Bytes with padding; 0 without counters.
    fn emitted_len(self) -> usize {
        match self.ordered().1.len() {
            0 => 0,
            counters => (2 + 3 * counters).next_multiple_of(4),
        }
    }
}

/// The options of one segment; sequence numbers as on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size; on SYN only.
    pub mss: Option<u16>,
    /// Window scale shift as received, not yet limited to 14; on SYN only.
    pub window_scale: Option<u8>,
    /// SACK-permitted; on SYN only.
    pub sack_permitted: bool,
    /// TSval and TSecr (RFC 7323).
    pub timestamps: Option<(u32, u32)>,
    /// SACK blocks: left and right edge (RFC 2018).
    pub sack: ArrayVec<(u32, u32), 4>,
    /// Fast Open (RFC 7413); on SYN only.
    pub fast_open: Option<FastOpen>,
    /// In the form that it had as an experiment.
    pub fast_open_experiment: bool,
    /// Counters of AccECN (RFC 9768).
    pub accurate_ecn: AccurateEcn,
    /// User time-out (RFC 5482 §4): the highest bit says that the others count minutes, not seconds.
    pub user_timeout: Option<u16>,
}

impl Options {
    /// Reads what lies between the fixed header and the data offset. Options that belong on a SYN are
    /// ignored elsewhere (RFC 7323 §2.2). An option of a known kind with a wrong length is ignored; a
    /// length that cannot be stepped over (below 2, or beyond the header) ends the list, and what came
    /// before it counts: an illegal length must be survived (RFC 9293 MUST-7), and dropping the segment
    /// would stall a connection whose peer is merely sloppy.
    #[must_use]
    pub fn parse(mut bytes: &[u8], syn: bool) -> Self {
        let mut options = Self::default();
        while let &[kind, ref rest @ ..] = bytes {
            match kind {
                END => break,
                NOP => bytes = rest,
                _ => {
                    let len = rest.first().map_or(0, |&len| usize::from(len));
                    if len < 2 || len > bytes.len() {
                        break;
                    }
                    options.take(kind, &bytes[2..len], syn);
                    bytes = &bytes[len..];
                }
            }
        }
        options
    }

    fn take(&mut self, kind: u8, value: &[u8], syn: bool) {
        match (kind, value) {
            (MSS, &[a, b]) if syn => self.mss = Some(u16::from_be_bytes([a, b])),
            (WINDOW_SCALE, &[shift]) if syn => self.window_scale = Some(shift),
            (SACK_PERMITTED, []) if syn => self.sack_permitted = true,
            (TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                self.timestamps = Some(pair([a, b, c, d, e, f, g, h]));
            }
            (FAST_OPEN, cookie) if syn && is_cookie(cookie) => {
                self.fast_open = Some(cookie.iter().copied().collect());
            }
            (EXPERIMENT, &[a, b, ref cookie @ ..])
                if syn && [a, b] == FAST_OPEN_EXPERIMENT && is_cookie(cookie) =>
            {
                self.fast_open = Some(cookie.iter().copied().collect());
                self.fast_open_experiment = true;
            }
            (USER_TIMEOUT, &[a, b]) => self.user_timeout = Some(u16::from_be_bytes([a, b])),
            (ACCURATE_ECN_0 | ACCURATE_ECN_1, counters) => {
                self.accurate_ecn = AccurateEcn::parse(kind, counters);
            }
            (SACK, blocks) => {
                let (blocks, odd) = blocks.as_chunks::<8>();
                if odd.is_empty() && blocks.len() <= self.sack.capacity() {
                    self.sack = blocks.iter().map(|&block| pair(block)).collect();
                }
            }
            _ => {}
        }
    }

    /// How many SACK blocks fit beside the other options.
    fn sack_that_fits(&self) -> usize {
        let room = MAX_OPTIONS_LEN - self.len_without_sack();
        self.sack.len().min(room.saturating_sub(4) / 8)
    }

    fn len_without_sack(&self) -> usize {
        let mut len = 0;
        if self.mss.is_some() {
            len += 4;
        }
        if self.timestamps.is_some() {
            len += 12;
        } else if self.sack_permitted {
            len += 4;
        }
        if self.window_scale.is_some() {
            len += 4;
        }
        if let Some(cookie) = &self.fast_open {
            let head = if self.fast_open_experiment { 4 } else { 2 };
            len += (head + cookie.len()).next_multiple_of(4);
        }
        if self.user_timeout.is_some() {
            len += 4;
        }
        len + self.accurate_ecn.emitted_len()
    }

    /// Writes the options in the order and with the padding that Linux uses, so that words are aligned
    /// and middleboxes meet nothing unusual. SACK blocks that do not fit are left out.
    ///
    /// # Panics
    /// When `out` is not exactly [`options_len`] long.
    pub fn emit(&self, out: &mut [u8]) {
        let mut cursor = Cursor { out, at: 0 };
        if let Some(mss) = self.mss {
            cursor.put(&[MSS, 4]);
            cursor.put(&mss.to_be_bytes());
        }
        match (self.sack_permitted, self.timestamps.is_some()) {
            (true, true) => cursor.put(&[SACK_PERMITTED, 2]),
            (true, false) => cursor.put(&[NOP, NOP, SACK_PERMITTED, 2]),
            (false, true) => cursor.put(&[NOP, NOP]),
            (false, false) => {}
        }
        if let Some((value, echo)) = self.timestamps {
            cursor.put(&[TIMESTAMPS, 10]);
            cursor.put(&value.to_be_bytes());
            cursor.put(&echo.to_be_bytes());
        }
        if let Some(shift) = self.window_scale {
            cursor.put(&[NOP, WINDOW_SCALE, 3, shift]);
        }
        let blocks = &self.sack[..self.sack_that_fits()];
        if !blocks.is_empty() {
            cursor.put(&[NOP, NOP, SACK, 2 + 8 * blocks.len() as u8]);
            for (left, right) in blocks {
                cursor.put(&left.to_be_bytes());
                cursor.put(&right.to_be_bytes());
            }
        }
        let (kind, counters) = self.accurate_ecn.ordered();
        if !counters.is_empty() {
            cursor.put(&[kind, 2 + 3 * counters.len() as u8]);
            for counter in counters {
                cursor.put(&counter.to_be_bytes()[1..]);
            }
            cursor.pad();
        }
        if let Some(cookie) = &self.fast_open {
            let len = cookie.len() as u8;
            if self.fast_open_experiment {
                let [a, b] = FAST_OPEN_EXPERIMENT;
                cursor.put(&[EXPERIMENT, 4 + len, a, b]);
            } else {
                cursor.put(&[FAST_OPEN, 2 + len]);
            }
            cursor.put(cookie);
            cursor.pad();
        }
        if let Some(timeout) = self.user_timeout {
            cursor.put(&[USER_TIMEOUT, 4]);
            cursor.put(&timeout.to_be_bytes());
        }
        assert_eq!(cursor.at, cursor.out.len());
    }
}

/// RFC 7413 §4.1.1: 4 to 16 octets, an even number of them; or none.
const fn is_cookie(value: &[u8]) -> bool {
    matches!(value.len(), 0 | 4..=16) && value.len().is_multiple_of(2)
}

/// Bytes that `options` take in a header: a multiple of 4, at most [`MAX_OPTIONS_LEN`].
#[must_use]
pub fn options_len(options: &Options) -> usize {
    let sack = match options.sack_that_fits() {
        0 => 0,
        blocks => 4 + 8 * blocks,
    };
    options.len_without_sack() + sack
}

struct Cursor<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn pad(&mut self) {
        let padding = self.at.next_multiple_of(4) - self.at;
        self.put(&[NOP; 3][..padding]);
    }
}

const fn pair([a, b, c, d, e, f, g, h]: [u8; 8]) -> (u32, u32) {
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted(options: &Options) -> Vec<u8> {
        let mut bytes = vec![0xee; options_len(options)];
        options.emit(&mut bytes);
        bytes
    }

    #[test]
    fn order_and_padding_are_those_of_linux() {
        let mut options = Options {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some((1, 2)),
            ..Options::default()
        };
        assert_eq!(
            emitted(&options),
            [
                2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7
            ]
        );
        options.timestamps = None;
        assert_eq!(emitted(&options), [2, 4, 5, 180, 1, 1, 4, 2, 1, 3, 3, 7]);
        let acknowledgement = Options {
            timestamps: Some((3, 4)),
            sack: [(5, 6)].into_iter().collect(),
            ..Options::default()
        };
        assert_eq!(
            emitted(&acknowledgement),
            [
                1, 1, 8, 10, 0, 0, 0, 3, 0, 0, 0, 4, 1, 1, 5, 10, 0, 0, 0, 5, 0, 0, 0, 6
            ]
        );
    }

    #[test]
    fn sack_blocks_beyond_the_room_are_left_out() {
        let options = Options {
            timestamps: Some((1, 2)),
            sack: [(1, 2), (3, 4), (5, 6), (7, 8)].into_iter().collect(),
            ..Options::default()
        };
        assert_eq!(options_len(&options), MAX_OPTIONS_LEN);
        let parsed = Options::parse(&emitted(&options), false);
        assert_eq!(parsed.sack[..], [(1, 2), (3, 4), (5, 6)]);
    }

    #[test]
    fn unknown_options_are_stepped_over() {
        let bytes = [253, 6, 1, 2, 3, 4, 1, 254, 2, 2, 4, 2, 24];
        assert_eq!(Options::parse(&bytes, true).mss, Some(536));
    }

    #[test]
    fn an_illegal_length_ends_the_list_and_keeps_what_came_before() {
        let good = [3, 3, 9];
        let bad: [&[u8]; 5] = [
            &[2, 0, 1, 1],
            &[2, 1, 1],
            &[2, 5, 1, 1],
            &[2],
            &[253, 0, 4, 2],
        ];
        for tail in bad {
            let options = Options::parse(&[&good, tail].concat(), true);
            let expected = Options {
                window_scale: Some(9),
                ..Options::default()
            };
            assert_eq!(options, expected, "{tail:?}");
        }
    }

    #[test]
    fn a_wrong_length_of_a_known_option_spoils_only_that_option() {
        let bytes = [2, 3, 5, 8, 4, 1, 1, 5, 9, 0, 0, 0, 1, 0, 0, 0, 4, 2];
        let options = Options::parse(&bytes, true);
        assert!(options.sack_permitted);
        assert_eq!((options.mss, options.sack.len()), (None, 0));
    }

    #[test]
    fn a_fast_open_experiment_is_told_from_others() {
        let bytes = [254, 8, 0xf9, 0x89, 1, 2, 3, 4];
        let options = Options::parse(&bytes, true);
        assert_eq!(options.fast_open.as_deref(), Some(&[1, 2, 3, 4][..]));
        assert!(options.fast_open_experiment);
        assert_eq!(emitted(&options), bytes);
        let wish = Options::parse(&[254, 4, 0xf9, 0x89], true);
        assert_eq!(wish.fast_open, Some(FastOpen::new()));
        for other in [
            &[254, 4, 1, 2][..],
            &[254, 7, 0xf9, 0x89, 1, 2, 3],
            &[254, 3, 0xf9],
        ] {
            assert_eq!(Options::parse(other, true).fast_open, None);
        }
    }

    #[test]
    fn fast_open_cookies_are_padded_and_have_legal_lengths_only() {
        let with = |len: u8| Options {
            mss: Some(1460),
            fast_open: Some((0..len).collect()),
            ..Options::default()
        };
        let bytes = emitted(&with(8));
        assert_eq!(bytes[4..], [34, 10, 0, 1, 2, 3, 4, 5, 6, 7, 1, 1]);
        assert_eq!(emitted(&with(0))[4..], [34, 2, 1, 1]);
        for len in [0, 4, 6, 8, 16] {
            assert_eq!(Options::parse(&emitted(&with(len)), true), with(len));
            assert_eq!(Options::parse(&emitted(&with(len)), false).fast_open, None);
        }
        for bad in [&[34, 3, 1][..], &[34, 5, 1, 2, 3], &[34, 7, 1, 2, 3, 4, 5]] {
            assert_eq!(Options::parse(bad, true).fast_open, None, "{bad:?}");
        }
    }

    #[test]
    fn counters_of_accurate_ecn_come_in_either_order_and_may_be_cut_short() {
        let counters = |ect0, ce, ect1| Options {
            accurate_ecn: AccurateEcn { ect0, ce, ect1 },
            ..Options::default()
        };
        let all = counters(Some(1), Some(0x02_0304), Some(5));
        assert_eq!(emitted(&all), [172, 11, 0, 0, 1, 2, 3, 4, 0, 0, 5, 1]);
        for some in [
            all,
            counters(Some(1), None, None),
            counters(Some(7), Some(8), None),
            counters(None, Some(8), Some(0xff_ffff)),
        ] {
            assert_eq!(Options::parse(&emitted(&some), false), some);
        }
        let other = [174, 11, 0, 0, 1, 0, 0, 2, 0, 0, 3];
        assert_eq!(
            Options::parse(&other, false),
            counters(Some(3), Some(2), Some(1))
        );
        let odd = [172, 4, 0, 0, 172, 2];
        assert_eq!(Options::parse(&odd, false), Options::default());
    }

    #[test]
    fn a_user_time_out_is_told_on_any_segment() {
        let options = Options {
            user_timeout: Some(0x8005),
            ..Options::default()
        };
        assert_eq!(emitted(&options), [28, 4, 0x80, 5]);
        for syn in [false, true] {
            assert_eq!(Options::parse(&emitted(&options), syn), options);
            assert_eq!(Options::parse(&[28, 3, 1], syn), Options::default());
        }
    }

    #[test]
    fn what_belongs_on_a_syn_is_ignored_elsewhere() {
        let bytes = [2, 4, 5, 180, 4, 2, 1, 3, 3, 7];
        assert_eq!(Options::parse(&bytes, false), Options::default());
        assert_eq!(Options::parse(&bytes, true).window_scale, Some(7));
    }
}
