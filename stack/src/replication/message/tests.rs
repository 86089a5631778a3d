//! Is what arrives what was sent, and is everything else refused?

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::{Malformed, Message, Stand};
use crate::replication::decisions::Logged;
use crate::replication::digest::{Identity, OutputDigest, Piece};
use crate::replication::entry::{Change, Entry, Opening, Reason};
use crate::replication::view::Epoch;
use crate::tcp::FourTuple;
use crate::tcp::gate::{Hot, Mark, Note, Point, Terms};
use crate::tcp::parting::Parting;
use crate::tcp::record::Record;

fn mark() -> impl Strategy<Value = Option<Mark>> {
    prop::option::of(
        (any::<u64>(), any::<u64>()).prop_map(|(position, digest)| Mark { position, digest }),
    )
}

fn digest() -> impl Strategy<Value = OutputDigest> {
    let generated = prop::collection::vec(any::<u8>(), 0..20);
    (generated, any::<Option<(u32, u32)>>()).prop_map(|(generated, piece)| {
        let mut digest = OutputDigest::default();
        digest.absorb(Piece::Generated(&generated));
        if let Some((start, len)) = piece.map(|(start, len)| (u64::from(start), u64::from(len))) {
            digest.absorb(Piece::Static(Identity([3; 32]), start..start + len));
        }
        digest
    })
}

fn blob(most: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = Record> {
    let fixed = (any::<u32>(), any::<u32>(), any::<u16>(), any::<u16>());
    let agreed = (0u8..15, 0u8..15, any::<bool>(), any::<Option<u32>>());
    let rest = (
        any::<bool>(),
        any::<u16>(),
        any::<u32>(),
        any::<bool>(),
        any::<u16>(),
    );
    (fixed, agreed, rest).prop_map(|(fixed, agreed, rest)| Record {
        iss: fixed.0,
        irs: fixed.1,
        our_mss: fixed.2,
        peer_mss: fixed.3,
        our_scale: agreed.0,
        peer_scale: agreed.1,
        sack: agreed.2,
        timestamps: agreed.3,
        passive: rest.0,
        first_window: rest.1,
        peer_timestamp: rest.2,
        peer_user_timeout: rest.4,
        ecn: rest.3,
        accurate_ecn: rest.3 && rest.0,
    })
}

fn opening() -> impl Strategy<Value = Opening> {
    let id = (
        any::<std::net::IpAddr>(),
        any::<std::net::IpAddr>(),
        any::<u16>(),
        any::<u16>(),
    );
    let hot = prop::sample::select(vec![Hot::Never, Hot::WhenFull, Hot::Always]);
    let terms = (any::<u32>(), hot, any::<bool>());
    (id, record(), terms).prop_map(|(id, record, terms)| Opening {
        id: FourTuple {
            local: id.0,
            remote: id.1,
            local_port: id.2,
            remote_port: id.3,
        },
        record,
        terms: Terms {
            log_bytes: terms.0,
            hot: terms.1,
            mirror: terms.2,
        },
    })
}

fn note() -> impl Strategy<Value = Note> {
    let state = || prop::option::of(blob(50));
    let point = (any::<[u64; 3]>(), state(), prop::option::of(digest()));
    let reason = prop::sample::select(Reason::ALL.to_vec());
    prop_oneof![
        (any::<u64>(), mark()).prop_map(|(position, mark)| Note::Anchor { position, mark }),
        point.prop_map(|(numbers, state, digest)| Note::Point(Box::new(Point {
            input: numbers[0],
            output: numbers[1],
            decisions: numbers[2],
            state,
            digest,
        }))),
        (any::<u64>(), blob(100)).prop_map(|(seen, value)| Note::Decision(Logged { seen, value })),
        (any::<u64>(), any::<u64>(), blob(100), state()).prop_map(|(from, input, bytes, state)| {
            Note::Output {
                from,
                input,
                bytes,
                state,
            }
        }),
        reason.prop_map(Note::Unprotected),
        any::<u16>().prop_map(Note::UserTimeout),
        Just(Note::TimeWait),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        opening().prop_map(|it| Change::Open(Box::new(it))),
        (any::<u64>(), blob(100), any::<bool>(), any::<u64>()).prop_map(
            |(from, bytes, fin, right_edge)| Change::Received {
                from,
                bytes: std::iter::once(bytes).filter(|it| !it.is_empty()).collect(),
                fin,
                right_edge,
            }
        ),
        (any::<u64>(), any::<bool>(), any::<u64>()).prop_map(|(upto, fin, right_edge)| {
            Change::Skipped {
                upto,
                fin,
                right_edge,
            }
        }),
        (any::<u64>(), mark()).prop_map(|(position, mark)| Change::Fin { position, mark }),
        Just(Change::Abort),
        note().prop_map(Change::Note),
        Just(Change::Closed),
        Just(Change::Shed),
    ]
}

pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    (any::<u64>(), change()).prop_map(|(connection, change)| Entry { connection, change })
}

fn encoded(entry: &Entry) -> Bytes {
    let mut bytes = BytesMut::new();
    entry.encode(&mut bytes);
    bytes.freeze()
}

fn stand() -> impl Strategy<Value = Stand> {
    (any::<[u64; 4]>(), any::<u32>()).prop_map(|(numbers, round_trip_us)| Stand {
        connection: numbers[0],
        parting: Parting {
            sent: numbers[1],
            acknowledged: numbers[2],
            window_end: numbers[3],
            round_trip_us,
        },
    })
}

proptest! {
    #[test]
    fn where_connections_stand_arrives_as_it_was_sent(stands in prop::collection::vec(stand(), 0..9), epoch: u64, cut in 1usize..40) {
        let epoch = Epoch(epoch);
        for message in [Message::Parting { epoch, stands }, Message::Parted { epoch }] {
            let bytes = message.to_bytes();
            prop_assert_eq!(Message::decode(bytes.clone()), Ok(message));
            let cut = bytes.slice(..bytes.len().saturating_sub(cut));
            prop_assert_eq!(Message::decode(cut), Err(Malformed::Truncated));
        }
    }

    #[test]
    fn an_entry_arrives_as_it_was_sent(entry in entry()) {
        let mut bytes = encoded(&entry);
        prop_assert_eq!(Entry::decode(&mut bytes), Ok(entry));
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn a_truncated_entry_is_refused(entry in entry(), cut in 1usize..200) {
        let bytes = encoded(&entry);
        let mut cut = bytes.slice(..bytes.len().saturating_sub(cut));
        prop_assert_eq!(Entry::decode(&mut cut), Err(Malformed::Truncated));
    }

    #[test]
    fn nothing_that_arrives_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..14) {
        let mut bytes = bytes;
        if bytes.len() > 8 {
            bytes[8] = kind;
        }
        let mut bytes = Bytes::from(bytes);
        while !bytes.is_empty() && Entry::decode(&mut bytes).is_ok() {}
    }
}
